//! Events: those that were kept first, then what happens, to those who may see it.

use futures::StreamExt;
use serde_json::Value;
use usp_api::{AppendUpload, Caller, EventStream, NewFile, event_json};
use usp_model::{
    BucketPolicy, ErrorKind, Event, EventKind, EventQuery, FileRef, Role, RunOutcome, StepReport, StepState,
};

use crate::support::{
    CHECKPOINT_BYTES, House, admin, bucket, in_bucket, key, pieces, random_bytes, soon, stranger,
};

facts! {
    a_watch_replays_what_was_kept_and_goes_on_live,
    a_watch_shows_the_progress_of_uploads,
    a_watch_shows_the_progress_of_runs,
    a_watch_sees_only_the_buckets_of_its_caller,
    a_watch_can_follow_one_file_from_its_preliminary_id_on,
    a_watch_can_ask_for_some_kinds_only,
    a_watch_that_asks_for_an_absent_file_is_refused,
    the_last_event_is_where_a_watch_can_begin,
}

async fn watch(house: &House, caller: &Caller, query: EventQuery) -> EventStream {
    house.door.watch(caller, query).await.unwrap()
}

async fn next(events: &mut EventStream) -> Event {
    soon(events.next()).await.unwrap().unwrap()
}

async fn next_kinds(events: &mut EventStream, count: usize) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    for _ in 0..count {
        kinds.push(next(events).await.kind());
    }
    kinds
}

const PLAIN_PUT: [EventKind; 2] = [EventKind::FileStored, EventKind::FileReady];

async fn a_watch_replays_what_was_kept_and_goes_on_live(house: House) {
    let first = house.file("first", b"x").await;
    let mut all = watch(&house, &admin(), EventQuery::default()).await;
    let mut seqs = Vec::new();
    for kind in PLAIN_PUT {
        let event = next(&mut all).await;
        assert_eq!((event.kind(), event.file_id, event.bucket.as_str()), (kind, first.id, "default"));
        seqs.push(event.seq);
    }
    assert!(0 < seqs[0] && seqs[0] < seqs[1]);
    let second = house.file("second", b"x").await;
    let live = next(&mut all).await;
    assert_eq!((live.kind(), live.file_id), (EventKind::FileStored, second.id));
    // Whoever comes back says what it has seen.
    let mut rest = watch(&house, &admin(), EventQuery { after: seqs[0], ..EventQuery::default() }).await;
    assert_eq!(next(&mut rest).await.seq, seqs[1]);
    assert_eq!(next(&mut rest).await, live);
}

async fn a_watch_shows_the_progress_of_uploads(house: House) {
    let mut events = watch(&house, &admin(), EventQuery::default()).await;
    let bytes = random_bytes(1, 2 * CHECKPOINT_BYTES);
    let file = NewFile { size_bytes: Some(bytes.len() as u64), ..NewFile::at(bucket("default"), key("a")) };
    let upload = house.door.start_upload(&admin(), file).await.unwrap();
    assert_eq!(next(&mut events).await.kind(), EventKind::UploadCreated);
    let append = AppendUpload { id: upload.id, offset: 0, size_bytes: None };
    house.door.append(&admin(), append, pieces(&bytes)).await.unwrap();
    let progress = next(&mut events).await;
    assert_eq!(
        (progress.kind(), progress.file_id, progress.seq),
        (EventKind::UploadProgress, upload.file_id, 0)
    );
    assert!(event_json(&progress)["received"].as_u64().unwrap() >= CHECKPOINT_BYTES as u64);
    assert_eq!(event_json(&progress)["size"], bytes.len());
    house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&EventKind::FileReady) {
        kinds.push(next(&mut events).await.kind());
    }
    kinds.retain(|kind| kind.is_kept());
    assert_eq!(kinds, [EventKind::UploadCompleted, EventKind::FileStored, EventKind::FileReady]);
}

async fn a_watch_shows_the_progress_of_runs(house: House) {
    let mut events = watch(&house, &admin(), EventQuery::default()).await;
    house.file("optional/a", b"x").await;
    let leased = house.lease().await;
    let kept =
        [EventKind::FileStored, EventKind::FileProcessing, EventKind::RunQueued, EventKind::RunStarted];
    assert_eq!(next_kinds(&mut events, kept.len()).await, kept);
    let running = StepReport {
        name: "only".to_owned(),
        state: StepState::Running,
        percent: 40,
        error: None,
        began_ms_ago: None,
        ended_ms_ago: None,
        report: None,
        labels: [].into(),
        metadata: [].into(),
    };
    house.report(&leased, vec![running], None).await;
    let progress = next(&mut events).await;
    assert_eq!((progress.kind(), progress.file_id), (EventKind::RunProgress, leased.file.id));
    assert_eq!(event_json(&progress)["run_id"], Value::from(leased.run.id.to_string()));
    assert_eq!(event_json(&progress)["steps"][0]["percent"], 40);
    house.report(&leased, Vec::new(), Some(RunOutcome::Succeeded)).await;
    assert_eq!(next_kinds(&mut events, 2).await, [EventKind::RunSucceeded, EventKind::FileReady]);
}

async fn a_watch_sees_only_the_buckets_of_its_caller(house: House) {
    house.bucket("hers", BucketPolicy::default()).await;
    let alice = in_bucket("alice", "hers", Role::Reader);
    let mut hers = watch(&house, &alice, EventQuery::default()).await;
    // What a caller claims to see does not count.
    let claim = EventQuery { buckets: Some(vec![bucket("default")]), ..EventQuery::default() };
    let mut claimed = watch(&house, &alice, claim).await;
    let mut nothing = watch(&house, &stranger(), EventQuery::default()).await;
    house.file("foreign", b"x").await;
    // Progress of a foreign upload is no more to be seen than what is kept.
    let bytes = random_bytes(1, 2 * CHECKPOINT_BYTES);
    let foreign = NewFile::at(bucket("default"), key("foreign-upload"));
    let upload = house.door.start_upload(&admin(), foreign).await.unwrap();
    let append = AppendUpload { id: upload.id, offset: 0, size_bytes: None };
    house.door.append(&admin(), append, pieces(&bytes)).await.unwrap();
    let own = NewFile::at(bucket("hers"), key("own"));
    let own = house.door.put(&admin(), own, pieces(b"x")).await.unwrap().file;
    for events in [&mut hers, &mut claimed] {
        assert_eq!(next(events).await.file_id, own.id);
    }
    assert!(futures::FutureExt::now_or_never(nothing.next()).is_none());
}

async fn a_watch_can_follow_one_file_from_its_preliminary_id_on(house: House) {
    let file = NewFile::at(bucket("default"), key("a"));
    let early = house.door.start_upload(&admin(), file.clone()).await.unwrap();
    let late = house.door.start_upload(&admin(), file).await.unwrap();
    let by_id = |file| EventQuery { file: Some(file), ..EventQuery::default() };
    let mut events = watch(&house, &admin(), by_id(early.file_id)).await;
    house.file("another", b"x").await;
    house.door.finish_upload(&admin(), early.id, Vec::new()).await.unwrap();
    let wanted = [EventKind::UploadCreated, EventKind::UploadCompleted, PLAIN_PUT[0], PLAIN_PUT[1]];
    assert_eq!(next_kinds(&mut events, 4).await, wanted);
    // The other upload became a version of that file; its preliminary id stands for it from now on.
    house.door.finish_upload(&admin(), late.id, Vec::new()).await.unwrap();
    let mut events = watch(&house, &admin(), by_id(late.file_id)).await;
    assert_eq!(next(&mut events).await.file_id, early.file_id);
}

async fn a_watch_can_ask_for_some_kinds_only(house: House) {
    let query = EventQuery { kinds: vec![EventKind::FileDeleted], ..EventQuery::default() };
    let mut events = watch(&house, &admin(), query).await;
    for at in ["a", "b"] {
        let file = house.file(at, b"x").await;
        house.door.delete_file(&admin(), FileRef::Id(file.id), None).await.unwrap();
        let event = next(&mut events).await;
        assert_eq!((event.kind(), event.file_id), (EventKind::FileDeleted, file.id));
    }
}

async fn a_watch_that_asks_for_an_absent_file_is_refused(house: House) {
    let absent = usp_model::FileId::random().unwrap();
    let query = EventQuery { file: Some(absent), ..EventQuery::default() };
    let refused = house.door.watch(&admin(), query).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

async fn the_last_event_is_where_a_watch_can_begin(house: House) {
    house.file("old", b"x").await;
    let after = house.door.last_event(&admin()).await.unwrap();
    let mut events = watch(&house, &admin(), EventQuery { after, ..EventQuery::default() }).await;
    let new = house.file("young", b"x").await;
    assert_eq!(next(&mut events).await.file_id, new.id);
}
