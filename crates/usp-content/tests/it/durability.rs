//! What is promised when disks fail: nothing is acknowledged that may be lost, and the store goes on.

use std::sync::Arc;

use bytes::Bytes;
use usp_content::{Batch, ContentConfig, MemoryPacks};
use usp_faults::{Call, Faulty, Script};
use usp_model::{ByteRange, Compression, ContentDigests, ErrorKind, PackId, PackState, Result};

use crate::support::{BUDGET_BYTES, World, lines, noise, settings, small, until};

async fn faulty_world() -> (World, Script) {
    let packs = Faulty::new(Arc::new(MemoryPacks::default()));
    let script = packs.script();
    (World::over(small(), Arc::new(packs)).await, script)
}

async fn append(world: &World, bytes: Vec<u8>) -> Result<(Batch, ContentDigests)> {
    let mut ingest = world.store.ingest(settings(Compression::None));
    ingest.push(Bytes::from(bytes)).await?;
    ingest.finish().await
}

#[tokio::test]
async fn a_pack_has_its_row_and_its_durable_name_before_its_first_frame() {
    let (world, script) = faulty_world().await;
    let stored = world.put(&noise(30_000, 1), Compression::None).await;
    let pack = *stored.batches[0].dirty.first().unwrap();
    assert_eq!(world.index.state(pack), Some(PackState::Open));
    let calls = script.calls();
    assert_eq!(calls[..2], [(Call::Create, pack), (Call::Append, pack)]);
    assert_eq!(calls.last(), Some(&(Call::Sync, pack)));
}

#[tokio::test]
async fn a_failed_sync_is_never_tried_again_and_the_pack_is_set_aside() {
    let (world, script) = faulty_world().await;
    let before = world.put(&lines(20_000, 1), Compression::None).await;
    script.fail(Call::Sync, 0, ErrorKind::Unavailable);
    let (batch, _) = append(&world, noise(20_000, 2)).await.unwrap();
    let pack = *batch.dirty.first().unwrap();

    for _ in 0..3 {
        assert_eq!(world.store.sync(&batch.dirty).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(script.count(Call::Sync), 2, "one for the content before, one that failed, none after it");
    assert_eq!(world.store.stats().syncs_failed, 1);
    assert_eq!(world.index.state(pack), Some(PackState::SetAside));

    let again = world.put(&noise(20_000, 2), Compression::None).await;
    assert!(
        again.batches[0].dirty.iter().all(|&other| other != pack),
        "nothing is appended to the failed pack"
    );
    assert!(again.new_bytes() > 20_000, "frames of the failed pack are not used again");
    assert_eq!(world.get(again.manifest, ByteRange::whole(20_000)).await.unwrap(), noise(20_000, 2));
    assert_eq!(world.get(before.manifest, ByteRange::whole(20_000)).await.unwrap(), lines(20_000, 1));
}

#[tokio::test]
async fn everybody_who_waits_shares_one_sync() {
    let (world, script) = faulty_world().await;
    let gate = script.gate(Call::Sync);
    let (batch, _) = append(&world, noise(20_000, 1)).await.unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (store, dirty) = (world.store.clone(), batch.dirty.clone());
            tokio::spawn(async move { store.sync(&dirty).await })
        })
        .collect();
    gate.add_permits(100);
    for waiter in waiting {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(script.count(Call::Sync), 1);
    assert_eq!(world.store.stats().syncs, 1);
}

#[tokio::test]
async fn bytes_appended_while_a_sync_runs_need_another() {
    let (world, script) = faulty_world().await;
    let gate = script.gate(Call::Sync);
    let (first, _) = append(&world, noise(20_000, 1)).await.unwrap();
    let (store, dirty) = (world.store.clone(), first.dirty.clone());
    let running = tokio::spawn(async move { store.sync(&dirty).await });
    while script.count(Call::Sync) == 0 {
        tokio::task::yield_now().await;
    }
    let (second, _) = append(&world, noise(20_000, 2)).await.unwrap();
    gate.add_permits(100);
    running.await.unwrap().unwrap();
    world.store.sync(&second.dirty).await.unwrap();
    assert_eq!(script.count(Call::Sync), 2);
}

#[tokio::test]
async fn a_sync_that_nobody_waits_for_any_more_still_sets_a_failed_pack_aside() {
    let (world, script) = faulty_world().await;
    let gate = script.gate(Call::Sync);
    let (batch, _) = append(&world, noise(20_000, 1)).await.unwrap();
    script.fail(Call::Sync, 0, ErrorKind::Unavailable);
    let (store, dirty) = (world.store.clone(), batch.dirty.clone());
    let impatient = tokio::spawn(async move { store.sync(&dirty).await });
    while script.count(Call::Sync) == 0 {
        tokio::task::yield_now().await;
    }
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled());
    gate.add_permits(100);
    assert_eq!(world.store.sync(&batch.dirty).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(script.count(Call::Sync), 1);
}

#[tokio::test]
async fn a_sealed_pack_is_durable_and_needs_no_further_sync() {
    let (world, script) = faulty_world().await;
    let (batch, _) = append(&world, noise(400_000, 1)).await.unwrap();
    until(|| world.index.rows().iter().any(|row| row.state == PackState::Sealed)).await;
    let sealed: Vec<PackId> = batch
        .dirty
        .iter()
        .copied()
        .filter(|&pack| world.index.state(pack) == Some(PackState::Sealed))
        .collect();
    assert!(!sealed.is_empty(), "400 kB fill a pack of 256 KiB");
    let before = script.count(Call::Sync);
    world.store.sync(&sealed.into_iter().collect()).await.unwrap();
    assert_eq!(script.count(Call::Sync), before);
    for row in world.index.rows() {
        assert!(row.committed_bytes <= small().pack_size_bytes_max, "a pack stays within its size");
    }
}

#[tokio::test]
async fn without_space_the_upload_fails_and_the_pack_goes_on_where_it_was() {
    for nth in 0..4 {
        let (world, script) = faulty_world().await;
        let before = world.put(&lines(30_000, 1), Compression::None).await;
        script.fail(Call::Append, nth, ErrorKind::StorageFull);
        let refused = append(&world, noise(100_000, 2)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        // A failed upload gives all its memory back, or this waits for ever.
        drop(world.budget.acquire(BUDGET_BYTES).await);

        let after = world.put(&noise(100_000, 2), Compression::None).await;
        assert_eq!(world.get(before.manifest, ByteRange::whole(30_000)).await.unwrap(), lines(30_000, 1));
        assert_eq!(world.get(after.manifest, ByteRange::whole(100_000)).await.unwrap(), noise(100_000, 2));
        let (_, report) = world.reopened().await;
        assert!(report.damaged.is_empty(), "what a failed write left is overwritten or cut off: {report:?}");
    }
}

#[tokio::test]
async fn without_space_for_the_footer_the_pack_is_sealed_later() {
    let (world, script) = faulty_world().await;
    // Every append in turn is the one that finds no space; one of them is the footer.
    for nth in 0..30 {
        script.fail(Call::Append, nth, ErrorKind::StorageFull);
        let bytes = noise(300_000, nth as u64);
        while append(&world, bytes.clone()).await.is_err() {}
        let stored = world.put(&bytes, Compression::None).await;
        assert!(world.get(stored.manifest, ByteRange::whole(300_000)).await.unwrap() == bytes);
    }
    for row in world.index.rows().iter().filter(|row| row.state == PackState::Sealed) {
        assert_eq!(world.open.len(row.pack).await.unwrap(), row.committed_bytes);
        world.store.inspector().frames(row.pack).await.unwrap();
    }
}

#[tokio::test]
async fn a_complete_pack_whose_row_could_not_say_so_is_noted_later() {
    let (world, _script) = faulty_world().await;
    world.index.fail_seals(1);
    world.put(&noise(300_000, 1), Compression::None).await;
    until(|| world.store.stats().packs_begun > 1).await;
    let first = world.index.first_pack().pack;
    until(|| world.index.failing_seals() == 0).await;
    assert_eq!(world.index.state(first), Some(PackState::Open));
    assert!(world.store.seal(first).await.unwrap());
    assert_eq!(world.index.state(first), Some(PackState::Sealed));
    assert!(!world.store.seal(first).await.unwrap(), "there is nothing left to do");
}

#[tokio::test]
async fn what_a_failed_write_left_does_not_outlive_the_seal() {
    let packs = Faulty::new(Arc::new(MemoryPacks::default()));
    let script = packs.script();
    let config = ContentConfig { pack_size_bytes_max: 20 << 10, open_pack_count: 1, ..small() };
    let world = World::over(config, Arc::new(packs)).await;
    for byte in 1..=4 {
        world.put(&[byte; 4096], Compression::None).await;
    }
    script.fail(Call::Append, 0, ErrorKind::StorageFull);
    append(&world, vec![5; 3000]).await.unwrap_err();
    // It does not fit any more, so the pack is sealed where the last whole frame ends.
    world.put(&[6; 4096], Compression::None).await;
    until(|| world.index.first_pack().state == PackState::Sealed).await;
    let row = world.index.first_pack();
    assert_eq!(world.open.len(row.pack).await.unwrap(), row.committed_bytes);
    assert_eq!(world.store.inspector().frames(row.pack).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_disk_that_fails_a_write_loses_the_pack_and_not_the_store() {
    let (world, script) = faulty_world().await;
    let before = world.put(&lines(30_000, 1), Compression::None).await;
    script.fail(Call::Append, 0, ErrorKind::Unavailable);
    let (pack, refused) = (*before.batches[0].dirty.first().unwrap(), append(&world, noise(9_000, 2)).await);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.index.state(pack), Some(PackState::SetAside));
    let after = world.put(&noise(9_000, 2), Compression::None).await;
    assert!(after.batches[0].dirty.iter().all(|&other| other != pack));
    assert_eq!(world.get(before.manifest, ByteRange::whole(30_000)).await.unwrap(), lines(30_000, 1));
}

#[tokio::test]
async fn a_pack_that_cannot_be_born_leaves_no_open_row() {
    for (kind, told) in [
        (ErrorKind::StorageFull, ErrorKind::StorageFull),
        (ErrorKind::Unavailable, ErrorKind::Unavailable),
        (ErrorKind::Conflict, ErrorKind::Unavailable),
    ] {
        let (world, script) = faulty_world().await;
        script.fail(Call::Create, 0, kind);
        assert_eq!(append(&world, noise(9_000, 1)).await.unwrap_err().kind(), told);
        assert_eq!(world.index.state(PackId(1)), Some(PackState::SetAside));
        world.put(&noise(9_000, 1), Compression::None).await;
    }
}

#[tokio::test]
async fn closing_makes_what_was_appended_durable() {
    let (world, script) = faulty_world().await;
    append(&world, noise(20_000, 1)).await.unwrap();
    world.store.close().await.unwrap();
    assert_eq!(script.count(Call::Sync), 1);
    assert_eq!(world.index.first_pack().state, PackState::Open, "closing seals nothing");
}
