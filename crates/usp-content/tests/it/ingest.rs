//! What goes in comes out, once, however it arrived.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use proptest::prelude::*;
use usp_content::{Batch, ContentConfig, IngestSettings};
use usp_model::{
    ByteRange, ChunkRef, Compression, Digest, DigestAlgorithm, DomainKey, ErrorKind, ResumePoint,
};
use usp_rt::ByteBudget;

use crate::support::{BUDGET_BYTES, World, key, lines, noise, settings, small};

#[tokio::test]
async fn contents_of_every_awkward_size_come_back_under_every_codec() {
    let world = World::new(small()).await;
    let (min, max, slab) = (256, 4096, 16 << 10);
    let mut sizes = vec![0, 1, 2, 200_000];
    for bound in [min, 1024, max, slab, 2 * slab] {
        sizes.extend([bound - 1, bound, bound + 1]);
    }
    for (seed, size) in sizes.into_iter().enumerate() {
        for compression in Compression::ALL {
            for bytes in [noise(size, seed as u64), lines(size, seed as u64), vec![0; size]] {
                let stored = world.put(&bytes, *compression).await;
                let read = world.get(stored.manifest, ByteRange::whole(size as u64)).await.unwrap();
                assert!(read == bytes, "{size} bytes under {compression}");
                let plain: u64 = stored.batches.iter().map(|batch| batch.size_bytes).sum();
                assert_eq!(plain, size as u64);
            }
        }
    }
}

#[tokio::test]
async fn the_same_content_again_adds_nothing() {
    let world = World::new(small()).await;
    let bytes = lines(100_000, 1);
    assert!(world.put(&bytes, Compression::Auto).await.new_bytes() > 0);
    let again = world.put(&bytes, Compression::Auto).await;
    assert_eq!(again.new_bytes(), 0);
    assert_eq!(again.batches[0].stored.deduplicated_bytes, 100_000);
    assert!(again.chunks().iter().all(|chunk| matches!(chunk, ChunkRef::Known { .. })));
}

#[tokio::test]
async fn a_chunk_that_repeats_within_a_content_is_stored_once() {
    let world = World::new(small()).await;
    let stored = world.put(&vec![0; 1_000_000], Compression::None).await;
    assert!(stored.new_bytes() < 2 * (4096 + 56), "{} bytes", stored.new_bytes());
    assert_eq!(world.index.chunks().len(), 2, "the longest chunk, and the rest at the end");
}

#[tokio::test]
async fn what_shrinks_is_stored_smaller_and_what_does_not_costs_only_its_header() {
    let world = World::new(small()).await;
    let text = world.put(&lines(200_000, 1), Compression::Auto).await;
    assert!(text.new_bytes() < 120_000, "{} bytes", text.new_bytes());
    let media = world.put(&noise(200_000, 1), Compression::Auto).await;
    assert_eq!(media.new_bytes(), 200_000 + 56 * media.chunks().len() as u64);
}

#[tokio::test]
async fn one_inserted_line_adds_at_most_five_chunks() {
    let world = World::new(ContentConfig::default()).await;
    let before = lines(4_000_000, 1);
    world.put(&before, Compression::Auto).await;
    let rows = world.index.chunks().len();
    for at in [0, 17, 1_000_000, 3_999_999] {
        let mut after = before.clone();
        after.splice(at..at, *b"one more line\n");
        let stored = world.put(&after, Compression::Auto).await;
        assert!(world.get(stored.manifest, ByteRange::whole(4_000_014)).await.unwrap() == after);
    }
    let added = world.index.chunks().len() - rows;
    assert!(added <= 4 * 5, "{added} chunks for four insertions");
}

#[tokio::test]
async fn another_domain_shares_nothing() {
    let world = World::new(small()).await;
    world.put(&lines(50_000, 1), Compression::Auto).await;
    let other = IngestSettings { key: DomainKey::from_bytes([1; 32]), ..settings(Compression::Auto) };
    let mut ingest = world.store.ingest(other);
    ingest.push(Bytes::from(lines(50_000, 1))).await.unwrap();
    let (batch, _) = ingest.finish().await.unwrap();
    assert_eq!(batch.stored.deduplicated_bytes, 0);
}

/// What a content is cut into: digest and length of each chunk.
fn names(world: &World, batches: &[Batch]) -> Vec<(Digest, u32)> {
    let rows = world.index.chunks();
    let chunks = batches.iter().flat_map(|batch| &batch.chunks);
    chunks
        .map(|chunk| match chunk {
            ChunkRef::New { digest, size_bytes, .. } => (*digest, *size_bytes),
            ChunkRef::Known { id, size_bytes, .. } => {
                (rows.get(usize::try_from(id.0).unwrap()).unwrap().digest, *size_bytes)
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn chunks_and_digest_depend_on_the_bytes_alone(
        seed in any::<u64>(),
        len in 0_usize..90_000,
        pieces in prop::collection::vec((1_usize..20_000, 0_u8..4), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bytes = if seed % 3 == 0 { lines(len, seed) } else { noise(len, seed) };
            let whole = World::new(small()).await;
            let stored = whole.put(&bytes, Compression::None).await;

            // The same bytes in pieces; after some of them a checkpoint, after some an interruption and a resumption.
            let world = World::new(small()).await;
            let mut ingest = world.store.ingest(settings(Compression::None));
            let (mut batches, mut rest) = (Vec::new(), Bytes::from(bytes.clone()));
            for (piece, then) in pieces.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                ingest.push(rest.split_to(piece.min(rest.len()))).await.unwrap();
                if then >= 2 {
                    let batch = ingest.checkpoint().await.unwrap();
                    assert_eq!(ingest.uncommitted_bytes(), 0);
                    if then == 3 {
                        let resume = batch.resume.clone();
                        ingest = world.store.ingest(IngestSettings { resume, ..settings(Compression::None) });
                    }
                    batches.push(batch);
                }
            }
            let (last, digests) = ingest.finish().await.unwrap();
            batches.push(last);
            assert_eq!(digests, stored.digests);
            assert_eq!(names(&world, &batches), names(&whole, &stored.batches));
            let stored = world.commit(batches, digests).await;
            assert!(world.get(stored.manifest, ByteRange::whole(len as u64)).await.unwrap() == bytes);
        });
    }
}

#[tokio::test]
async fn a_checkpoint_accounts_for_every_byte() {
    let world = World::new(small()).await;
    let mut ingest = world.store.ingest(settings(Compression::Auto));
    ingest.push(Bytes::from(noise(50_000, 1))).await.unwrap();
    assert_eq!((ingest.received_bytes(), ingest.uncommitted_bytes()), (50_000, 50_000));
    let batch = ingest.checkpoint().await.unwrap();
    assert_eq!(batch.size_bytes + batch.resume.tail.len() as u64, 50_000);
    assert!(batch.resume.tail.len() < 4096);
    let empty = ingest.checkpoint().await.unwrap();
    assert!(empty.chunks.is_empty() && empty.dirty.is_empty());
    assert_eq!(empty.resume, batch.resume);
    ingest.push(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!((ingest.received_bytes(), ingest.uncommitted_bytes()), (50_001, 1));
}

#[tokio::test]
async fn digests_that_were_asked_for_are_made_and_the_head_is_kept() {
    let world = World::new(small()).await;
    let digests = DigestAlgorithm::ALL.to_vec();
    let mut ingest = world.store.ingest(IngestSettings { digests, ..settings(Compression::Auto) });
    for piece in lines(60_000, 1).chunks(777) {
        ingest.push(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(ingest.head(), &lines(60_000, 1)[..8192]);
    let (_, digests) = ingest.finish().await.unwrap();
    assert_eq!(digests.len(), DigestAlgorithm::ALL.len());
    assert_eq!(digests[&DigestAlgorithm::Blake3], blake3::hash(&lines(60_000, 1)).to_hex().as_str());
}

#[tokio::test]
async fn a_damaged_resume_point_is_refused() {
    let world = World::new(small()).await;
    let mut ingest = world.store.ingest(settings(Compression::Auto));
    ingest.push(Bytes::from(noise(5_000, 1))).await.unwrap();
    let mut resume = ingest.checkpoint().await.unwrap().resume;
    resume.tail[0] ^= 1;
    let mut resumed = world.store.ingest(IngestSettings { resume, ..settings(Compression::Auto) });
    assert_eq!(resumed.push(Bytes::from_static(b"x")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(resumed.finish().await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_content_many_times_at_once_is_stored_once() {
    let world = World::new(ContentConfig { pack_size_bytes_max: 1 << 20, ..small() }).await;
    let bytes = Bytes::from([lines(300_000, 1), noise(300_000, 2)].concat());
    let uploads = (0..12).map(|_| {
        let (store, bytes) = (world.store.clone(), bytes.clone());
        tokio::spawn(async move {
            let mut ingest = store.ingest(settings(Compression::Auto));
            for piece in bytes.chunks(10_000) {
                ingest.push(bytes.slice_ref(piece)).await.unwrap();
            }
            ingest.finish().await.unwrap()
        })
    });
    let uploads: Vec<_> = join_all(uploads).await.into_iter().map(Result::unwrap).collect();
    let frames = world.store.stats().frames;
    let mut new_bytes = 0;
    for (batch, digests) in uploads {
        new_bytes += batch.stored.bytes;
        let stored = world.commit(vec![batch], digests).await;
        assert!(world.get(stored.manifest, ByteRange::whole(600_000)).await.unwrap() == bytes);
    }
    assert_eq!(frames, world.index.chunks().len() as u64, "one frame per chunk");
    assert_eq!(new_bytes, world.store.stats().stored_bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_under_little_memory_all_end() {
    let mut world = World::new(small()).await;
    let budget = ByteBudget::new(48 << 10);
    let (index, packs) = (world.index.clone(), world.pack_store.clone());
    let cpu = usp_rt::Pool::new("cpu", 2);
    // A start runs in a task of its own as well.
    let opening = tokio::spawn(usp_content::ContentStore::open(small(), packs, index, cpu, budget.clone()));
    world.store = opening.await.unwrap().unwrap().0;
    let uploads = (0..40_u64).map(|seed| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let mut ingest = store.ingest(settings(Compression::Auto));
            for piece in noise(60_000, seed).chunks(1500) {
                ingest.push(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            ingest.finish().await.unwrap().0.size_bytes
        })
    });
    for size_bytes in join_all(uploads).await {
        assert_eq!(size_bytes.unwrap(), 60_000);
    }
    assert_eq!(budget.free_bytes(), 48 << 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_comes_slowly_keeps_no_memory_from_others() {
    let mut world = World::new(small()).await;
    let config = ContentConfig { slab_size_bytes: 256 << 10, slab_time_max: Duration::ZERO, ..small() };
    let budget = ByteBudget::new(256 << 10);
    let (index, packs) = (world.index.clone(), world.pack_store.clone());
    let cpu = usp_rt::Pool::new("cpu", 2);
    world.store = usp_content::ContentStore::open(config, packs, index, cpu, budget.clone()).await.unwrap().0;
    let mut slow = world.store.ingest(settings(Compression::None));
    slow.push(Bytes::from(noise(200 << 10, 1))).await.unwrap();
    assert!(budget.free_bytes() < 64 << 10);
    slow.push(Bytes::from_static(b"x")).await.unwrap();
    let mut other = world.store.ingest(settings(Compression::None));
    let pushed = tokio::time::timeout(Duration::from_secs(20), other.push(Bytes::from(noise(150 << 10, 2))));
    pushed.await.expect("it waits for the slow one").unwrap();
    assert_eq!(slow.finish().await.unwrap().0.size_bytes, (200 << 10) + 1);
}

/// Each has sent as much as one slab holds and now wants room for one byte more, which only the others' bytes take up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_whose_slabs_take_all_memory_do_not_wait_for_each_other() {
    const SLAB_BYTES: usize = 128 << 10;
    let mut world = World::new(small()).await;
    let config = ContentConfig { slab_size_bytes: SLAB_BYTES, ..small() };
    let budget = ByteBudget::new(4 * SLAB_BYTES as u64);
    let (index, packs) = (world.index.clone(), world.pack_store.clone());
    let cpu = usp_rt::Pool::new("cpu", 2);
    world.store = usp_content::ContentStore::open(config, packs, index, cpu, budget.clone()).await.unwrap().0;
    let mut ingests: Vec<_> = (0..4).map(|_| world.store.ingest(settings(Compression::None))).collect();
    for (ingest, seed) in ingests.iter_mut().zip(0..) {
        ingest.push(Bytes::from(noise(SLAB_BYTES, seed))).await.unwrap();
    }
    assert_eq!(budget.free_bytes(), 0);
    let more = join_all(ingests.iter_mut().map(|ingest| ingest.push(Bytes::from_static(b"x"))));
    let more = tokio::time::timeout(Duration::from_secs(20), more).await;
    assert!(more.expect("they wait for each other").into_iter().all(|pushed| pushed.is_ok()));
    for ingest in ingests {
        assert_eq!(ingest.finish().await.unwrap().0.size_bytes, SLAB_BYTES as u64 + 1);
    }
    assert_eq!(budget.free_bytes(), 4 * SLAB_BYTES as u64);
}

#[tokio::test]
async fn a_push_that_was_dropped_half_way_ends_the_ingest() {
    let world = World::new(small()).await;
    let everything = world.budget.acquire(BUDGET_BYTES).await;
    let mut ingest = world.store.ingest(settings(Compression::Auto));
    assert!(ingest.push(Bytes::from(noise(50_000, 1))).now_or_never().is_none());
    drop(everything);
    assert_eq!(ingest.push(Bytes::from_static(b"x")).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(ingest.checkpoint().await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn what_an_abandoned_upload_appended_helps_the_next() {
    let world = World::new(small()).await;
    let mut abandoned = world.store.ingest(settings(Compression::None));
    abandoned.push(Bytes::from(noise(100_000, 1))).await.unwrap();
    abandoned.checkpoint().await.unwrap();
    drop(abandoned);
    let stored = world.put(&noise(100_000, 1), Compression::None).await;
    assert!(stored.new_bytes() < 5_000, "{} bytes", stored.new_bytes());
    assert!(!stored.batches[0].dirty.is_empty(), "frames that another stream appended are synced too");
    assert!(world.get(stored.manifest, ByteRange::whole(100_000)).await.unwrap() == noise(100_000, 1));
}

#[tokio::test]
async fn nothing_is_held_once_a_content_is_stored() {
    let world = World::new(small()).await;
    for size in [10, 300_000] {
        let mut ingest = world.store.ingest(settings(Compression::Auto));
        ingest.push(Bytes::from(noise(size, 1))).await.unwrap();
        ingest.finish().await.unwrap();
        assert_eq!(world.budget.free_bytes(), BUDGET_BYTES);
    }
}

#[tokio::test]
async fn a_small_content_takes_little_memory() {
    let world = World::new(ContentConfig::default()).await;
    let mut ingest = world.store.ingest(settings(Compression::Auto));
    ingest.push(Bytes::from_static(b"small")).await.unwrap();
    assert!(BUDGET_BYTES - world.budget.free_bytes() <= 16 << 10);
}

#[tokio::test]
async fn an_empty_content_has_no_chunks_and_a_digest() {
    let world = World::new(small()).await;
    let ingest = world.store.ingest(settings(Compression::Auto));
    let (batch, digests) = ingest.finish().await.unwrap();
    assert_eq!(batch, Batch::default());
    assert_eq!(batch.resume, ResumePoint::default());
    assert!(digests[&DigestAlgorithm::Sha256].starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
    assert_eq!(key(), settings(Compression::Auto).key);
}
