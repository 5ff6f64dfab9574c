//! The log of events: dense numbers in the order of the commits, whatever is committed together; every filter; what is
//! still told of files and buckets that are gone.

use usp_catalog::records::{NewRun, NewUpload, NewVersion};
use usp_model::{BucketPolicy, Event, EventBody, EventKind, EventQuery, EventSeq, FileId, Release, UploadId};

use super::uploads::progress;
use super::world::{World, act, at, bucket, key, new_run};

async fn found(world: &World, query: EventQuery) -> Vec<Event> {
    world.catalog.events(EventQuery { limit: 100, ..query }).await.unwrap()
}

fn seqs(events: &[Event]) -> Vec<EventSeq> {
    events.iter().map(|event| event.seq).collect()
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(Event::kind).collect()
}

/// What happened in [`eventful`].
struct Past {
    /// An upload that became a file.
    uploaded: FileId,
    /// A file with a run, which was deleted.
    deleted: FileId,
    /// A file under the same key that came after it.
    successor: FileId,
    /// An upload that was ended.
    terminated: FileId,
    /// A file of a bucket that was deleted.
    of_gone_bucket: FileId,
    all: Vec<Event>,
}

/// A past with events of every sort of object, some of which are gone.
async fn eventful(world: &World) -> Past {
    let catalog = &world.catalog;
    let upload = catalog.create_upload(act(1), world.new_upload("uploaded")).await.unwrap();
    catalog.append_upload(act(2), progress(&upload, vec![world.new_chunk(1, 1_000)], b"")).await.unwrap();
    let last =
        NewVersion { upload: Some(upload.id), file_id: upload.file_id, ..world.new_version("uploaded", 2) };
    let last = NewVersion { size_bytes: 2_000, ..last };
    let uploaded = catalog.commit_version(act(3), last).await.unwrap().file.id;

    let run = new_run("profile");
    let processed = NewVersion { runs: vec![run.clone()], ..world.new_version("deleted", 3) };
    let deleted = catalog.commit_version(act(4), processed).await.unwrap().file.id;
    catalog.claim_run(act(5), &run.id, at(30_000)).await.unwrap().unwrap();
    world.put("deleted", 4).await;
    catalog.delete_file(act(6), &deleted, None).await.unwrap();
    let successor = world.put("deleted", 5).await.file.id;

    let upload = catalog.create_upload(act(7), world.new_upload("terminated")).await.unwrap();
    catalog.terminate_upload(act(8), &upload.id).await.unwrap();

    catalog.create_bucket(act(9), bucket("gone"), BucketPolicy::default()).await.unwrap();
    let domain = world.domain_of("gone").await;
    let new = NewVersion { bucket: bucket("gone"), domain, ..world.new_version("in-gone", 6) };
    let of_gone_bucket = catalog.commit_version(act(10), new).await.unwrap().file.id;
    catalog.delete_file(act(11), &of_gone_bucket, None).await.unwrap();
    catalog.delete_bucket(act(12), &bucket("gone")).await.unwrap();
    let all = found(world, EventQuery::default()).await;
    Past { uploaded, deleted, successor, terminated: upload.file_id, of_gone_bucket, all }
}

pub(crate) async fn numbers_are_dense_and_rise_with_the_commits(world: World) {
    let past = eventful(&world).await;
    let count = EventSeq::try_from(past.all.len()).unwrap();
    assert!(count > 15, "{count}");
    assert_eq!(seqs(&past.all), (1..=count).collect::<Vec<_>>());
    assert!(past.all.is_sorted_by_key(|event| event.seq));
    assert_eq!(world.catalog.last_event().await.unwrap(), count);
    let world = world.reopened().await;
    assert_eq!(found(&world, EventQuery::default()).await, past.all);
    world.put("after a restart", 9).await;
    let after = EventQuery { after: count, ..EventQuery::default() };
    assert_eq!(seqs(&found(&world, after).await), [count + 1, count + 2]);
}

pub(crate) async fn a_page_may_begin_and_end_between_events_that_were_committed_together(world: World) {
    for number in 0..3 {
        world.put(&number.to_string(), number).await;
    }
    let all = found(&world, EventQuery::default()).await;
    assert_eq!(kinds(&all[..2]), [EventKind::FileStored, EventKind::FileReady]);
    for after in 0..=6_usize {
        for limit in 1..=7_usize {
            let query = EventQuery {
                after: EventSeq::try_from(after).unwrap(),
                limit: u32::try_from(limit).unwrap(),
                ..EventQuery::default()
            };
            let expected = &all[after..(after + limit).min(6)];
            assert_eq!(world.catalog.events(query).await.unwrap(), expected, "{limit} after {after}");
        }
    }
}

pub(crate) async fn each_of_events_that_were_committed_together_is_found_by_its_kind(world: World) {
    world.put("a", 1).await;
    world.put("b", 2).await;
    let of = async |kinds: &[EventKind], after, limit| {
        let query = EventQuery { kinds: kinds.to_vec(), after, limit, ..EventQuery::default() };
        seqs(&world.catalog.events(query).await.unwrap())
    };
    assert_eq!(of(&[EventKind::FileStored], 0, 100).await, [1, 3]);
    assert_eq!(of(&[EventKind::FileReady], 0, 100).await, [2, 4]);
    assert_eq!(of(&[EventKind::FileReady], 0, 1).await, [2]);
    assert_eq!(
        of(&[EventKind::FileStored], 1, 1).await,
        [3],
        "the first is passed, its companion does not count"
    );
    assert_eq!(of(&[EventKind::FileReady], 1, 1).await, [2]);
    assert_eq!(of(&[EventKind::FileReady, EventKind::FileStored], 1, 2).await, [2, 3]);
    assert!(of(&[EventKind::FileDeleted], 0, 100).await.is_empty());
}

pub(crate) async fn every_filter_gives_what_it_takes_from_the_whole_log(world: World) {
    let past = eventful(&world).await;
    let mut files: Vec<_> = past.all.iter().map(|event| event.file_id).collect();
    files.dedup();
    let files = files.into_iter().map(Some).chain([None, Some(FileId::random().unwrap())]);
    let kind_sets = [
        vec![],
        vec![EventKind::FileReady],
        vec![EventKind::FileReady, EventKind::FileDeleted, EventKind::RunQueued],
        vec![EventKind::UploadCreated, EventKind::UploadCompleted, EventKind::UploadTerminated],
    ];
    let buckets = [None, Some(vec![bucket("default")]), Some(vec![bucket("gone"), bucket("default")])];
    for file in files {
        for (kinds, buckets) in
            kind_sets.iter().flat_map(|kinds| buckets.iter().map(move |names| (kinds, names)))
        {
            for after in [0, 2, 5, 6, 7, 12] {
                let query = EventQuery {
                    after,
                    kinds: kinds.clone(),
                    file,
                    buckets: buckets.clone(),
                    limit: 3,
                    ..EventQuery::default()
                };
                let expected = past.all.iter().filter(|event| {
                    event.seq > after
                        && file.is_none_or(|file| event.file_id == file)
                        && (kinds.is_empty() || kinds.contains(&event.kind()))
                        && buckets.as_ref().is_none_or(|names| names.contains(&event.bucket))
                });
                let expected: Vec<_> = expected.take(3).cloned().collect();
                assert_eq!(world.catalog.events(query.clone()).await.unwrap(), expected, "{query:?}");
            }
        }
    }
}

pub(crate) async fn events_of_a_file_are_found_from_its_upload_to_its_end_and_after_it(world: World) {
    let past = eventful(&world).await;
    let of = async |file| found(&world, EventQuery { file: Some(file), ..EventQuery::default() }).await;
    let uploaded =
        [EventKind::UploadCreated, EventKind::UploadCompleted, EventKind::FileStored, EventKind::FileReady];
    assert_eq!(kinds(&of(past.uploaded).await), uploaded);
    let deleted = [
        EventKind::FileStored,
        EventKind::FileProcessing,
        EventKind::RunQueued,
        EventKind::RunStarted,
        EventKind::FileStored,
        EventKind::FileReady,
        EventKind::RunCancelled,
        EventKind::FileDeleted,
    ];
    assert_eq!(kinds(&of(past.deleted).await), deleted);
    assert_eq!(kinds(&of(past.successor).await), [EventKind::FileStored, EventKind::FileReady]);
    let terminated = [EventKind::UploadCreated, EventKind::UploadTerminated];
    assert_eq!(kinds(&of(past.terminated).await), terminated, "by its preliminary id");
    assert_eq!(kinds(&of(past.of_gone_bucket).await).last(), Some(&EventKind::FileDeleted));
}

pub(crate) async fn every_event_says_which_file_and_key_it_is_about_although_they_are_gone(world: World) {
    let past = eventful(&world).await;
    for (file, text, name) in [
        (past.uploaded, "uploaded", "default"),
        (past.deleted, "deleted", "default"),
        (past.successor, "deleted", "default"),
        (past.terminated, "terminated", "default"),
        (past.of_gone_bucket, "in-gone", "gone"),
    ] {
        let of_file: Vec<_> = past.all.iter().filter(|event| event.file_id == file).collect();
        assert!(!of_file.is_empty(), "{text}");
        for event in of_file {
            assert_eq!((&event.key, &event.bucket), (&key(text), &bucket(name)), "{event:?}");
        }
    }
    let known = [past.uploaded, past.deleted, past.successor, past.terminated, past.of_gone_bucket];
    assert!(past.all.iter().all(|event| known.contains(&event.file_id)));
}

pub(crate) async fn an_upload_to_a_key_that_stands_tells_of_the_file_under_it(world: World) {
    let file = world.put("a", 1).await.file;
    let upload = world.catalog.create_upload(act(1), world.new_upload("a")).await.unwrap();
    let new = NewVersion { upload: Some(upload.id), ..world.new_version("a", 2) };
    world.catalog.commit_version(act(2), new).await.unwrap();
    // This one came before there was a file, and the key was taken when it was finished.
    let early = world.catalog.create_upload(act(3), world.new_upload("b")).await.unwrap();
    let other = world.put("b", 3).await.file;
    let new = NewVersion { upload: Some(early.id), file_id: early.file_id, ..world.new_version("b", 4) };
    world.catalog.commit_version(act(4), new).await.unwrap();
    let of = async |id| kinds(&found(&world, EventQuery { file: Some(id), ..EventQuery::default() }).await);
    let twice = [EventKind::FileStored, EventKind::FileReady];
    let created = [EventKind::UploadCreated];
    let completed = [EventKind::UploadCompleted];
    assert_eq!(of(file.id).await, [&twice[..], &created, &completed, &twice].concat());
    assert_eq!(of(early.file_id).await, created);
    assert_eq!(of(other.id).await, [&twice[..], &completed, &twice].concat());
}

/// The upload that was opened while the file stood knows its id, and brings it back.
pub(crate) async fn an_id_that_comes_back_after_a_deletion_finds_the_events_of_both_lives(world: World) {
    let first = world.put("a", 1).await.file;
    let upload = world.catalog.create_upload(act(1), world.new_upload("a")).await.unwrap();
    assert_eq!(upload.file_id, first.id);
    world.catalog.delete_file(act(2), &first.id, None).await.unwrap();
    let new = NewVersion { upload: Some(upload.id), file_id: upload.file_id, ..world.new_version("a", 2) };
    let second = world.catalog.commit_version(act(3), new).await.unwrap().file;
    assert_eq!((second.id, second.version), (first.id, 1));
    let of_both = EventQuery { file: Some(first.id), ..EventQuery::default() };
    let all = found(&world, EventQuery::default()).await;
    assert_eq!(all.len(), 7);
    assert_eq!(found(&world, of_both.clone()).await, all);
    world.catalog.delete_file(act(4), &first.id, None).await.unwrap();
    let all = found(&world, EventQuery::default()).await;
    assert_eq!(found(&world, of_both).await, all);
    assert!(all.iter().all(|event| event.file_id == first.id));
}

pub(crate) async fn events_of_a_deleted_bucket_are_found_by_its_name_and_go_on_under_its_successor(
    world: World,
) {
    let in_gone = EventQuery { bucket: Some(bucket("gone")), ..EventQuery::default() };
    let past = eventful(&world).await;
    let before = found(&world, in_gone.clone()).await;
    assert_eq!(kinds(&before), [EventKind::FileStored, EventKind::FileReady, EventKind::FileDeleted]);
    world.catalog.create_bucket(act(20), bucket("gone"), BucketPolicy::default()).await.unwrap();
    assert_eq!(found(&world, in_gone.clone()).await, before);
    let domain = world.domain_of("gone").await;
    let new = NewVersion { bucket: bucket("gone"), domain, ..world.new_version("in-gone", 7) };
    let heir = world.catalog.commit_version(act(21), new).await.unwrap().file.id;
    assert_ne!(heir, past.of_gone_bucket);
    let now = found(&world, in_gone).await;
    assert_eq!((now.len(), &now[..3]), (5, &before[..]));
    assert!(now[3..].iter().all(|event| event.file_id == heir));
    let ready = EventQuery {
        bucket: Some(bucket("gone")),
        kinds: vec![EventKind::FileReady],
        after: before[0].seq,
        limit: 1,
        ..EventQuery::default()
    };
    assert_eq!(world.catalog.events(ready).await.unwrap(), before[1..2]);
}

pub(crate) async fn events_say_what_they_are_about_in_full(world: World) {
    let run = NewRun { rule_version: 1, ..new_run("profile") };
    let new = NewUpload { size_bytes: Some(1_000), ..world.new_upload("a") };
    let upload = world.catalog.create_upload(act(1), new).await.unwrap();
    let new = NewVersion { upload: Some(upload.id), runs: vec![run.clone()], ..world.new_version("a", 1) };
    let new = NewVersion { release: Release::AfterSuccess, ..new };
    world.catalog.commit_version(act(2), new).await.unwrap();
    world.catalog.claim_run(act(3), &run.id, at(30_000)).await.unwrap().unwrap();
    let all = found(&world, EventQuery::default()).await;
    assert_eq!(all.iter().map(|event| event.at).collect::<Vec<_>>(), [1, 2, 2, 2, 2, 3].map(at));
    let uploads: Vec<(UploadId, Option<u64>, u64)> = all
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Upload(said) => Some((said.upload_id, said.size_bytes, said.received_bytes)),
            EventBody::File(_) | EventBody::Run(_) => None,
        })
        .collect();
    assert_eq!(uploads, [(upload.id, Some(1_000), 0), (upload.id, Some(1_000), 1_000)]);
    let EventBody::File(stored) = &all[2].body else { panic!("{:?} is no event of a file", all[2]) };
    assert_eq!((stored.version, stored.size_bytes, stored.released), (1, 1_000, false));
    let EventBody::Run(started) = &all[5].body else { panic!("{:?} is no event of a run", all[5]) };
    assert_eq!((started.run_id, started.version, started.attempt), (run.id, 1, 1));
}

pub(crate) async fn events_come_in_order_after_a_point_and_by_every_filter(world: World) {
    world.catalog.create_bucket(act(0), bucket("other"), BucketPolicy::default()).await.unwrap();
    let first = world.put("a", 1).await.file;
    let mut new = world.new_version("b", 2);
    (new.bucket, new.domain) = (bucket("other"), world.domain_of("other").await);
    let second = world.catalog.commit_version(act(0), new).await.unwrap().file;
    let all = found(&world, EventQuery::default()).await;
    assert_eq!(all.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let after = EventQuery { after: 3, ..EventQuery::default() };
    assert_eq!(found(&world, after).await, all[3..]);
    let of_file = EventQuery { file: Some(first.id), ..EventQuery::default() };
    assert_eq!(found(&world, of_file).await, all[..2]);
    let in_bucket = EventQuery { bucket: Some(bucket("other")), ..EventQuery::default() };
    assert_eq!(found(&world, in_bucket.clone()).await, all[2..]);
    let both = vec![bucket("other"), bucket("default")];
    let visible =
        EventQuery { buckets: Some(both), kinds: vec![EventKind::FileReady], ..EventQuery::default() };
    let ready = found(&world, visible).await;
    assert_eq!(ready.iter().map(|event| event.file_id).collect::<Vec<_>>(), [first.id, second.id]);
    let hidden = EventQuery { buckets: Some(vec![bucket("default")]), ..in_bucket };
    assert!(found(&world, hidden).await.is_empty());
    assert!(
        found(&world, EventQuery { buckets: Some(Vec::new()), ..EventQuery::default() }).await.is_empty()
    );
    let two = EventQuery { limit: 2, ..EventQuery::default() };
    assert_eq!(world.catalog.events(two).await.unwrap(), all[..2]);
}

pub(crate) async fn old_events_are_forgotten_and_their_numbers_never_come_again(world: World) {
    let prune =
        async |before, limit| world.catalog.prune_events(act(9_000), at(before), limit).await.unwrap();
    assert_eq!(world.catalog.last_event().await.unwrap(), 0);
    world.put("a", 1).await;
    world.put("b", 2).await;
    world.catalog.commit_version(act(1_000), world.new_version("c", 3)).await.unwrap();
    let first = prune(1_000, 1).await;
    assert!((1..=2).contains(&first), "of those two that were committed together, one or both: {first}");
    assert_eq!(prune(1_000, 100).await, 4 - first);
    assert_eq!(prune(1_000, 100).await, 0);
    assert_eq!(found(&world, EventQuery::default()).await.len(), 2);
    assert_eq!(prune(9_000, 100).await, 2);
    assert_eq!(world.catalog.last_event().await.unwrap(), 0);
    let world = world.reopened().await;
    world.put("d", 4).await;
    let seqs: Vec<_> = found(&world, EventQuery::default()).await.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [7, 8]);
    assert_eq!(world.catalog.last_event().await.unwrap(), 8);
    assert_eq!(*world.catalog.event_signal().borrow(), 8);
}

/// Their names go with the last event of each; nobody else is touched by that.
pub(crate) async fn buckets_that_are_gone_are_told_of_until_their_last_event_is_forgotten(world: World) {
    let gone = EventQuery { bucket: Some(bucket("gone")), ..EventQuery::default() };
    let past = eventful(&world).await;
    let of_gone = found(&world, gone.clone()).await;
    assert_eq!(seqs(&of_gone).len(), 3);
    let prune = async |before| world.catalog.prune_events(act(9_000), at(before), 100).await.unwrap();
    prune(10).await;
    assert_eq!(found(&world, gone.clone()).await, of_gone, "none of its own was forgotten");
    prune(11).await;
    assert_eq!(found(&world, gone.clone()).await, of_gone[2..], "its end is left");
    world.put("left", 7).await;
    world.catalog.commit_version(act(8_000), world.new_version("young", 8)).await.unwrap();
    prune(8_000).await;
    assert!(found(&world, gone.clone()).await.is_empty());
    let all = found(&world, EventQuery::default()).await;
    let last = past.all.last().unwrap().seq;
    assert_eq!(seqs(&all), [last + 3, last + 4]);
    let of_bucket = EventQuery { bucket: Some(bucket("default")), ..EventQuery::default() };
    assert_eq!(found(&world, of_bucket).await, all, "a bucket that stands keeps its name");

    world.catalog.create_bucket(act(8_001), bucket("gone"), BucketPolicy::default()).await.unwrap();
    prune(8_001).await;
    let domain = world.domain_of("gone").await;
    let new = NewVersion { bucket: bucket("gone"), domain, ..world.new_version("anew", 9) };
    world.catalog.commit_version(act(8_002), new).await.unwrap();
    let all = found(&world, EventQuery::default()).await;
    assert_eq!(seqs(&all), [last + 5, last + 6]);
    assert_eq!(found(&world, gone).await, all, "its successor had no event and kept its name");
}

/// A clock that was a year ahead for a moment must not keep the log for a year.
pub(crate) async fn events_of_a_clock_that_was_ahead_go_with_those_behind_them(world: World) {
    const YEAR_MS: i64 = 365 * 86_400_000;
    for (text, ms) in [("a", YEAR_MS), ("b", 10), ("c", 2_000)] {
        world.catalog.commit_version(act(ms), world.new_version(text, 1)).await.unwrap();
    }
    assert_eq!(world.catalog.prune_events(act(2_000), at(1_000), 100).await.unwrap(), 4);
    assert_eq!(found(&world, EventQuery::default()).await.len(), 2);
}

pub(crate) async fn a_change_without_events_wakes_nobody(world: World) {
    let mut signal = world.catalog.event_signal();
    signal.mark_unchanged();
    world.catalog.begin_pack(act(0)).await.unwrap();
    assert!(!signal.has_changed().unwrap());
}
