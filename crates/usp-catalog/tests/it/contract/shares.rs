//! Contents that several versions share: copies, restored versions, and what their ends leave.

use usp_catalog::records::NewCopy;
use usp_model::{
    BucketPolicy, ByteRange, ChunkId, ErrorKind, FileId, FileRef, FindingKind, KeyCondition, Release,
};

use super::world::{World, act, at, bucket, key, kind_of, tags, user};

fn copy(source: FileId, text: &str) -> NewCopy {
    NewCopy {
        source,
        source_version: None,
        file_id: FileId::random().unwrap(),
        bucket: bucket("default"),
        key: key(text),
        condition: KeyCondition::Any,
        owner: user("bob"),
        metadata: tags(&[("m", "1")]),
        labels: tags(&[("l", "2")]),
        runs: Vec::new(),
        release: Release::Immediate,
        idempotency_key: None,
        quota_bytes: None,
    }
}

pub(crate) async fn a_copy_shares_the_content_and_touches_no_chunk(world: World) {
    let source = world.put("source", 1).await.file;
    let before = (world.catalog.totals().await.unwrap(), world.catalog.pack_usage().await.unwrap());
    let copied = world.catalog.copy_version(act(5), copy(source.id, "copy")).await.unwrap();
    assert!(copied.is_new_file);
    let file = &copied.file;
    assert_eq!(
        (&file.digests, file.size_bytes, &file.media_type),
        (&source.digests, 1_000, &source.media_type)
    );
    assert_eq!(file.etag, source.etag, "equal bytes, equal version");
    assert_eq!(
        (file.owner.as_str(), &file.metadata, &file.labels),
        ("bob", &tags(&[("m", "1")]), &tags(&[("l", "2")]))
    );
    assert_eq!((file.stored.bytes, file.stored.chunks, file.stored.deduplicated_bytes), (0, 1, 1_000));
    assert_eq!((file.created_at, file.version), (at(5), 1));
    let after = (world.catalog.totals().await.unwrap(), world.catalog.pack_usage().await.unwrap());
    assert_eq!(after, before);
    let records = [source.id, file.id].map(FileRef::Id);
    let [one, other] = [
        world.catalog.file(&records[0], None).await.unwrap(),
        world.catalog.file(&records[1], None).await.unwrap(),
    ];
    assert_eq!(one.manifest, other.manifest);
    world.assert_sound().await;
}

pub(crate) async fn a_shared_content_lives_as_long_as_any_who_shares_it(world: World) {
    let source = world.put("source", 1).await.file;
    let copied = world.catalog.copy_version(act(1), copy(source.id, "copy")).await.unwrap().file;
    world.catalog.delete_file(act(2), &source.id, None).await.unwrap();
    world.assert_sound().await;
    let record = world.catalog.file(&FileRef::Id(copied.id), None).await.unwrap();
    let read = async || world.catalog.resolve(record.manifest, ByteRange::whole(1_000), 10).await;
    assert_eq!(read().await.unwrap().len(), 1);
    let epoch = world.catalog.raise_epoch(act(3)).await.unwrap();
    let referenced = world.catalog.references(None, 10).await.unwrap().chunks;
    let stale = world.catalog.stale_chunks(ChunkId(0), epoch, 10).await.unwrap();
    assert!(stale.iter().all(|chunk| referenced.contains(&chunk.id)), "the mark finds what the copy has");
    world.catalog.delete_file(act(4), &copied.id, None).await.unwrap();
    assert_eq!(kind_of(read().await), ErrorKind::NotFound);
    assert!(world.catalog.references(None, 10).await.unwrap().chunks.is_empty());
    world.assert_sound().await;
}

pub(crate) async fn an_older_version_is_restored_as_a_new_one(world: World) {
    let first = world.put("a", 1).await.file;
    world.put("a", 2).await;
    let restored = NewCopy { source_version: Some(1), ..copy(first.id, "a") };
    let committed = world.catalog.copy_version(act(9), restored).await.unwrap();
    assert!(!committed.is_new_file);
    assert_eq!((committed.file.id, committed.file.version), (first.id, 3));
    assert_eq!(committed.file.digests, first.digests);
    world.assert_sound().await;
    let versions = world.catalog.versions(&first.id).await.unwrap();
    assert_eq!(versions.iter().map(|file| file.version).collect::<Vec<_>>(), [3, 2, 1]);
    world.catalog.delete_file(act(10), &first.id, None).await.unwrap();
    assert!(world.catalog.references(None, 10).await.unwrap().chunks.is_empty(), "nothing of it is left");
    world.assert_sound().await;
}

pub(crate) async fn a_copy_keeps_the_rules_of_a_commit(world: World) {
    let source = world.put("source", 1).await.file;
    world.put("taken", 2).await;
    let refused = async |copy: NewCopy| kind_of(world.catalog.copy_version(act(1), copy).await);
    let absent = NewCopy { condition: KeyCondition::Absent, ..copy(source.id, "taken") };
    assert_eq!(refused(absent).await, ErrorKind::PreconditionFailed);
    let full = NewCopy { quota_bytes: Some(2_999), ..copy(source.id, "more") };
    assert_eq!(refused(full).await, ErrorKind::StorageFull);
    assert_eq!(refused(copy(FileId::random().unwrap(), "none")).await, ErrorKind::NotFound);
    assert_eq!(
        refused(NewCopy { source_version: Some(9), ..copy(source.id, "b") }).await,
        ErrorKind::NotFound
    );
    world.catalog.create_bucket(act(0), bucket("other"), BucketPolicy::default()).await.unwrap();
    let elsewhere = NewCopy { bucket: bucket("other"), ..copy(source.id, "a") };
    assert_eq!(refused(elsewhere).await, ErrorKind::Conflict, "its chunks are named by another key");
    let keyed = NewCopy { idempotency_key: Some("k".to_owned()), ..copy(source.id, "once") };
    let made = world.catalog.copy_version(act(1), keyed.clone()).await.unwrap();
    let again = world.catalog.copy_version(act(2), keyed).await.unwrap();
    assert_eq!((made.file.id, made.file.version), (again.file.id, again.file.version));
    world.assert_sound().await;
}

/// A copy of a file that goes at the same moment has all of the content, or says that there is none.
pub(crate) async fn copies_race_with_deletions_and_lose_nothing(world: World) {
    for number in 0..20 {
        let source = world.put("source", number).await.file;
        let (copied, deleted) = tokio::join!(
            world.catalog.copy_version(act(1), copy(source.id, "copy")),
            world.catalog.delete_file(act(1), &source.id, None),
        );
        deleted.unwrap();
        match copied {
            Ok(committed) => {
                let record = world.catalog.file(&FileRef::Id(committed.file.id), None).await.unwrap();
                let found =
                    world.catalog.resolve(record.manifest, ByteRange::whole(1_000), 10).await.unwrap();
                assert_eq!(found.len(), 1);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        world.assert_sound().await;
    }
    let findings = world.catalog.check_versions().await.unwrap();
    assert!(findings.iter().all(|finding| finding.kind != FindingKind::Content));
}
