//! Bytes of released versions, opened by today's code.

use std::sync::Arc;

use bytes::Bytes;
use usp_content::{Extent, MemoryPacks, OpenPacks, Pace};
use usp_model::{ByteRange, ChunkId, ChunkRef, Compression, PackId, PackRecord, PackState};

use crate::support::{FakeIndex, World, lines, noise, small};

const PACK: PackId = PackId(1);
/// Written by version 1: the contents below, one after the other, at the small test bounds, sealed by a restart.
const SEALED_V1: &[u8] = include_bytes!("../../testdata/v1/sealed.pack");

fn contents() -> Vec<(Vec<u8>, Compression)> {
    vec![
        (noise(3_000, 1), Compression::None),
        (lines(9_000, 2), Compression::Zstd),
        (lines(9_000, 3), Compression::Lz4),
    ]
}

#[tokio::test]
async fn a_sealed_pack_of_version_1_is_opened_by_todays_code() {
    let packs = Arc::new(MemoryPacks::default());
    packs.create(PACK, Bytes::from_static(SEALED_V1)).await.unwrap();
    let index = Arc::new(FakeIndex::default());
    let size_bytes = SEALED_V1.len() as u64;
    index.add_pack(PackRecord { pack: PACK, state: PackState::Sealed, committed_bytes: size_bytes });
    let (world, _) = World::open(small(), Arc::clone(&packs) as Arc<dyn OpenPacks>, Arc::clone(&index)).await;

    assert!(
        world
            .store
            .inspector()
            .scrub(PACK, Extent::Sealed(size_bytes), &mut Pace::unlimited())
            .await
            .unwrap()
            .is_sound()
    );
    let frames = world.store.inspector().frames(PACK).await.unwrap();
    let chunks = frames.iter().map(|frame| ChunkRef::New {
        digest: frame.digest,
        size_bytes: frame.plain_bytes,
        place: frame.place(PACK),
    });
    let manifest = index.commit_chunks(chunks.collect());
    let expected: Vec<u8> = contents().into_iter().flat_map(|(bytes, _)| bytes).collect();
    assert!(world.get(manifest, ByteRange::whole(expected.len() as u64)).await.unwrap() == expected);
    assert_eq!(world.index.chunks()[0].id, ChunkId(0));
}

/// Boundaries, digests and the coding of headers are part of the format: only a codec may change what it writes.
#[tokio::test]
async fn todays_code_cuts_and_names_chunks_as_version_1_did() {
    let world = World::new(small()).await;
    for (bytes, compression) in contents() {
        world.put(&bytes, compression).await;
    }
    let (world, _) = world.reopened().await;
    let packs = Arc::new(MemoryPacks::default());
    packs.create(PACK, Bytes::from_static(SEALED_V1)).await.unwrap();
    let index = Arc::new(FakeIndex::default());
    index.add_pack(PackRecord {
        pack: PACK,
        state: PackState::Sealed,
        committed_bytes: SEALED_V1.len() as u64,
    });
    let (fixture, _) = World::open(small(), packs, index).await;
    let names = |frames: Vec<usp_content::pack::FrameEntry>| -> Vec<_> {
        frames.into_iter().map(|frame| (frame.digest, frame.plain_bytes, frame.codec)).collect()
    };
    assert_eq!(
        names(world.store.inspector().frames(PACK).await.unwrap()),
        names(fixture.store.inspector().frames(PACK).await.unwrap())
    );
}
