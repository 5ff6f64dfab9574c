use std::cell::RefCell;
use std::convert::Infallible;

use usp_model::{BucketName, File, FileId, RetryPolicy, RuleName, RunId, RunState};

use super::*;
use crate::run::NewRun;
use crate::testing;

/// A file as a row, and what was read of it.
struct Row {
    file: File,
    sha256: Option<Vec<u8>>,
    read: RefCell<Vec<&'static str>>,
}

impl Row {
    fn read<T>(&self, name: &'static str, value: T) -> Result<T, Infallible> {
        self.read.borrow_mut().push(name);
        Ok(value)
    }
}

impl FileColumns for Row {
    type Error = Infallible;

    fn created_at(&self) -> Result<Timestamp, Infallible> {
        self.read("created_at", self.file.created_at)
    }

    fn is_released(&self) -> Result<bool, Infallible> {
        self.read("is_released", self.file.released)
    }

    fn state(&self) -> Result<FileState, Infallible> {
        self.read("state", self.file.state)
    }

    fn key(&self) -> Result<&str, Infallible> {
        self.read("key", self.file.key.as_str())
    }

    fn media_type(&self) -> Result<MediaType, Infallible> {
        self.read("media_type", self.file.media_type.clone())
    }

    fn sha256(&self) -> Result<Option<&[u8]>, Infallible> {
        self.read("sha256", self.sha256.as_deref())
    }

    fn labels(&self) -> Result<BTreeMap<LabelKey, String>, Infallible> {
        self.read("labels", self.file.labels.clone())
    }

    fn metadata(&self) -> Result<BTreeMap<LabelKey, String>, Infallible> {
        self.read("metadata", self.file.metadata.clone())
    }
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<LabelKey, String> {
    tags.iter().map(|(name, value)| (LabelKey::parse(name).unwrap(), (*value).to_owned())).collect()
}

/// A ready CSV of 2026, created at 1,000.
fn row() -> Row {
    let labels = tags(&[("team", "red"), ("year", "2026")]);
    let file = File { labels, metadata: tags(&[("from", "till")]), ..testing::file("2026/a.csv", 1) };
    Row { file, sha256: Some(vec![1; 32]), read: RefCell::default() }
}

fn at(ms: i64) -> Option<Timestamp> {
    Some(Timestamp::from_unix_ms(ms))
}

#[test]
fn a_file_is_shown_if_all_that_is_asked_for_holds() {
    let all = FileQuery::default;
    let media = |pattern: &str| FileQuery { media_type: Some(pattern.to_owned()), ..all() };
    let sha256 = |byte: &str| FileQuery { sha256: Some(byte.repeat(32)), ..all() };
    let prefix = |prefix: &str| FileQuery { prefix: prefix.to_owned(), ..all() };
    let labels = |asked: &[(&str, &str)]| FileQuery { labels: tags(asked), ..all() };
    let metadata = |asked: &[(&str, &str)]| FileQuery { metadata: tags(asked), ..all() };
    let cases = [
        (all(), true),
        (FileQuery { created_after: at(999), created_before: at(1_001), ..all() }, true),
        (FileQuery { created_after: at(1_000), ..all() }, false),
        (FileQuery { created_before: at(1_000), ..all() }, false),
        (FileQuery { state: Some(FileState::Ready), ..all() }, true),
        (FileQuery { state: Some(FileState::Failed), ..all() }, false),
        (prefix("2026/"), true),
        (prefix("2026/a.csv"), true),
        (prefix("026/"), false),
        (prefix("2026/a.csv/"), false),
        (media("text/csv"), true),
        (media("text/*"), true),
        (media("image/*"), false),
        (sha256("01"), true),
        (sha256("02"), false),
        (labels(&[("team", "red")]), true),
        (labels(&[("team", "red"), ("year", "2026")]), true),
        (labels(&[("team", "red"), ("year", "2025")]), false),
        (labels(&[("team", "re")]), false),
        (labels(&[("from", "till")]), false),
        (metadata(&[("from", "till")]), true),
        (metadata(&[("from", "hand")]), false),
        (metadata(&[("team", "red")]), false),
    ];
    for (query, expected) in cases {
        assert_eq!(FileFilter::new(&query).unwrap().takes(&row()), Ok(expected), "{query:?}");
    }
}

#[test]
fn what_is_held_back_or_has_no_digest_is_shown_to_those_who_ask_for_it() {
    for (is_released, with_unreleased, expected) in
        [(true, false, true), (true, true, true), (false, false, false), (false, true, true)]
    {
        let mut row = row();
        row.file.released = is_released;
        let filter = FileFilter::new(&FileQuery { with_unreleased, ..FileQuery::default() }).unwrap();
        assert_eq!(filter.takes(&row), Ok(expected), "{is_released} {with_unreleased}");
    }
    let row = Row { sha256: None, ..row() };
    let query = FileQuery { sha256: Some("01".repeat(32)), ..FileQuery::default() };
    assert_eq!(FileFilter::new(&query).unwrap().takes(&row), Ok(false));
    assert_eq!(FileFilter::new(&FileQuery::default()).unwrap().takes(&row), Ok(true));
}

#[test]
fn only_what_is_asked_for_is_read_and_what_costs_little_first() {
    let whole = FileQuery {
        state: Some(FileState::Ready),
        media_type: Some("text/*".to_owned()),
        sha256: Some("01".repeat(32)),
        labels: tags(&[("team", "red")]),
        metadata: tags(&[("from", "till")]),
        ..FileQuery::default()
    };
    let all = ["created_at", "is_released", "state", "key", "media_type", "sha256", "labels", "metadata"];
    let cases: [(FileQuery, &[&str]); 5] = [
        (whole.clone(), &all),
        (FileQuery::default(), &["created_at", "is_released", "key"]),
        (FileQuery { with_unreleased: true, ..FileQuery::default() }, &["created_at", "key"]),
        (FileQuery { created_after: at(1_000), ..whole.clone() }, &all[..1]),
        (FileQuery { media_type: Some("image/*".to_owned()), ..whole }, &all[..5]),
    ];
    for (query, expected) in cases {
        let row = row();
        FileFilter::new(&query).unwrap().takes(&row).unwrap();
        assert_eq!(*row.read.borrow(), expected, "{query:?}");
    }
}

#[test]
fn what_no_list_can_answer_is_refused() {
    let delimiter = |sort| FileQuery { delimiter: Some("/".to_owned()), sort, ..FileQuery::default() };
    let cases = [
        (delimiter(FileSort::KeyAscending), true),
        (delimiter(FileSort::KeyDescending), true),
        (delimiter(FileSort::CreatedAscending), false),
        (delimiter(FileSort::CreatedDescending), false),
        (FileQuery { sort: FileSort::CreatedAscending, ..FileQuery::default() }, true),
        (FileQuery { sha256: Some("0".to_owned()), ..FileQuery::default() }, false),
    ];
    for (query, expected) in cases {
        let refused = FileFilter::new(&query).err().map(|error| error.kind());
        assert_eq!(refused, (!expected).then_some(ErrorKind::InvalidInput), "{query:?}");
    }
    assert_eq!(sha256(&FileQuery::default()).unwrap(), None);
}

#[test]
fn a_run_is_shown_if_all_that_is_asked_for_holds() {
    let new = NewRun {
        id: RunId::from_bytes([7; 32]),
        rule: RuleName::parse("scan").unwrap(),
        rule_version: 1,
        retry: RetryPolicy::default(),
        priority: 0,
        required: true,
        steps: Vec::new(),
    };
    let run = new.queued(&testing::file("a", 1), None, Timestamp::from_unix_ms(0)).record.run;
    let all = RunQuery::default;
    let bucket = |name: &str| BucketName::parse(name).unwrap();
    let visible = |names: &[&str]| Some(names.iter().map(|name| bucket(name)).collect::<Vec<_>>());
    let cases = [
        (all(), true),
        (RunQuery { state: Some(RunState::Queued), ..all() }, true),
        (RunQuery { state: Some(RunState::Dead), ..all() }, false),
        (RunQuery { file: Some(FileId::from_bytes([1; 32])), ..all() }, true),
        (RunQuery { file: Some(FileId::from_bytes([2; 32])), ..all() }, false),
        (RunQuery { bucket: Some(bucket("default")), ..all() }, true),
        (RunQuery { bucket: Some(bucket("other")), ..all() }, false),
        (RunQuery { rule: Some(RuleName::parse("scan").unwrap()), ..all() }, true),
        (RunQuery { rule: Some(RuleName::parse("sca").unwrap()), ..all() }, false),
        (RunQuery { buckets: visible(&["other", "default"]), ..all() }, true),
        (RunQuery { buckets: visible(&["other"]), ..all() }, false),
        (RunQuery { buckets: visible(&[]), ..all() }, false),
        (RunQuery { bucket: Some(bucket("default")), buckets: visible(&["other"]), ..all() }, false),
    ];
    for (query, expected) in cases {
        assert_eq!(takes_run(&query, &run), expected, "{query:?}");
    }
}
