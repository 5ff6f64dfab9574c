//! Ranges, and how little is read for them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};
use proptest::prelude::*;
use usp_content::MemoryPacks;
use usp_faults::{Call, Faulty, Script};
use usp_model::{ByteRange, Compression, DomainKey, ErrorKind, ManifestId};

use crate::support::{World, key, lines, noise, small};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Text, noise, zeros and a repetition.
fn mixture() -> Vec<u8> {
    [lines(90_000, 1), noise(70_000, 2), vec![0; 60_000], lines(90_000, 1), noise(1, 3)].concat()
}

#[tokio::test]
async fn zstd_frames_hold_the_content_whatever_its_chunks_were_stored_with() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Auto] {
        let bytes = mixture();
        let world = World::new(small()).await;
        let stored = world.put(&bytes, compression).await;
        let frames: Vec<_> =
            world.store.read_zstd(key(), stored.manifest, bytes.len() as u64).try_collect().await.unwrap();
        let coded: Vec<u8> = frames.concat();
        if compression == Compression::Auto {
            assert!(coded.len() < bytes.len() / 2 + 70_000, "nothing was recompressed: {}", coded.len());
        }
        let mut plain = vec![0; bytes.len()];
        assert_eq!(zstd_safe::decompress(&mut plain[..], &coded), Ok(bytes.len()));
        assert!(plain == bytes, "{compression:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn every_range_reads_what_a_vector_would(
        ranges in prop::collection::vec((0..=310_001_u64, 0..=310_001_u64), 40),
        short in prop::collection::vec((0..=310_000_u64, 0..=3_u64), 20),
    ) {
        runtime().block_on(async {
            let bytes = mixture();
            let world = World::new(small()).await;
            let stored = world.put(&bytes, Compression::Auto).await;
            let short = short.into_iter().map(|(start, len)| (start, (start + len).min(310_001)));
            for (a, b) in ranges.into_iter().chain(short) {
                let range = ByteRange::new(a.min(b), a.max(b)).unwrap();
                let read = world.get(stored.manifest, range).await.unwrap();
                let (start, end) = (usize::try_from(range.start()).unwrap(), usize::try_from(range.end()).unwrap());
                assert!(read == bytes[start..end], "{start}..{end}");
            }
        });
    }
}

async fn counted() -> (World, Script, ManifestId) {
    let packs = Faulty::new(Arc::new(MemoryPacks::default()));
    let script = packs.script();
    let config = usp_content::ContentConfig { pack_size_bytes_max: 8 << 20, open_pack_count: 1, ..small() };
    let world = World::over(config, Arc::new(packs)).await;
    let stored = world.put(&noise(1_000_000, 1), Compression::None).await;
    (world, script, stored.manifest)
}

#[tokio::test]
async fn one_byte_costs_one_frame() {
    let (world, script, manifest) = counted().await;
    let byte = world.get(manifest, ByteRange::at(500_000, 1)).await.unwrap();
    assert_eq!(byte, noise(1_000_000, 1)[500_000..500_001]);
    assert_eq!(script.count(Call::Read), 1);
    assert!(script.read_bytes() <= 4096 + 56);
}

#[tokio::test]
async fn neighbours_are_read_in_one_go() {
    let (world, script, manifest) = counted().await;
    world.get(manifest, ByteRange::whole(1_000_000)).await.unwrap();
    assert!(world.index.chunks().len() > 500);
    assert!(script.count(Call::Read) < 100, "{} reads", script.count(Call::Read));
}

#[tokio::test]
async fn a_reader_that_stops_reads_little_ahead() {
    let (world, script, manifest) = counted().await;
    let mut stream = world.store.read(key(), manifest, ByteRange::whole(1_000_000));
    stream.next().await.unwrap().unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(script.read_bytes() < 300_000, "{} bytes", script.read_bytes());
}

#[tokio::test]
async fn an_empty_range_reads_nothing() {
    let (world, script, manifest) = counted().await;
    assert!(world.get(manifest, ByteRange::at(5, 0)).await.unwrap().is_empty());
    assert_eq!(script.count(Call::Read), 0);
}

#[tokio::test]
async fn a_range_beyond_the_content_is_an_error_after_its_bytes() {
    let (world, _, manifest) = counted().await;
    let mut stream = world.store.read(key(), manifest, ByteRange::at(999_990, 20));
    let mut bytes = Vec::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(bytes, noise(1_000_000, 1)[999_990..]);
    assert!(stream.next().await.is_none(), "the stream ends after the first error");
}

#[tokio::test]
async fn the_key_of_another_domain_opens_nothing() {
    let (world, _, manifest) = counted().await;
    let mut stream = world.store.read(DomainKey::from_bytes([1; 32]), manifest, ByteRange::whole(10));
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_pack_that_is_gone_is_corrupt_and_not_absent() {
    let (world, _, manifest) = counted().await;
    world.open.delete(world.index.first_pack().pack).await.unwrap();
    let error = world.get(manifest, ByteRange::whole(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_read_follows_frames_that_were_moved_meanwhile() {
    let (world, script, manifest) = counted().await;
    let chunks = world.index.chunks();
    let copied = world.store.copy_frames(chunks.iter().map(|chunk| chunk.place).collect()).await.unwrap();
    let moved = copied.places;
    let index = Arc::clone(&world.index);
    // The read that finds its pack gone learns then, and only then, of the new places.
    script.on_fault(move || {
        for (chunk, place) in chunks.iter().zip(&moved) {
            index.with_chunk(chunk.id, |row| row.place = *place);
        }
    });
    script.fail(Call::Read, 0, ErrorKind::NotFound);
    let read = world.get(manifest, ByteRange::whole(1_000_000)).await.unwrap();
    assert!(read == noise(1_000_000, 1));
}

#[tokio::test]
async fn many_readers_of_one_content_all_get_all_of_it() {
    let (world, _, manifest) = counted().await;
    let readers = (0..16).map(|_| world.get(manifest, ByteRange::whole(1_000_000)).map(Result::unwrap));
    let expected = noise(1_000_000, 1);
    assert!(futures::future::join_all(readers).await.iter().all(|read| *read == expected));
}
