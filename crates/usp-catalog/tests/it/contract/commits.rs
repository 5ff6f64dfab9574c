use usp_model::{
    ByteRange, DigestAlgorithm, ErrorKind, EventBody, EventKind, FileId, FileRef, FileState, KeyCondition,
    PackState, Release, StoredChunk,
};

use super::world::{World, act, at, bucket, digest, key, kind_of, new_run, rule_name, tags, user};

pub(crate) async fn a_committed_version_reads_back_and_resolves_to_its_chunks(world: World) {
    let mut new = world.new_version("2026/a.csv", 1);
    new.chunks.push(world.new_chunk(2, 500));
    new.size_bytes = 1_500;
    new.labels = tags(&[("env", "test")]);
    new.metadata = tags(&[("k", "v")]);
    let committed = world.catalog.commit_version(act(0), new.clone()).await.unwrap();
    assert!(committed.is_new_file && committed.runs.is_empty());
    let file = committed.file;
    assert_eq!((file.id, file.version, file.size_bytes), (new.file_id, 1, 1_500));
    assert_eq!((file.state, file.released), (FileState::Ready, true));
    assert_eq!((&file.labels, &file.metadata), (&new.labels, &new.metadata));
    assert_eq!(file.stored.chunks, 2);
    let record = world.catalog.file(&FileRef::Key(bucket("default"), key("2026/a.csv")), None).await.unwrap();
    assert_eq!(record.file, file);
    assert_eq!(record.domain_key, world.catalog.bucket(&bucket("default")).await.unwrap().domain_key);
    let placed = world.catalog.resolve(record.manifest, ByteRange::whole(1_500), 10).await.unwrap();
    let found: Vec<_> = placed.iter().map(|placed| (placed.offset, placed.chunk.digest)).collect();
    assert_eq!(found, [(0, digest(1)), (1_000, digest(2))]);
}

pub(crate) async fn the_etag_is_half_the_digest_and_the_version(world: World) {
    let first = world.put("a", 7).await.file;
    assert_eq!(first.etag, format!("{}-1", &digest(7).to_string()[..32]));
    let second = world.put("a", 7).await.file;
    assert_eq!(second.etag, format!("{}-2", &digest(7).to_string()[..32]));
    let mut without = world.new_version("b", 8);
    without.digests.remove(&DigestAlgorithm::Sha256);
    let (one, two) = (without.clone(), without);
    let one = world.catalog.commit_version(act(0), one).await.unwrap().file;
    let two = world.catalog.commit_version(act(0), two).await.unwrap().file;
    assert_ne!(one.etag, two.etag);
}

pub(crate) async fn a_second_commit_under_a_key_is_a_new_version_of_the_same_file(world: World) {
    let mut first = world.new_version("a", 1);
    first.labels = tags(&[("old", "1")]);
    let first = world.catalog.commit_version(act(0), first).await.unwrap();
    let second = world.new_version("a", 2);
    let second = world.catalog.commit_version(act(50), second).await.unwrap();
    assert!(first.is_new_file && !second.is_new_file);
    assert_eq!((second.file.id, second.file.version), (first.file.id, 2));
    assert_eq!(second.file.created_at, at(50));
    assert!(second.file.labels.is_empty());
    let versions = world.catalog.versions(&first.file.id).await.unwrap();
    assert_eq!(versions, [second.file.clone(), first.file.clone()]);
    let old = world.catalog.file(&FileRef::Id(first.file.id), Some(1)).await.unwrap();
    assert_eq!(old.file, first.file);
    let placed = world.catalog.resolve(old.manifest, ByteRange::whole(1_000), 10).await.unwrap();
    assert_eq!(placed[0].chunk.digest, digest(1));
    let absent = world.catalog.file(&FileRef::Id(first.file.id), Some(3)).await;
    assert_eq!(kind_of(absent), ErrorKind::NotFound);
    assert_eq!(kind_of(world.catalog.versions(&FileId::random().unwrap()).await), ErrorKind::NotFound);
}

pub(crate) async fn conditions_hold_against_what_stands_at_the_commit(world: World) {
    let with = |condition: KeyCondition, number| {
        let mut new = world.new_version("a", number);
        new.condition = condition;
        new
    };
    let any = KeyCondition::Matches(Vec::new());
    assert_eq!(
        kind_of(world.catalog.commit_version(act(0), with(any.clone(), 1)).await),
        ErrorKind::PreconditionFailed
    );
    let first = world.catalog.commit_version(act(0), with(KeyCondition::Absent, 1)).await.unwrap().file;
    let again = world.catalog.commit_version(act(0), with(KeyCondition::Absent, 2)).await;
    assert_eq!(kind_of(again), ErrorKind::PreconditionFailed);
    let stale = KeyCondition::Matches(vec!["stale".to_owned()]);
    assert_eq!(
        kind_of(world.catalog.commit_version(act(0), with(stale, 2)).await),
        ErrorKind::PreconditionFailed
    );
    let right = KeyCondition::Matches(vec!["stale".to_owned(), first.etag.clone()]);
    let second = world.catalog.commit_version(act(0), with(right.clone(), 2)).await.unwrap().file;
    assert_eq!(second.version, 2);
    assert_eq!(
        kind_of(world.catalog.commit_version(act(0), with(right, 3)).await),
        ErrorKind::PreconditionFailed
    );
    assert_eq!(world.catalog.commit_version(act(0), with(any, 3)).await.unwrap().file.version, 3);
    // The refused ones left nothing: two more chunks than versions would be rows of theirs.
    assert_eq!(world.catalog.totals().await.unwrap().chunks, 3);
}

pub(crate) async fn of_64_commits_at_once_that_want_the_key_absent_one_wins(world: World) {
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let mut new = world.new_version("prize", number);
            new.condition = KeyCondition::Absent;
            let catalog = std::sync::Arc::clone(&world.catalog);
            tokio::spawn(async move { catalog.commit_version(act(0), new).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(committed) => won += usize::from(committed.is_new_file),
            Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(world.catalog.totals().await.unwrap().chunks, 1);
}

pub(crate) async fn commits_of_one_group_stand_or_fall_each_for_itself_and_are_read_once_acknowledged(
    world: World,
) {
    let tasks: Vec<_> = (0..64_u64)
        .map(|number| {
            let mut new = world.new_version(&format!("k{number:02}"), number);
            let gone = world.gone_chunk(9_999, 1_000);
            if number % 4 == 0 {
                new.chunks = vec![gone];
            }
            let catalog = std::sync::Arc::clone(&world.catalog);
            tokio::spawn(async move {
                let key = FileRef::Key(new.bucket.clone(), new.key.clone());
                let outcome = catalog.commit_version(act(0), new).await;
                (number, outcome.map(|committed| committed.file.id), catalog.file(&key, None).await)
            })
        })
        .collect();
    for task in tasks {
        let (number, outcome, read) = task.await.unwrap();
        if number % 4 == 0 {
            assert_eq!(kind_of(outcome), ErrorKind::Unavailable);
            assert_eq!(kind_of(read.map(|record| record.file)), ErrorKind::NotFound);
        } else {
            assert_eq!(outcome.unwrap(), read.unwrap().file.id);
        }
    }
    assert_eq!(world.catalog.usage().await.unwrap()[0].files, 48);
}

pub(crate) async fn two_commits_of_the_same_new_chunk_share_one_row(world: World) {
    let first = world.put("a", 1).await.file;
    let second = world.put("b", 1).await.file;
    let mut chunks = Vec::new();
    for file in [first, second] {
        let record = world.catalog.file(&FileRef::Id(file.id), None).await.unwrap();
        chunks.push(world.catalog.resolve(record.manifest, ByteRange::whole(1_000), 1).await.unwrap()[0]);
    }
    assert_eq!(chunks[0], chunks[1]);
    let totals = world.catalog.totals().await.unwrap();
    assert_eq!((totals.chunks, totals.plain_bytes, totals.frame_bytes), (1, 1_000, 501));
    let looked_up = world.catalog.lookup_chunks(vec![digest(5), digest(1)]).await.unwrap();
    assert_eq!(looked_up, [None, Some(chunks[0].chunk)]);
    let mut third = world.new_version("c", 1);
    third.chunks = vec![chunks[0].chunk.into(); 3];
    third.size_bytes = 3_000;
    let third = world.catalog.commit_version(act(0), third).await.unwrap().file;
    assert_eq!(third.stored.chunks, 3);
}

pub(crate) async fn a_commit_covers_its_frames_in_the_pack_and_a_sealed_pack_keeps_its_size(world: World) {
    world.put("a", 1).await;
    let open = world.catalog.packs().await.unwrap()[0];
    assert_eq!((open.state, open.committed_bytes), (PackState::Open, 4_096 + 501));
    world.catalog.seal_pack(act(0), world.pack, 10_000).await.unwrap();
    world.put("b", 2).await;
    let sealed = world.catalog.packs().await.unwrap()[0];
    assert_eq!((sealed.state, sealed.committed_bytes), (PackState::Sealed, 10_000));
    let second = world.catalog.begin_pack(act(0)).await.unwrap();
    assert!(second > world.pack);
    world.catalog.set_pack_aside(act(0), second).await.unwrap();
    assert_eq!(world.catalog.packs().await.unwrap()[1].state, PackState::SetAside);
    assert_eq!(kind_of(world.catalog.seal_pack(act(0), second, 1).await), ErrorKind::Conflict);
}

pub(crate) async fn sizes_that_do_not_add_up_are_refused_whole(world: World) {
    let mut new = world.new_version("a", 1);
    new.size_bytes = 999;
    assert_eq!(kind_of(world.catalog.commit_version(act(0), new).await), ErrorKind::Internal);
    let mut known = world.new_version("b", 1);
    world.put("c", 1).await;
    let standing = world.catalog.lookup_chunks(vec![digest(1)]).await.unwrap()[0].unwrap();
    known.chunks = vec![StoredChunk { size_bytes: 1, ..standing }.into()];
    known.size_bytes = 1;
    assert_eq!(kind_of(world.catalog.commit_version(act(0), known).await), ErrorKind::Internal);
    assert_eq!(world.catalog.totals().await.unwrap().chunks, 1);
}

pub(crate) async fn the_quota_counts_current_versions_and_a_replaced_one_not_twice(world: World) {
    let with_quota = |text: &str, number| {
        let mut new = world.new_version(text, number);
        new.quota_bytes = Some(2_000);
        new
    };
    for (text, number) in [("a", 1), ("b", 2), ("a", 3)] {
        world.catalog.commit_version(act(0), with_quota(text, number)).await.unwrap();
    }
    assert_eq!(
        kind_of(world.catalog.commit_version(act(0), with_quota("c", 4)).await),
        ErrorKind::StorageFull
    );
    let file = world.catalog.file(&FileRef::Key(bucket("default"), key("b")), None).await.unwrap().file;
    world.catalog.delete_file(act(1), &file.id, None).await.unwrap();
    world.catalog.commit_version(act(0), with_quota("c", 4)).await.unwrap();
}

pub(crate) async fn usage_follows_versions_and_goes_back_to_nothing(world: World) {
    let file = world.put("a", 1).await.file;
    world.put("a", 2).await;
    world.put("b", 3).await;
    let usage = world.catalog.usage().await.unwrap();
    assert_eq!((usage[0].bucket.clone(), usage[1].bucket.clone()), (None, Some(bucket("default"))));
    let all = &usage[0];
    assert_eq!((all.files, all.versions, all.logical_bytes, all.stored_bytes), (2, 3, 3_000, 1_503));
    world.catalog.delete_file(act(1), &file.id, None).await.unwrap();
    let rest = &world.catalog.usage().await.unwrap()[1];
    assert_eq!((rest.files, rest.versions, rest.logical_bytes, rest.stored_bytes), (1, 1, 1_000, 501));
}

pub(crate) async fn an_idempotency_key_answers_with_what_it_made_for_a_day(world: World) {
    let with_key = |text: &str, number| {
        let mut new = world.new_version(text, number);
        new.idempotency_key = Some("once".to_owned());
        new
    };
    let first = world.catalog.commit_version(act(0), with_key("a", 1)).await.unwrap();
    let mut again = with_key("a", 1);
    again.condition = KeyCondition::Absent;
    let again = world.catalog.commit_version(act(1_000), again).await.unwrap();
    assert_eq!((&again.file, again.is_new_file), (&first.file, false));
    assert_eq!(
        kind_of(world.catalog.commit_version(act(1_000), with_key("b", 1)).await),
        ErrorKind::Conflict
    );
    let other_content = world.catalog.commit_version(act(1_000), with_key("a", 2)).await;
    assert_eq!(kind_of(other_content), ErrorKind::Conflict, "new content must never be taken for stored");
    let asked = async |owner: &str, ms| {
        world.catalog.file_of_idempotency_key(&user(owner), "once", at(ms)).await.unwrap()
    };
    const DAY_MS: i64 = 86_400_000;
    assert_eq!(asked("alice", 1).await, Some(first.file.id));
    assert_eq!(asked("bob", 1).await, None);
    assert_eq!(asked("alice", DAY_MS).await, None);
    let later = world.catalog.commit_version(act(DAY_MS), with_key("a", 4)).await.unwrap();
    assert_eq!(later.file.version, 2);
    world.catalog.delete_file(act(DAY_MS), &first.file.id, None).await.unwrap();
    assert_eq!(asked("alice", DAY_MS + 1).await, None);
}

pub(crate) async fn a_repeated_request_ends_the_upload_it_came_with(world: World) {
    let mut new = world.new_version("a", 1);
    new.idempotency_key = Some("once".to_owned());
    world.catalog.commit_version(act(0), new.clone()).await.unwrap();
    let upload = world.catalog.create_upload(act(0), world.new_upload("a")).await.unwrap();
    new.upload = Some(upload.id);
    world.catalog.commit_version(act(0), new).await.unwrap();
    assert_eq!(kind_of(world.catalog.upload(&upload.id).await), ErrorKind::Gone);
    assert_eq!(world.catalog.totals().await.unwrap().open_uploads, 0);
}

pub(crate) async fn a_commit_tells_what_happened_in_order_and_wakes_followers(world: World) {
    let mut signal = world.catalog.event_signal();
    assert_eq!(*signal.borrow_and_update(), 0);
    world.put("a", 1).await;
    assert!(signal.has_changed().unwrap());
    let mut new = world.new_version("b", 2);
    new.runs = vec![new_run("profile")];
    new.release = Release::AfterSuccess;
    let committed = world.catalog.commit_version(act(0), new).await.unwrap();
    assert_eq!((committed.file.state, committed.file.released), (FileState::Processing, false));
    assert_eq!(committed.runs.len(), 1);
    let kinds = [
        EventKind::FileStored,
        EventKind::FileReady,
        EventKind::FileStored,
        EventKind::FileProcessing,
        EventKind::RunQueued,
    ];
    assert_eq!(world.event_kinds().await, kinds);
    let events = world.events().await;
    assert_eq!(*signal.borrow_and_update(), events.last().unwrap().seq);
    assert_eq!(world.catalog.last_event().await.unwrap(), events.last().unwrap().seq);
    let stored = &events[2];
    assert_eq!((stored.file_id, stored.bucket.clone()), (committed.file.id, bucket("default")));
    assert_eq!(stored.key, key("b"));
    let EventBody::File(said) = &stored.body else { panic!("{stored:?} is no event of a file") };
    assert_eq!((said.state, said.media_type.as_str()), (FileState::Stored, "text/csv"));
    let EventBody::Run(run) = &events[4].body else { panic!("{:?} is no event of a run", events[4]) };
    assert_eq!((run.run_id, &run.rule), (committed.runs[0], &rule_name("profile")));
}

pub(crate) async fn a_commit_into_no_bucket_is_not_found(world: World) {
    let mut new = world.new_version("a", 1);
    new.bucket = bucket("none");
    assert_eq!(kind_of(world.catalog.commit_version(act(0), new).await), ErrorKind::NotFound);
}

pub(crate) async fn derived_files_are_shown_with_their_source(world: World) {
    let source = world.put("a.csv", 1).await.file;
    let mut derived = world.new_version("derived/a.parquet", 2);
    derived.derived_from = Some(source.id);
    let derived = world.catalog.commit_version(act(0), derived).await.unwrap().file;
    assert_eq!(derived.derived_from, Some(source.id));
    let shown = world.catalog.file(&FileRef::Id(source.id), None).await.unwrap().file.derived;
    assert_eq!((shown.len(), shown[0].name.as_str(), shown[0].file_id), (1, "a.parquet", derived.id));
}

pub(crate) async fn whether_bytes_fit_under_a_quota_can_be_asked_before_they_come(world: World) {
    world.put("a", 1).await;
    let fits = async |name: &str, size, replaced| {
        world.catalog.check_quota(&bucket(name), 2_000, size, replaced).await
    };
    fits("default", 1_000, 0).await.unwrap();
    assert_eq!(kind_of(fits("default", 1_001, 0).await), ErrorKind::StorageFull);
    fits("default", 2_000, 1_000).await.unwrap();
    assert_eq!(kind_of(fits("none", 1, 0).await), ErrorKind::NotFound);
}
