//! Every bit of a pack, flipped.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use usp_content::{ContentConfig, Extent, Pace};
use usp_model::{ByteRange, Compression, ErrorKind, PackId};

use crate::support::{World, lines, noise, small};

const PACK: PackId = PackId(1);

/// A sealed pack of about 16 KiB with frames of every codec.
async fn world() -> (World, Vec<(Vec<u8>, usp_model::ManifestId)>, u64) {
    let world = World::new(ContentConfig { open_pack_count: 1, ..small() }).await;
    let contents = [
        (noise(6_000, 1), Compression::None),
        (lines(16_000, 2), Compression::Zstd),
        (lines(8_000, 3), Compression::Lz4),
    ];
    let mut stored = Vec::new();
    for (bytes, compression) in contents {
        let manifest = world.put(&bytes, compression).await.manifest;
        stored.push((bytes, manifest));
    }
    let (world, _) = world.reopened().await;
    let size_bytes = world.index.first_pack().committed_bytes;
    (world, stored, size_bytes)
}

async fn put_byte(world: &World, offset: u64, byte: u8) {
    world.open.append(PACK, offset, vec![Bytes::from(vec![byte])]).await.unwrap();
}

#[tokio::test]
async fn every_flipped_bit_of_a_pack_is_found_by_a_scrub() {
    let (world, _, size_bytes) = world().await;
    let pack = world.open.read(PACK, ByteRange::whole(size_bytes)).await.unwrap();
    assert!((14_000..20_000).contains(&pack.len()), "{} bytes", pack.len());
    for (offset, byte) in (0..).zip(&pack) {
        for bit in 0..8 {
            put_byte(&world, offset, byte ^ (1 << bit)).await;
            let report = world
                .store
                .inspector()
                .scrub(PACK, Extent::Sealed(size_bytes), &mut Pace::unlimited())
                .await
                .unwrap();
            assert!(!report.is_sound(), "bit {bit} of byte {offset}");
        }
        put_byte(&world, offset, *byte).await;
    }
    assert!(
        world
            .store
            .inspector()
            .scrub(PACK, Extent::Sealed(size_bytes), &mut Pace::unlimited())
            .await
            .unwrap()
            .is_sound()
    );
}

#[tokio::test]
async fn no_flipped_bit_makes_a_read_answer_wrong_bytes_and_others_stay_readable() {
    let (world, contents, size_bytes) = world().await;
    let pack = world.open.read(PACK, ByteRange::whole(size_bytes)).await.unwrap();
    let mut refused_count = 0;
    // Another bit of each third byte; the unit test of frames flips them all.
    for (offset, byte) in (0..).zip(&pack).step_by(3) {
        put_byte(&world, offset, byte ^ (1 << (offset % 8))).await;
        let mut sound_count = 0;
        for (bytes, manifest) in &contents {
            match world.get(*manifest, ByteRange::whole(bytes.len() as u64)).await {
                Ok(read) => {
                    assert!(read == *bytes, "wrong bytes were served after a flip in byte {offset}");
                    sound_count += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    refused_count += 1;
                }
            }
        }
        assert!(sound_count >= contents.len() - 1, "a flip in byte {offset} reached more than one content");
        put_byte(&world, offset, *byte).await;
    }
    assert!(refused_count > 4000, "flips in frames are refused: {refused_count}");
}
