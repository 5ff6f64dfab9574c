use std::collections::BTreeMap;

use usp_model::limits::{LABEL_COUNT_MAX, LABEL_VALUE_BYTES_MAX};
use usp_model::{
    BucketPolicy, ByteRange, Change, ErrorKind, EventKind, FileId, FilePatch, FileQuery, FileRef, LabelKey,
};

use super::world::{World, act, at, bucket, digest, key, kind_of, new_run, tags};

fn patch(entries: &[(&str, Option<&str>)]) -> BTreeMap<LabelKey, Option<String>> {
    entries.iter().map(|(name, value)| (LabelKey::parse(name).unwrap(), value.map(str::to_owned))).collect()
}

pub(crate) async fn a_patch_sets_removes_and_leaves(world: World) {
    let mut new = world.new_version("a", 1);
    new.labels = tags(&[("keep", "1"), ("drop", "2"), ("turn", "3")]);
    let file = world.catalog.commit_version(act(0), new).await.unwrap().file;
    let change = FilePatch {
        labels: patch(&[("drop", None), ("turn", Some("4")), ("absent", None)]),
        metadata: patch(&[("note", Some("hi"))]),
        expires_at: Change::Set(at(99)),
        condition_etags: Some(vec![file.etag.clone()]),
    };
    let changed = world.catalog.update_file(act(7), &file.id, change).await.unwrap();
    assert_eq!(changed.labels, tags(&[("keep", "1"), ("turn", "4")]));
    assert_eq!(changed.metadata, tags(&[("note", "hi")]));
    assert_eq!((changed.expires_at, changed.updated_at), (Some(at(99)), at(7)));
    assert_eq!((&changed.etag, changed.version, changed.created_at), (&file.etag, 1, file.created_at));
    let cleared = FilePatch { expires_at: Change::Clear, ..FilePatch::default() };
    assert_eq!(world.catalog.update_file(act(8), &file.id, cleared).await.unwrap().expires_at, None);
    let by_label = async |name: &str, value: &str| {
        let query = FileQuery { labels: tags(&[(name, value)]), limit: 10, ..FileQuery::default() };
        world.catalog.list_files(&bucket("default"), query).await.unwrap().files.len()
    };
    assert_eq!(
        (by_label("turn", "4").await, by_label("turn", "3").await, by_label("drop", "2").await),
        (1, 0, 0)
    );
}

pub(crate) async fn a_patch_is_refused_for_another_etag_too_many_labels_or_no_file(world: World) {
    let file = world.put("a", 1).await.file;
    let stale = FilePatch { condition_etags: Some(vec!["stale".to_owned()]), ..FilePatch::default() };
    assert_eq!(
        kind_of(world.catalog.update_file(act(1), &file.id, stale).await),
        ErrorKind::PreconditionFailed
    );
    let many: BTreeMap<_, _> = (0..=LABEL_COUNT_MAX)
        .map(|number| (LabelKey::parse(&format!("k{number}")).unwrap(), Some(String::new())))
        .collect();
    let long = patch(&[("k", Some(&"x".repeat(LABEL_VALUE_BYTES_MAX + 1)))]);
    for labels in [many, long] {
        let over = FilePatch { labels, ..FilePatch::default() };
        let error = world.catalog.update_file(act(1), &file.id, over).await.unwrap_err();
        assert_eq!((error.kind(), error.violations().len()), (ErrorKind::InvalidInput, 1));
    }
    let stranger = FileId::random().unwrap();
    let absent = world.catalog.update_file(act(1), &stranger, FilePatch::default()).await;
    assert_eq!(kind_of(absent), ErrorKind::NotFound);
    assert_eq!(world.catalog.file(&FileRef::Id(file.id), None).await.unwrap().file, file);
}

pub(crate) async fn a_deleted_file_is_gone_with_its_versions_labels_and_waiting_runs(world: World) {
    let mut new = world.new_version("a", 1);
    new.labels = tags(&[("env", "x")]);
    let file = world.catalog.commit_version(act(0), new.clone()).await.unwrap().file;
    let run = new_run("profile");
    new.runs = vec![run.clone()];
    new.chunks = vec![world.new_chunk(2, 1_000)];
    let second = world.catalog.commit_version(act(0), new.clone()).await.unwrap().file;
    let by_id = FileRef::Id(file.id);
    let old_manifest = world.catalog.file(&by_id, Some(1)).await.unwrap().manifest;
    let stale = world.catalog.delete_file(act(3), &file.id, Some(vec![file.etag.clone()])).await;
    assert_eq!(kind_of(stale), ErrorKind::PreconditionFailed);
    world.catalog.delete_file(act(3), &file.id, Some(vec![second.etag])).await.unwrap();
    assert_eq!(
        kind_of(world.catalog.file(&by_id, None).await.map(|record| record.file)),
        ErrorKind::NotFound
    );
    assert_eq!(kind_of(world.catalog.run(&run.id).await), ErrorKind::NotFound);
    let unread = world.catalog.resolve(old_manifest, ByteRange::whole(1), 1).await;
    assert_eq!(kind_of(unread), ErrorKind::NotFound);
    assert_eq!(kind_of(world.catalog.delete_file(act(3), &file.id, None).await), ErrorKind::NotFound);
    let kinds = world.event_kinds().await;
    assert_eq!(kinds[kinds.len() - 2..], [EventKind::RunCancelled, EventKind::FileDeleted]);
    new.runs = Vec::new();
    let reborn = world.catalog.commit_version(act(0), new).await.unwrap();
    assert!(reborn.is_new_file && reborn.file.version == 1);
    assert_eq!(world.catalog.usage().await.unwrap()[0].versions, 1);
}

pub(crate) async fn known_digests_are_answered_within_the_domain_only(world: World) {
    let shared = BucketPolicy { dedup_domain: Some("red".to_owned()), ..BucketPolicy::default() };
    for name in ["red-a", "red-b"] {
        world.catalog.create_bucket(act(0), bucket(name), shared.clone()).await.unwrap();
    }
    world.put("a", 1).await;
    world.put("a", 2).await;
    let mut new = world.new_version("a", 3);
    (new.bucket, new.domain) = (bucket("red-a"), world.domain_of("red-a").await);
    world.catalog.commit_version(act(0), new).await.unwrap();
    let asked: Vec<String> =
        (1..=3).map(|number| digest(number).to_string()).chain(["no digest".to_owned()]).collect();
    let known = async |name: &str| world.catalog.known_sha256(&bucket(name), asked.clone()).await.unwrap();
    assert_eq!(known("default").await, asked[1..2], "the superseded version does not count");
    assert_eq!(known("red-b").await, asked[2..3]);
    assert_eq!(
        kind_of(world.catalog.known_sha256(&bucket("none"), asked.clone()).await),
        ErrorKind::NotFound
    );
}

pub(crate) async fn a_file_is_looked_for_in_its_own_bucket(world: World) {
    world.catalog.create_bucket(act(0), bucket("other"), BucketPolicy::default()).await.unwrap();
    world.put("a", 1).await;
    for (name, text) in [("other", "a"), ("default", "A"), ("none", "a")] {
        let found = world.catalog.file(&FileRef::Key(bucket(name), key(text)), None).await;
        assert_eq!(kind_of(found.map(|record| record.file)), ErrorKind::NotFound);
    }
}

pub(crate) async fn files_whose_time_is_over_are_deleted_some_at_a_time(world: World) {
    for (number, text) in (1..).zip(["a", "b", "c", "stays"]) {
        let file = world.put(text, number).await.file;
        let expires_at = if text == "stays" { at(2_000) } else { at(1_000) };
        let patch = FilePatch { expires_at: Change::Set(expires_at), ..FilePatch::default() };
        world.catalog.update_file(act(1), &file.id, patch).await.unwrap();
    }
    assert_eq!(world.catalog.expire_files(act(999), 10).await.unwrap(), 0);
    assert_eq!(world.catalog.expire_files(act(1_000), 2).await.unwrap(), 2);
    assert_eq!(world.catalog.expire_files(act(1_000), 2).await.unwrap(), 1);
    assert_eq!(world.catalog.expire_files(act(1_000), 2).await.unwrap(), 0);
    let query = FileQuery { limit: 10, ..FileQuery::default() };
    let left = world.catalog.list_files(&bucket("default"), query).await.unwrap().files;
    assert_eq!(left.iter().map(|file| file.key.as_str()).collect::<Vec<_>>(), ["stays"]);
    let deleted = world.event_kinds().await.into_iter().filter(|kind| *kind == EventKind::FileDeleted);
    assert_eq!(deleted.count(), 3);
}

pub(crate) async fn a_file_is_opened_with_the_first_chunks_of_what_is_read(world: World) {
    let mut new = world.new_version("a", 1);
    new.chunks.extend([world.new_chunk(2, 1_000), world.new_chunk(3, 1_000)]);
    new.size_bytes = 3_000;
    let file = world.catalog.commit_version(act(0), new).await.unwrap().file;
    world.put("a", 4).await;
    let open = async |version, range, count_max| {
        let by_id = FileRef::Id(file.id);
        let (record, chunks) = world.catalog.open_file(&by_id, version, range, count_max).await.unwrap();
        (record.file.version, chunks.iter().map(|placed| placed.chunk.digest).collect::<Vec<_>>())
    };
    assert_eq!(open(Some(1), None, 2).await, (1, vec![digest(1), digest(2)]));
    assert_eq!(open(Some(1), ByteRange::new(999, 1_001).ok(), 9).await, (1, vec![digest(1), digest(2)]));
    assert_eq!(open(Some(1), ByteRange::new(2_000, 9_000).ok(), 9).await, (1, vec![digest(3)]));
    assert_eq!(open(None, None, 9).await, (2, vec![digest(4)]));
    let absent = world.catalog.open_file(&FileRef::Id(file.id), Some(3), None, 9).await;
    assert_eq!(kind_of(absent.map(|(record, _)| record.file)), ErrorKind::NotFound);
}
