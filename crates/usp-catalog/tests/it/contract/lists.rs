//! Lists against a model: the same 3,000 files in a vector, filtered and sorted in plain sight.

use std::collections::BTreeSet;
use std::sync::Arc;

use usp_catalog::records::NewVersion;
use usp_model::{Act, ErrorKind, File, FileQuery, FileSort, FileState, MediaType, Release};

use super::world::{World, act, at, bucket, digest, kind_of, new_run, tags};

const FILE_COUNT: u64 = 3_000;
const SORTS: [FileSort; 4] = [
    FileSort::KeyAscending,
    FileSort::KeyDescending,
    FileSort::CreatedAscending,
    FileSort::CreatedDescending,
];

/// What is put, and when.
fn new_file(world: &World, number: u64) -> (Act, NewVersion) {
    let text = match number % 5 {
        0 => format!("top-{number}"),
        1 => format!("logs/{}/{number}.csv", number % 7),
        2 => format!("logs/{number}"),
        3 => format!("ä/ö{}/{number}", number % 11),
        _ => format!("z\u{10ffff}/{number}"),
    };
    let mut new = world.new_version(&text, number % 50);
    new.media_type = MediaType::parse(match number % 3 {
        0 => "text/csv",
        1 => "text/plain",
        _ => "image/png",
    })
    .unwrap();
    if number.is_multiple_of(4) {
        new.labels = tags(&[("env", if number.is_multiple_of(8) { "prod" } else { "test" }), ("team", "a")]);
    }
    if number.is_multiple_of(6) {
        new.metadata = tags(&[("batch", &(number % 12).to_string())]);
    }
    if number.is_multiple_of(9) {
        new.runs = vec![new_run("profile")];
        new.release = if number.is_multiple_of(18) { Release::AfterSuccess } else { Release::Immediate };
    }
    (act(i64::try_from(number / 3).unwrap()), new)
}

async fn filled(world: &World) -> Vec<File> {
    let mut files = Vec::new();
    let tasks: Vec<_> = (0..FILE_COUNT)
        .map(|number| {
            let (catalog, (act, new)) = (Arc::clone(&world.catalog), new_file(world, number));
            tokio::spawn(async move { catalog.commit_version(act, new).await.unwrap().file })
        })
        .collect();
    for task in tasks {
        files.push(task.await.unwrap());
    }
    files
}

fn takes(query: &FileQuery, file: &File) -> bool {
    (query.with_unreleased || file.released)
        && file.key.as_str().starts_with(&query.prefix)
        && query.state.is_none_or(|state| file.state == state)
        && query.media_type.as_ref().is_none_or(|pattern| file.media_type.matches(pattern))
        && query.labels.iter().all(|(name, value)| file.labels.get(name) == Some(value))
        && query.metadata.iter().all(|(name, value)| file.metadata.get(name) == Some(value))
        && query.sha256.as_ref().is_none_or(|hex| file.digests.values().any(|found| found == hex))
        && query.created_after.is_none_or(|after| file.created_at > after)
        && query.created_before.is_none_or(|before| file.created_at < before)
}

/// Keys and common prefixes in the order of the list; by time, keys only as a set per millisecond.
fn expected(query: &FileQuery, files: &[File]) -> Vec<String> {
    let mut files: Vec<&File> = files.iter().filter(|file| takes(query, file)).collect();
    files.sort_by(|a, b| a.key.cmp(&b.key));
    if matches!(query.sort, FileSort::CreatedAscending | FileSort::CreatedDescending) {
        files.sort_by_key(|file| file.created_at);
        return files.iter().map(|file| file.key.to_string()).collect();
    }
    let mut out: Vec<String> = Vec::new();
    for file in files {
        let key = file.key.as_str();
        let rest = &key[query.prefix.len()..];
        let entry = match query.delimiter.as_ref().and_then(|d| rest.find(d.as_str()).map(|i| i + d.len())) {
            Some(end) => key[..query.prefix.len() + end].to_owned(),
            None => key.to_owned(),
        };
        if out.last() != Some(&entry) {
            out.push(entry);
        }
    }
    if query.sort == FileSort::KeyDescending {
        out.reverse();
    }
    out
}

pub(crate) async fn a_page_of_files_with_long_metadata_is_short(world: World) {
    const COUNT: u64 = 40;
    let (names, long) = ((0..64).map(|n| format!("name-{n}")).collect::<Vec<_>>(), "x".repeat(2_048));
    let metadata = tags(&names.iter().map(|name| (name.as_str(), long.as_str())).collect::<Vec<_>>());
    for number in 0..COUNT {
        let new = NewVersion {
            metadata: metadata.clone(),
            ..world.new_version(&format!("long-{number:02}"), number)
        };
        world.catalog.commit_version(act(0), new).await.unwrap();
    }
    let query = FileQuery { limit: 100, ..FileQuery::default() };
    let page = world.catalog.list_files(&bucket("default"), query.clone()).await.unwrap();
    assert_eq!(page.files.len(), 32, "of 128 KiB each in 4 MiB");
    assert_eq!(listed(&world, &query).await.len() as u64, COUNT);
}

/// Every page, as keys and prefixes in the order in which one walk gives them.
async fn listed(world: &World, query: &FileQuery) -> Vec<String> {
    let mut out = Vec::new();
    let mut created = Vec::new();
    let mut cursor = None;
    loop {
        let asked = FileQuery { cursor, ..query.clone() };
        let page = world.catalog.list_files(&bucket("default"), asked).await.unwrap();
        assert!(page.files.len() + page.prefixes.len() <= query.limit as usize);
        created.extend(page.files.iter().map(|file| file.created_at));
        let mut entries: Vec<String> = page.files.iter().map(|file| file.key.to_string()).collect();
        entries.extend(page.prefixes);
        match query.sort {
            FileSort::KeyAscending => entries.sort(),
            FileSort::KeyDescending => entries.sort_by(|a, b| b.cmp(a)),
            FileSort::CreatedAscending | FileSort::CreatedDescending => {}
        }
        out.extend(entries);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    match query.sort {
        FileSort::CreatedAscending => assert!(created.is_sorted()),
        FileSort::CreatedDescending => assert!(created.is_sorted_by(|a, b| a >= b)),
        FileSort::KeyAscending | FileSort::KeyDescending => {}
    }
    out
}

fn queries() -> Vec<FileQuery> {
    let all = FileQuery { limit: 97, with_unreleased: true, ..FileQuery::default() };
    let with = |change: &dyn Fn(&mut FileQuery)| {
        let mut query = all.clone();
        change(&mut query);
        query
    };
    vec![
        all.clone(),
        with(&|q| q.with_unreleased = false),
        with(&|q| q.prefix = "logs/".to_owned()),
        with(&|q| q.prefix = "z\u{10ffff}".to_owned()),
        with(&|q| q.prefix = "nothing".to_owned()),
        with(&|q| q.state = Some(FileState::Processing)),
        with(&|q| q.state = Some(FileState::Ready)),
        with(&|q| q.media_type = Some("text/*".to_owned())),
        with(&|q| q.labels = tags(&[("env", "prod"), ("team", "a")])),
        with(&|q| q.labels = tags(&[("env", "prod"), ("team", "b")])),
        with(&|q| q.metadata = tags(&[("batch", "6")])),
        with(&|q| q.sha256 = Some(digest(7).to_string())),
        with(&|q| (q.created_after, q.created_before) = (Some(at(100)), Some(at(700)))),
        with(&|q| {
            q.prefix = "logs/".to_owned();
            q.labels = tags(&[("env", "test")]);
            q.media_type = Some("text/csv".to_owned());
            q.created_after = Some(at(50));
        }),
    ]
}

pub(crate) async fn every_filter_and_order_pages_through_all_that_matches_and_nothing_twice(world: World) {
    let files = filled(&world).await;
    for base in queries() {
        for sort in SORTS {
            let delimiters: &[Option<&str>] = match sort {
                FileSort::KeyAscending | FileSort::KeyDescending => {
                    &[None, Some("/"), Some("-"), Some("gs/")]
                }
                FileSort::CreatedAscending | FileSort::CreatedDescending => &[None],
            };
            for delimiter in delimiters {
                let query = FileQuery { sort, delimiter: delimiter.map(str::to_owned), ..base.clone() };
                let (mut found, mut wanted) = (listed(&world, &query).await, expected(&query, &files));
                let distinct: BTreeSet<_> = found.iter().collect();
                assert_eq!(distinct.len(), found.len(), "{query:?}");
                if matches!(sort, FileSort::CreatedAscending | FileSort::CreatedDescending) {
                    found.sort();
                    wanted.sort();
                }
                assert_eq!(found, wanted, "{query:?}");
            }
        }
    }
}

pub(crate) async fn pages_of_one_entry_pass_prefixes_and_keys_alike(world: World) {
    for (number, text) in (0..).zip(["a", "a/b", "a/c", "a0", "b/x/1", "b/x/2", "b/y", "c"]) {
        world.put(text, number).await;
    }
    for (sort, wanted) in [
        (FileSort::KeyAscending, ["a", "a/", "a0", "b/", "c"]),
        (FileSort::KeyDescending, ["c", "b/", "a0", "a/", "a"]),
    ] {
        let query = FileQuery { delimiter: Some("/".to_owned()), sort, limit: 1, ..FileQuery::default() };
        assert_eq!(listed(&world, &query).await, wanted);
    }
    let inner = FileQuery {
        prefix: "b/".to_owned(),
        delimiter: Some("/".to_owned()),
        limit: 1,
        ..FileQuery::default()
    };
    assert_eq!(listed(&world, &inner).await, ["b/x/", "b/y"]);
}

pub(crate) async fn a_prefix_that_holds_only_unreleased_files_is_not_shown(world: World) {
    let mut hidden = world.new_version("secret/a", 1);
    hidden.runs = vec![new_run("profile")];
    hidden.release = Release::AfterSuccess;
    world.catalog.commit_version(act(0), hidden).await.unwrap();
    world.put("open/a", 2).await;
    let query = FileQuery { delimiter: Some("/".to_owned()), limit: 10, ..FileQuery::default() };
    assert_eq!(listed(&world, &query).await, ["open/"]);
    assert_eq!(listed(&world, &FileQuery { with_unreleased: true, ..query }).await, ["open/", "secret/"]);
}

pub(crate) async fn files_that_come_while_a_list_is_read_neither_repeat_nor_hide_others(world: World) {
    for (number, text) in (0..).zip(["b", "d", "f"]) {
        world.put(text, number).await;
    }
    let query = FileQuery { limit: 1, ..FileQuery::default() };
    let first = world.catalog.list_files(&bucket("default"), query.clone()).await.unwrap();
    for (number, text) in (10..).zip(["a", "c", "e"]) {
        world.put(text, number).await;
    }
    let mut keys = vec![first.files[0].key.to_string()];
    let rest = FileQuery { limit: 100, cursor: first.next_cursor, ..query };
    let rest = world.catalog.list_files(&bucket("default"), rest).await.unwrap();
    keys.extend(rest.files.iter().map(|file| file.key.to_string()));
    assert_eq!(keys, ["b", "c", "d", "e", "f"]);
}

pub(crate) async fn cursors_of_other_queries_and_impossible_questions_are_refused(world: World) {
    for number in 0..3 {
        world.put(&format!("k{number}"), number).await;
    }
    let name = bucket("default");
    let query = FileQuery { limit: 1, ..FileQuery::default() };
    let cursor = world.catalog.list_files(&name, query.clone()).await.unwrap().next_cursor;
    assert!(cursor.is_some());
    let larger = FileQuery { limit: 2, cursor: cursor.clone(), ..query.clone() };
    assert_eq!(world.catalog.list_files(&name, larger).await.unwrap().files.len(), 2, "the limit may change");
    let bad = [
        FileQuery { prefix: "k".to_owned(), cursor: cursor.clone(), ..query.clone() },
        FileQuery { sort: FileSort::KeyDescending, cursor: cursor.clone(), ..query.clone() },
        FileQuery { sort: FileSort::CreatedAscending, cursor, ..query.clone() },
        FileQuery { cursor: Some("not a cursor".to_owned()), ..query.clone() },
        FileQuery { sha256: Some("abc".to_owned()), ..query.clone() },
        FileQuery { sort: FileSort::CreatedAscending, delimiter: Some("/".to_owned()), ..query.clone() },
    ];
    for query in bad {
        assert_eq!(kind_of(world.catalog.list_files(&name, query).await), ErrorKind::InvalidInput);
    }
    assert_eq!(kind_of(world.catalog.list_files(&bucket("none"), query).await), ErrorKind::NotFound);
}
