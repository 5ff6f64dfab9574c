//! What may be changed of a file that stands, and what its end takes along.

use std::collections::BTreeMap;

use usp_model::file::label_violations;
use usp_model::{
    Change, Error, ErrorKind, EventBody, File, FilePatch, LabelKey, Result, StoredBytes, Timestamp,
};

use crate::bucket::UsageChange;
use crate::commit::matches;
use crate::event;

/// Labels or metadata of a file.
pub type Tags = BTreeMap<LabelKey, String>;

/// Whether a file fulfils `If-Match`; `None`: nothing was asked. Errors: `PreconditionFailed`.
pub fn check_etag(action: &'static str, file: &File, etags: Option<&[String]>) -> Result<()> {
    if etags.is_none_or(|etags| matches(etags, &file.etag)) {
        return Ok(());
    }
    let changed = Error::new(ErrorKind::PreconditionFailed, action).about(file.id);
    Err(changed.because("the file has changed: its etag is another"))
}

/// Errors: `InvalidInput` when there are too many, or one is too long.
pub fn check_tags(action: &'static str, labels: &Tags, metadata: &Tags) -> Result<()> {
    let mut violations = label_violations(labels, "/labels");
    violations.extend(label_violations(metadata, "/metadata"));
    if violations.is_empty() {
        return Ok(());
    }
    let over =
        Error::new(ErrorKind::InvalidInput, action).because("labels or metadata are over their limits");
    Err(over.with_violations(violations))
}

/// The file as a patch leaves it. Errors: `PreconditionFailed`, `InvalidInput` when too many labels result.
pub fn patched(file: &File, patch: &FilePatch, at: Timestamp) -> Result<File> {
    const ACTION: &str = "update file";
    check_etag(ACTION, file, patch.condition_etags.as_deref())?;
    let labels = merged(&file.labels, &patch.labels);
    let metadata = merged(&file.metadata, &patch.metadata);
    check_tags(ACTION, &labels, &metadata)?;
    let expires_at = match patch.expires_at {
        Change::Keep => file.expires_at,
        Change::Clear => None,
        Change::Set(at) => Some(at),
    };
    Ok(File { labels, metadata, expires_at, updated_at: at, ..file.clone() })
}

fn merged(before: &Tags, patch: &BTreeMap<LabelKey, Option<String>>) -> Tags {
    let mut after = before.clone();
    for (name, value) in patch {
        match value {
            Some(value) => drop(after.insert(name.clone(), value.clone())),
            None => drop(after.remove(name)),
        }
    }
    after
}

/// What the end of a file with all its versions changes besides its rows. Its runs are cancelled first
/// ([`RunRecord::cancel_with_file`](crate::run::RunRecord::cancel_with_file)), each of its contents is let go of
/// ([`manifest::release`](crate::manifest::release)), and the event comes last.
#[derive(Debug, Clone)]
pub struct Deletion {
    pub usage: UsageChange,
    pub event: EventBody,
}

/// Deletes a file. `older`: size and cost of each superseded version. Errors: `PreconditionFailed`.
pub fn delete(
    file: &File,
    older: impl IntoIterator<Item = (u64, StoredBytes)>,
    etags: Option<&[String]>,
) -> Result<Deletion> {
    check_etag("delete file", file, etags)?;
    let all = older.into_iter().chain([(file.size_bytes, file.stored)]);
    Ok(Deletion { usage: UsageChange::of_deletion(file.size_bytes, all), event: event::of_deleted(file) })
}

/// Whether the time of a file is over.
pub fn is_over(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::file;

    fn tags(entries: &[(&str, &str)]) -> Tags {
        entries.iter().map(|(name, value)| (LabelKey::parse(name).unwrap(), (*value).to_owned())).collect()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn an_etag_must_be_among_those_asked_for() {
        let file = file("a", 1);
        let own = file.etag.clone();
        let cases = [
            (None, true),
            (Some(vec![]), true),
            (Some(vec![own.clone()]), true),
            (Some(vec!["x".to_owned(), own]), true),
            (Some(vec!["x".to_owned()]), false),
        ];
        for (etags, holds) in cases {
            assert_eq!(check_etag("test", &file, etags.as_deref()).is_ok(), holds, "{etags:?}");
        }
    }

    #[test]
    fn a_patch_sets_and_removes_what_it_names() {
        let before = File {
            labels: tags(&[("keep", "1"), ("drop", "2"), ("set", "3")]),
            expires_at: Some(at(50)),
            ..file("a", 1)
        };
        let name = |name: &str| LabelKey::parse(name).unwrap();
        let labels = BTreeMap::from([(name("drop"), None), (name("set"), Some("4".to_owned()))]);
        let cases =
            [(Change::Keep, Some(at(50))), (Change::Clear, None), (Change::Set(at(60)), Some(at(60)))];
        for (expires_at, expected) in cases {
            let patch = FilePatch { labels: labels.clone(), expires_at, ..FilePatch::default() };
            let after = patched(&before, &patch, at(99)).unwrap();
            assert_eq!(after.labels, tags(&[("keep", "1"), ("set", "4")]));
            assert_eq!((after.expires_at, after.updated_at), (expected, at(99)));
        }
    }

    #[test]
    fn what_a_patch_makes_is_within_the_limits() {
        use usp_model::limits::{LABEL_COUNT_MAX, LABEL_VALUE_BYTES_MAX};
        let many = |count: usize| -> Tags {
            (0..count).map(|n| (LabelKey::parse(&format!("l{n}")).unwrap(), String::new())).collect()
        };
        let long = |bytes: usize| BTreeMap::from([(LabelKey::parse("l").unwrap(), "x".repeat(bytes))]);
        let cases = [
            (many(LABEL_COUNT_MAX), true),
            (many(LABEL_COUNT_MAX + 1), false),
            (long(LABEL_VALUE_BYTES_MAX), true),
            (long(LABEL_VALUE_BYTES_MAX + 1), false),
        ];
        for (set, fits) in cases {
            let patch: BTreeMap<_, _> = set.into_iter().map(|(name, value)| (name, Some(value))).collect();
            let labels = FilePatch { labels: patch.clone(), ..FilePatch::default() };
            let metadata = FilePatch { metadata: patch, ..FilePatch::default() };
            for patch in [labels, metadata] {
                assert_eq!(patched(&file("a", 1), &patch, at(0)).is_ok(), fits);
            }
        }
        let stale = FilePatch { condition_etags: Some(vec!["x".to_owned()]), ..FilePatch::default() };
        let refused = patched(&file("a", 1), &stale, at(0)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    }

    #[test]
    fn a_file_goes_with_all_its_versions() {
        let current = file("a", 1);
        let cost = StoredBytes { bytes: 70, chunks: 1, deduplicated_bytes: 30 };
        let deletion = delete(&current, [(100, cost), (200, cost)], None).unwrap();
        let usage = deletion.usage;
        assert_eq!((usage.file_count, usage.version_count), (-1, -3));
        assert_eq!((usage.current_bytes, usage.logical_bytes), (-1_000, -1_300));
        assert_eq!((usage.stored_bytes, usage.deduplicated_bytes), (-641, -60));
        assert_eq!(deletion.event.kind(), usp_model::EventKind::FileDeleted);
        let stale = ["x".to_owned()];
        assert_eq!(delete(&current, [], Some(&stale)).unwrap_err().kind(), ErrorKind::PreconditionFailed);
    }

    #[test]
    fn the_time_of_a_file_is_over_at_its_last_moment() {
        for (expires_at, over) in
            [(None, false), (Some(at(9)), true), (Some(at(10)), true), (Some(at(11)), false)]
        {
            assert_eq!(is_over(expires_at, at(10)), over, "{expires_at:?}");
        }
    }
}
