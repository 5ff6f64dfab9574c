use std::collections::HashSet;
use std::time::Duration;

use usp_catalog::records::{NewUpload, UploadProgress};
use usp_model::limits::SEGMENT_ENTRY_COUNT_MAX;
use usp_model::{
    BucketPolicy, ByteRange, ChunkRef, ErrorKind, EventKind, FileId, FileRef, ResumePoint, StoredBytes,
    Upload, UploadId, UploadState,
};

use super::world::{World, act, at, bucket, digest, kind_of, tags};

/// These chunks and this tail behind what is there.
pub(super) fn progress(upload: &Upload, chunks: Vec<ChunkRef>, tail: &[u8]) -> UploadProgress {
    let chunk_bytes: u64 = chunks.iter().map(|chunk| u64::from(chunk.size_bytes())).sum();
    UploadProgress {
        id: upload.id,
        offset: upload.received_bytes,
        received_bytes: upload.received_bytes + chunk_bytes + tail.len() as u64,
        stored: StoredBytes { bytes: 10, chunks: chunks.len() as u64, deduplicated_bytes: 1 },
        chunks,
        redo: Vec::new(),
        resume: ResumePoint { tail: tail.to_vec(), sha256_state: vec![7; 40] },
        idle_max: Duration::from_millis(5_000),
    }
}

pub(crate) async fn an_upload_grows_by_what_is_durable_and_resumes_where_it_stood(world: World) {
    let new = NewUpload { labels: tags(&[("a", "b")]), size_bytes: Some(2_010), ..world.new_upload("a") };
    let upload = world.catalog.create_upload(act(0), new.clone()).await.unwrap();
    assert_eq!((upload.file_id, upload.received_bytes, upload.state), (new.file_id, 0, UploadState::Open));
    let first = progress(&upload, vec![world.new_chunk(1, 1_000)], b"tail");
    let grown = world.catalog.append_upload(act(10), first.clone()).await.unwrap();
    assert_eq!((grown.received_bytes, grown.expires_at), (1_004, at(5_010)));
    let record = world.catalog.upload(&upload.id).await.unwrap();
    assert_eq!(record.upload, grown);
    assert_eq!(record.resume, first.resume);
    assert_eq!(record.stored, first.stored);
    assert_eq!(record.domain, world.catalog.bucket(&bucket("default")).await.unwrap().domain);
    assert_eq!(kind_of(world.catalog.append_upload(act(10), first).await), ErrorKind::PreconditionFailed);
    // The tail became part of the second chunk.
    let second = UploadProgress {
        received_bytes: 2_010,
        ..progress(&grown, vec![world.new_chunk(2, 1_000)], b"0123456789")
    };
    world.catalog.append_upload(act(10), second).await.unwrap();
    let placed = world.catalog.resolve(record.manifest, ByteRange::whole(2_000), 9).await.unwrap();
    assert_eq!(placed.iter().map(|chunk| chunk.offset).collect::<Vec<_>>(), [0, 1_000]);
}

pub(crate) async fn progress_that_is_not_durable_as_said_is_refused_whole(world: World) {
    let upload = world.catalog.create_upload(act(0), world.new_upload("a")).await.unwrap();
    let short =
        UploadProgress { received_bytes: 999, ..progress(&upload, vec![world.new_chunk(1, 1_000)], b"") };
    assert_eq!(kind_of(world.catalog.append_upload(act(10), short).await), ErrorKind::Internal);
    let gone = world.gone_chunk(77, 5);
    let missing = progress(&upload, vec![world.new_chunk(2, 1_000), gone], b"");
    assert_eq!(kind_of(world.catalog.append_upload(act(10), missing).await), ErrorKind::Unavailable);
    assert_eq!(world.catalog.upload(&upload.id).await.unwrap().upload.received_bytes, 0);
    assert_eq!(world.catalog.totals().await.unwrap().chunks, 0);
}

pub(crate) async fn a_completed_upload_becomes_a_file_with_all_its_bytes_and_costs(world: World) {
    let upload = world.catalog.create_upload(act(0), world.new_upload("a")).await.unwrap();
    world
        .catalog
        .append_upload(act(10), progress(&upload, vec![world.new_chunk(1, 1_000)], b""))
        .await
        .unwrap();
    let mut last = world.new_version("a", 2);
    last.upload = Some(upload.id);
    last.file_id = upload.file_id;
    last.size_bytes = 2_000;
    let file = world.catalog.commit_version(act(0), last.clone()).await.unwrap().file;
    assert_eq!(file.id, upload.file_id);
    assert_eq!(file.stored, StoredBytes { bytes: 511, chunks: 2, deduplicated_bytes: 1 });
    let record = world.catalog.upload(&upload.id).await.unwrap();
    assert_eq!((record.upload.state, record.upload.received_bytes), (UploadState::Completed, 2_000));
    assert_eq!(record.resume, ResumePoint::default());
    assert_eq!(kind_of(world.catalog.commit_version(act(0), last).await), ErrorKind::Conflict);
    let more = progress(&record.upload, Vec::new(), b"x");
    assert_eq!(kind_of(world.catalog.append_upload(act(10), more).await), ErrorKind::Conflict);
    assert_eq!(kind_of(world.catalog.terminate_upload(act(1), &upload.id).await), ErrorKind::Conflict);
    let kinds =
        [EventKind::UploadCreated, EventKind::UploadCompleted, EventKind::FileStored, EventKind::FileReady];
    assert_eq!(world.event_kinds().await, kinds);
}

pub(crate) async fn a_preliminary_id_finds_the_file_that_stood_first(world: World) {
    let upload = world.catalog.create_upload(act(0), world.new_upload("a")).await.unwrap();
    let file = world.put("a", 1).await.file;
    assert_ne!(upload.file_id, file.id);
    let mut second = world.new_version("a", 2);
    second.upload = Some(upload.id);
    second.file_id = upload.file_id;
    let committed = world.catalog.commit_version(act(0), second).await.unwrap();
    assert_eq!((committed.file.id, committed.file.version, committed.is_new_file), (file.id, 2, false));
    let found = world.catalog.file(&FileRef::Id(upload.file_id), None).await.unwrap().file;
    assert_eq!(found.id, file.id);
    assert_eq!(world.catalog.upload_of_file(&upload.file_id).await.unwrap().id, upload.id);
    let later = world.catalog.create_upload(act(0), world.new_upload("a")).await.unwrap();
    assert_eq!(later.file_id, file.id, "the key stands, so its id is known from the start");
    const YEAR_MS: i64 = 365 * 86_400_000;
    world.catalog.expire_uploads(act(YEAR_MS), 100, HashSet::new()).await.unwrap();
    assert_eq!(world.catalog.file(&FileRef::Id(upload.file_id), None).await.unwrap().file.id, file.id);
    world.catalog.delete_file(act(1), &file.id, None).await.unwrap();
    assert_eq!(kind_of(world.catalog.upload_of_file(&upload.file_id).await), ErrorKind::NotFound);
    assert_eq!(
        kind_of(world.catalog.file(&FileRef::Id(upload.file_id), None).await.map(|f| f.file)),
        ErrorKind::NotFound
    );
}

pub(crate) async fn ended_uploads_are_gone_and_tell_so(world: World) {
    let ended = world.catalog.create_upload(act(0), world.new_upload("a")).await.unwrap();
    let over = world.catalog.create_upload(act(0), world.new_upload("b")).await.unwrap();
    let later = NewUpload { idle_max: Duration::from_millis(9_000), ..world.new_upload("c") };
    let open = world.catalog.create_upload(act(0), later).await.unwrap();
    world.catalog.terminate_upload(act(1), &ended.id).await.unwrap();
    let receiving = HashSet::from([over.id]);
    assert_eq!(world.catalog.expire_uploads(act(1_000), 10, receiving).await.unwrap(), 0);
    assert_eq!(world.catalog.expire_uploads(act(1_000), 10, HashSet::new()).await.unwrap(), 1);
    for id in [&ended.id, &over.id] {
        assert_eq!(kind_of(world.catalog.upload(id).await), ErrorKind::Gone);
        assert_eq!(kind_of(world.catalog.terminate_upload(act(1), id).await), ErrorKind::Gone);
    }
    assert_eq!(world.catalog.upload_of_file(&over.file_id).await.unwrap().state, UploadState::Expired);
    assert_eq!(world.catalog.upload(&open.id).await.unwrap().upload, open);
    assert_eq!(world.catalog.totals().await.unwrap().open_uploads, 1);
    let kinds = world.event_kinds().await;
    assert_eq!(kinds[3..], [EventKind::UploadTerminated, EventKind::UploadExpired]);
    const YEAR_MS: i64 = 365 * 86_400_000;
    assert_eq!(world.catalog.expire_uploads(act(YEAR_MS), 10, HashSet::new()).await.unwrap(), 1);
    assert_eq!(kind_of(world.catalog.upload(&ended.id).await), ErrorKind::NotFound);
}

pub(crate) async fn a_session_behind_a_plain_put_makes_no_event_and_leaves_no_trace(world: World) {
    let quiet = |text: &str| NewUpload { is_announced: false, ..world.new_upload(text) };
    let put = world.catalog.create_upload(act(0), quiet("a")).await.unwrap();
    let mut new = world.new_version("a", 1);
    new.upload = Some(put.id);
    world.catalog.commit_version(act(0), new).await.unwrap();
    let cut = world.catalog.create_upload(act(0), quiet("b")).await.unwrap();
    world.catalog.terminate_upload(act(1), &cut.id).await.unwrap();
    for id in [&put.id, &cut.id] {
        assert_eq!(kind_of(world.catalog.upload(id).await), ErrorKind::NotFound);
    }
    assert_eq!(world.event_kinds().await, [EventKind::FileStored, EventKind::FileReady]);
}

pub(crate) async fn uploads_need_a_bucket_and_strangers_are_not_found(world: World) {
    let nowhere = NewUpload { bucket: bucket("none"), ..world.new_upload("a") };
    assert_eq!(kind_of(world.catalog.create_upload(act(0), nowhere).await), ErrorKind::NotFound);
    let stranger = UploadId::random().unwrap();
    assert_eq!(kind_of(world.catalog.upload(&stranger).await), ErrorKind::NotFound);
    assert_eq!(kind_of(world.catalog.terminate_upload(act(0), &stranger).await), ErrorKind::NotFound);
    assert_eq!(kind_of(world.catalog.upload_of_file(&FileId::random().unwrap()).await), ErrorKind::NotFound);
    let mut new = world.new_version("a", 1);
    new.upload = Some(stranger);
    assert_eq!(kind_of(world.catalog.commit_version(act(0), new).await), ErrorKind::NotFound);
}

pub(crate) async fn recovery_ends_sessions_of_plain_puts_and_makes_held_runs_due(world: World) {
    let quiet = NewUpload { is_announced: false, ..world.new_upload("a") };
    let quiet = world.catalog.create_upload(act(0), quiet).await.unwrap();
    let announced = world.catalog.create_upload(act(0), world.new_upload("b")).await.unwrap();
    let run = super::world::new_run("profile");
    let mut new = world.new_version("c", 1);
    new.runs = vec![run.clone()];
    world.catalog.commit_version(act(0), new).await.unwrap();
    world.catalog.claim_run(act(0), &run.id, at(30_000)).await.unwrap();
    let world = world.reopened().await;
    world.catalog.recover(act(5)).await.unwrap();
    assert_eq!(kind_of(world.catalog.upload(&quiet.id).await), ErrorKind::NotFound);
    assert_eq!(world.catalog.upload(&announced.id).await.unwrap().upload, announced);
    assert_eq!(world.catalog.due_runs(at(5), 10).await.unwrap()[0].id, run.id);
    world.catalog.claim_run(act(5), &run.id, at(30_000)).await.unwrap();
    assert_eq!(world.catalog.run(&run.id).await.unwrap().attempt, 2);
}

pub(crate) async fn long_contents_are_found_by_offset_across_segments(world: World) {
    world.catalog.create_bucket(act(0), bucket("big"), BucketPolicy::default()).await.unwrap();
    let in_big =
        NewUpload { bucket: bucket("big"), domain: world.domain_of("big").await, ..world.new_upload("a") };
    let mut upload = world.catalog.create_upload(act(0), in_big).await.unwrap();
    let chunk_count = SEGMENT_ENTRY_COUNT_MAX as u64 * 2 + 100;
    let mut next = 0;
    // Steps that do not divide a segment, so that segments are filled up by several appends.
    while next < chunk_count {
        let end = (next + 1_500).min(chunk_count);
        let chunks = (next..end).map(|number| world.new_chunk(number % 50, 100)).collect();
        upload = world.catalog.append_upload(act(10), progress(&upload, chunks, b"")).await.unwrap();
        next = end;
    }
    let manifest = world.catalog.upload(&upload.id).await.unwrap().manifest;
    let resolve = async |range, count_max| world.catalog.resolve(manifest, range, count_max).await.unwrap();
    for first in [0, 1, 4_095, 4_096, 8_191, 8_192, chunk_count - 1] {
        let start = first * 100;
        let found = resolve(ByteRange::new(start + 99, start + 101).unwrap(), 10).await;
        let offsets: Vec<_> = found.iter().map(|placed| placed.offset).collect();
        let expected: Vec<_> =
            [start, start + 100].into_iter().filter(|offset| *offset < chunk_count * 100).collect();
        assert_eq!(offsets, expected);
        assert_eq!(found[0].chunk.digest, digest(first % 50));
    }
    assert_eq!(resolve(ByteRange::whole(chunk_count * 100), 5_000).await.len(), 5_000);
    assert_eq!(resolve(ByteRange::whole(u64::MAX), usize::MAX).await.len() as u64, chunk_count);
    assert!(resolve(ByteRange::at(5, 0), 10).await.is_empty());
    assert!(resolve(ByteRange::at(chunk_count * 100, 10), 10).await.is_empty());
    world.catalog.terminate_upload(act(1), &upload.id).await.unwrap();
    let gone = world.catalog.resolve(manifest, ByteRange::whole(1), 1).await;
    assert_eq!(kind_of(gone), ErrorKind::NotFound);
}

pub(crate) async fn the_size_of_an_upload_is_said_once_and_not_below_what_came(world: World) {
    let upload = world.catalog.create_upload(act(0), world.new_upload("a")).await.unwrap();
    let grown = progress(&upload, vec![world.new_chunk(1, 1_000)], b"tail");
    world.catalog.append_upload(act(1), grown).await.unwrap();
    let announce = async |id: &UploadId, size| world.catalog.announce_upload_size(act(2), id, size).await;
    assert_eq!(kind_of(announce(&upload.id, 1_003).await), ErrorKind::InvalidInput);
    assert_eq!(announce(&upload.id, 2_000).await.unwrap().size_bytes, Some(2_000));
    assert_eq!(announce(&upload.id, 2_000).await.unwrap().received_bytes, 1_004, "it may be said again");
    assert_eq!(kind_of(announce(&upload.id, 2_001).await), ErrorKind::InvalidInput);
    assert_eq!(kind_of(announce(&UploadId::random().unwrap(), 1).await), ErrorKind::NotFound);
    world.catalog.terminate_upload(act(3), &upload.id).await.unwrap();
    assert_eq!(kind_of(announce(&upload.id, 2_000).await), ErrorKind::Gone);
}

/// A part of one chunk that is complete.
async fn whole_part(world: &World, number: u64) -> Upload {
    let new =
        NewUpload { is_part: true, size_bytes: Some(1_000), ..world.new_upload(&format!("part-{number}")) };
    let part = world.catalog.create_upload(act(0), new).await.unwrap();
    world
        .catalog
        .append_upload(act(1), progress(&part, vec![world.new_chunk(number, 1_000)], b""))
        .await
        .unwrap()
}

pub(crate) async fn parts_are_joined_in_the_order_that_is_said_and_who_asks_again_hears_the_same(
    world: World,
) {
    let (first, second) = (whole_part(&world, 1).await, whole_part(&world, 2).await);
    assert!(world.events().await.is_empty(), "nothing is told of parts");
    let parts = vec![second.id, first.id];
    let join = async |key: &str, parts: Vec<UploadId>| {
        world.catalog.join_uploads(act(2), world.new_upload(key), parts, vec![7; 40]).await
    };
    let joined = join("whole", parts.clone()).await.unwrap();
    assert_eq!((joined.size_bytes, joined.received_bytes), (Some(2_000), 2_000));
    let record = world.catalog.upload(&joined.id).await.unwrap();
    assert_eq!(record.resume.sha256_state, vec![7; 40]);
    let placed = world.catalog.resolve(record.manifest, ByteRange::whole(2_000), 9).await.unwrap();
    let found: Vec<_> = placed.iter().map(|placed| placed.chunk.digest).collect();
    assert_eq!(found, [digest(2), digest(1)]);
    assert_eq!(join("whole", parts.clone()).await.unwrap().id, joined.id);
    assert_eq!(kind_of(join("elsewhere", parts).await), ErrorKind::Conflict);
    assert_eq!(kind_of(join("whole", vec![first.id, second.id]).await), ErrorKind::Conflict);
    assert_eq!(world.event_kinds().await, [EventKind::UploadCreated]);
    world.assert_sound().await;
    world.catalog.terminate_upload(act(3), &joined.id).await.unwrap();
    assert_eq!(kind_of(join("whole", vec![second.id, first.id]).await), ErrorKind::Gone);
}

pub(crate) async fn what_is_no_part_or_not_complete_is_not_joined_and_stays(world: World) {
    let whole = whole_part(&world, 1).await;
    let plain = world.catalog.create_upload(act(0), world.new_upload("plain")).await.unwrap();
    let short = NewUpload { is_part: true, size_bytes: Some(9), ..world.new_upload("short") };
    let short = world.catalog.create_upload(act(0), short).await.unwrap();
    let ended = whole_part(&world, 2).await;
    world.catalog.terminate_upload(act(1), &ended.id).await.unwrap();
    let stranger = UploadId::random().unwrap();
    let refused = [
        (plain.id, ErrorKind::Conflict),
        (short.id, ErrorKind::Conflict),
        (ended.id, ErrorKind::Conflict),
        (stranger, ErrorKind::NotFound),
    ];
    for (other, kind) in refused {
        let new = world.new_upload("joined");
        let outcome = world.catalog.join_uploads(act(2), new, vec![whole.id, other], vec![7; 40]).await;
        assert_eq!(kind_of(outcome), kind);
        assert_eq!(world.catalog.upload(&whole.id).await.unwrap().upload, whole);
    }
}
