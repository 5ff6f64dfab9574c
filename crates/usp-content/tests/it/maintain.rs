//! Sealing, moving and erasing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use usp_content::{Batch, Extent, Pace};
use usp_model::{ByteRange, ChunkRef, Compression, ErrorKind, PackId, PackState};

use crate::support::{Stored, World, lines, noise, settings, small};

async fn sealed() -> (World, Stored, u64) {
    let world = World::new(small()).await;
    let stored = world.put(&lines(60_000, 1), Compression::Auto).await;
    let (world, _) = world.reopened().await;
    let size_bytes = world.index.first_pack().committed_bytes;
    (world, stored, size_bytes)
}

const PACK: PackId = PackId(1);

async fn damage(world: &World, offset: u64) {
    let byte = world.open.read(PACK, ByteRange::at(offset, 1)).await.unwrap();
    let flipped: Vec<u8> = byte.iter().map(|byte| byte ^ 1).collect();
    world.open.append(PACK, offset, vec![flipped.into()]).await.unwrap();
}

#[tokio::test]
async fn moved_frames_read_as_before_and_their_old_pack_can_go() {
    let (world, stored, _) = sealed().await;
    let chunks = world.index.chunks();
    let copied = world.store.copy_frames(chunks.iter().map(|chunk| chunk.place).collect()).await.unwrap();
    let places = copied.places;
    world.store.sync(&places.iter().map(|place| place.pack).collect()).await.unwrap();
    for (chunk, place) in chunks.iter().zip(places) {
        assert_ne!(place.pack, PACK);
        world.index.with_chunk(chunk.id, |row| row.place = place);
    }
    world.store.delete_pack(PACK).await.unwrap();
    assert!(world.get(stored.manifest, ByteRange::whole(60_000)).await.unwrap() == lines(60_000, 1));
}

#[tokio::test]
async fn a_damaged_frame_is_not_copied() {
    let (world, ..) = sealed().await;
    let place = world.index.chunks()[2].place;
    damage(&world, place.offset + 60).await;
    assert_eq!(world.store.copy_frames(vec![place]).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn frames_of_an_erased_pack_are_stored_again() {
    let world = World::new(small()).await;
    let mut ingest = world.store.ingest(settings(Compression::None));
    ingest.push(Bytes::from(noise(20_000, 1))).await.unwrap();
    let (batch, _) = ingest.finish().await.unwrap();
    for &pack in &batch.dirty {
        world.store.delete_pack(pack).await.unwrap();
    }
    let (world, _) = world.reopened().await;
    assert!(world.put(&noise(20_000, 1), Compression::None).await.new_bytes() > 20_000);
}

#[tokio::test]
async fn a_pack_that_an_upload_refers_to_is_not_blocked_until_its_commit() {
    let (world, stored, _) = sealed().await;
    let again = ingested(&world, &lines(60_000, 1)).await;
    assert!(again.chunks.iter().any(|chunk| matches!(chunk, ChunkRef::Known { .. })));
    assert!(!world.store.block_references(PACK), "the batch holds it");
    drop(again);
    assert!(world.store.block_references(PACK));
    let elsewhere = ingested(&world, &lines(60_000, 1)).await;
    for chunk in &elsewhere.chunks {
        assert!(matches!(chunk, ChunkRef::New { place, .. } if place.pack != PACK), "hits on it are misses");
    }
    drop(elsewhere);
    world.store.allow_references(PACK);
    assert!(ingested(&world, &lines(60_000, 1)).await.dirty.is_empty(), "it serves again");
    assert!(world.get(stored.manifest, ByteRange::whole(60_000)).await.unwrap() == lines(60_000, 1));
}

/// A content that is not committed yet.
async fn ingested(world: &World, content: &[u8]) -> Batch {
    let mut ingest = world.store.ingest(settings(Compression::None));
    ingest.push(Bytes::copy_from_slice(content)).await.unwrap();
    ingest.finish().await.unwrap().0
}

#[tokio::test]
async fn an_open_pack_is_sealed_on_request_and_the_next_append_begins_another() {
    let world = World::new(small()).await;
    let stored = world.put(&noise(10_000, 1), Compression::None).await;
    assert!(world.store.seal(PACK).await.unwrap());
    assert!(!world.store.seal(PACK).await.unwrap(), "it is sealed already");
    assert_eq!(world.index.state(PACK), Some(PackState::Sealed));
    let extent = Extent::Sealed(world.index.first_pack().committed_bytes);
    let report = world.store.inspector().scrub(PACK, extent, &mut Pace::unlimited()).await;
    assert!(report.unwrap().is_sound());
    world.put(&noise(10_000, 2), Compression::None).await;
    assert_eq!(world.index.rows().len(), 2);
    assert!(world.get(stored.manifest, ByteRange::whole(10_000)).await.unwrap() == noise(10_000, 1));
}
