//! Short contents, which are committed with their frames instead of being synced first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use bytes::Bytes;
use usp_content::{MemoryPacks, OpenPacks};
use usp_model::{ByteRange, Compression, PackId, PackState};

use crate::support::{World, noise, settings, small, until};

const SIZE: usize = 900;

async fn put(world: &World, seed: u64) -> usp_model::ManifestId {
    world.put(&noise(SIZE, seed), Compression::None).await.manifest
}

async fn assert_stands(world: &World, manifest: usp_model::ManifestId, seed: u64) {
    let found = world.get(manifest, ByteRange::whole(SIZE as u64)).await.unwrap();
    assert!(found == noise(SIZE, seed), "content {seed} differs");
}

/// Appends a content and goes away before its commit.
async fn leave_uncommitted(world: &World, len: usize, seed: u64) {
    let mut ingest = world.store.ingest(settings(Compression::None));
    ingest.push(Bytes::from(noise(len, seed))).await.unwrap();
    ingest.finish().await.unwrap();
}

/// What a power cut leaves when nothing of the pack was written back but its length.
async fn lose_all_but_the_header(packs: &Arc<dyn OpenPacks>, pack: PackId) {
    let len = packs.len(pack).await.unwrap();
    packs.append(pack, 64, vec![Bytes::from(vec![0; usize::try_from(len).unwrap() - 64])]).await.unwrap();
}

#[tokio::test]
async fn a_short_content_asks_for_no_sync_and_a_long_one_does() {
    let world = World::new(small()).await;
    put(&world, 1).await;
    assert_eq!(world.store.stats().syncs, 0);
    world.put(&noise(40_000, 2), Compression::None).await;
    assert!(world.store.stats().syncs > 0);
}

#[tokio::test]
async fn what_a_power_cut_took_is_written_again_and_holes_are_filled() {
    for (before, after) in [(0, 0), (300, 0), (0, 300), (700, 5_000)] {
        let world = World::new(small()).await;
        let first = put(&world, 1).await;
        if before > 0 {
            leave_uncommitted(&world, before, 2).await;
        }
        let second = put(&world, 3).await;
        if after > 0 {
            leave_uncommitted(&world, after, 4).await;
        }
        lose_all_but_the_header(&world.open, PackId(1)).await;

        let (reopened, report) = world.reopened().await;
        assert_eq!((report.sealed.as_slice(), report.damaged.len()), ([PackId(1)].as_slice(), 0));
        assert_stands(&reopened, first, 1).await;
        assert_stands(&reopened, second, 3).await;
        let scrubbed = reopened
            .store
            .inspector()
            .scrub(
                PackId(1),
                usp_content::Extent::Sealed(world.index.first_pack().committed_bytes),
                &mut usp_content::Pace::unlimited(),
            )
            .await
            .unwrap();
        assert!(scrubbed.is_sound(), "{scrubbed:?}");
    }
}

#[tokio::test]
async fn a_stale_frame_that_reaches_into_a_committed_one_is_a_hole() {
    let world = World::new(small()).await;
    let first = put(&world, 1).await;
    let hole = world.open.len(PackId(1)).await.unwrap();
    leave_uncommitted(&world, 300, 2).await;
    let second = put(&world, 3).await;
    // Of an append that failed half-way and was written over; only the older bytes came to the disk.
    let stale = world.put(&noise(800, 5), Compression::None).await.batches[0].redo[0].bytes.clone();
    world.open.append(PackId(1), hole, vec![Bytes::from(stale)]).await.unwrap();

    let (reopened, report) = world.reopened().await;
    assert_eq!(report.damaged.len(), 0);
    assert_stands(&reopened, first, 1).await;
    assert_stands(&reopened, second, 3).await;
}

#[tokio::test]
async fn a_pack_that_filled_up_lets_its_frames_go() {
    let world = World::over(small(), Arc::new(MemoryPacks::default())).await;
    for seed in 0..400 {
        put(&world, seed).await;
    }
    world.store.close().await.unwrap();
    until(|| world.index.state(PackId(1)) == Some(PackState::Sealed)).await;
    assert_eq!(usp_content::ChunkIndex::redo(&*world.index, PackId(1)).await.unwrap(), []);
    let (reopened, _) = world.reopened().await;
    assert_stands(&reopened, usp_model::ManifestId(0), 0).await;
}

#[tokio::test]
async fn a_pack_that_failed_and_then_lost_its_bytes_is_readable_after_a_restart() {
    let world = World::new(small()).await;
    let manifest = put(&world, 1).await;
    usp_content::ChunkIndex::set_pack_aside(&*world.index, PackId(1)).await.unwrap();
    world.open.truncate(PackId(1), 64).await.unwrap();
    let (reopened, _) = world.reopened().await;
    assert_stands(&reopened, manifest, 1).await;
}
