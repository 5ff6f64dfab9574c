//! What goes in comes out, once.

use bytes::Bytes;
use usp_model::{ByteRange, Compression};

use crate::support::{World, lines, noise, small};

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
}

#[tokio::test]
async fn nothing_is_held_once_a_content_is_stored() {
    let world = World::new(small()).await;
    let mut ingest = world.store.ingest(crate::support::settings(Compression::Auto));
    ingest.push(Bytes::from(noise(300_000, 1))).await.unwrap();
    ingest.finish().await.unwrap();
    assert_eq!(world.budget.free_bytes(), 8 << 20);
}
