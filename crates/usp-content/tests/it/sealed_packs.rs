//! One suite that every place for sealed packs passes, decorated or not, and what only files can show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use usp_content::{LocalPacks, MemoryPacks, OpenPacks, PackSource, SealedPacks};
use usp_faults::{Call, Faulty, Script};
use usp_model::{ByteRange, ErrorKind, PackId};
use usp_rt::Pool;

use crate::support::noise;

const PACK: PackId = PackId(300);
/// More than one piece of whoever copies piece by piece, and no whole number of them.
const SIZE: usize = (3 << 20) + 5;

/// A pack to be put, and what its reads meet.
async fn written(pack: PackId, bytes: Vec<u8>) -> (PackSource, Script) {
    let (size_bytes, open) = (bytes.len() as u64, MemoryPacks::default());
    // What lies behind the end of the pack is no part of it.
    open.create(pack, Bytes::from([bytes, b"more".to_vec()].concat())).await.unwrap();
    let open = Faulty::new(Arc::new(open));
    let script = open.script();
    (PackSource::new(Arc::new(open), pack, size_bytes), script)
}

async fn source(pack: PackId, bytes: Vec<u8>) -> PackSource {
    written(pack, bytes).await.0
}

async fn suite(packs: &dyn SealedPacks) {
    absent_packs_are_not_found(packs).await;
    a_put_that_failed_half_way_leaves_nothing(packs).await;
    what_was_put_reads_back(packs).await;
    a_pack_is_put_once(packs).await;
    reading_past_the_end_is_out_of_range(packs).await;
    packs_are_listed_in_order(packs).await;
    a_deleted_pack_is_gone(packs).await;
}

async fn absent_packs_are_not_found(packs: &dyn SealedPacks) {
    let read = packs.read(PACK, ByteRange::whole(1)).await.unwrap_err();
    let len = packs.len(PACK).await.unwrap_err();
    assert_eq!((read.kind(), len.kind()), (ErrorKind::NotFound, ErrorKind::NotFound));
    packs.delete(PACK).await.unwrap();
    assert!(packs.list().await.unwrap().is_empty());
}

async fn a_put_that_failed_half_way_leaves_nothing(packs: &dyn SealedPacks) {
    let (source, script) = written(PACK, noise(SIZE, 1)).await;
    let reads = source.ranges(1 << 20).count();
    for skip_count in 0..reads {
        script.fail(Call::Read, skip_count, ErrorKind::Unavailable);
        // A place that asks for fewer pieces does not come to the last of them.
        if packs.put(source.clone()).await.is_ok() {
            packs.delete(PACK).await.unwrap();
        }
        script.clear();
        assert_eq!(packs.len(PACK).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(packs.list().await.unwrap().is_empty());
    }
}

async fn what_was_put_reads_back(packs: &dyn SealedPacks) {
    let bytes = noise(SIZE, 1);
    packs.put(source(PACK, bytes.clone()).await).await.unwrap();
    assert_eq!(packs.len(PACK).await.unwrap(), SIZE as u64);
    assert!(packs.read(PACK, ByteRange::whole(SIZE as u64)).await.unwrap() == bytes);
    for (start, len) in [(0, 0), (0, 1), ((1 << 20) - 1, 2), (SIZE - 1, 1), (SIZE, 0)] {
        let read = packs.read(PACK, ByteRange::at(start as u64, len as u64)).await.unwrap();
        assert_eq!(read, bytes.get(start..start + len).unwrap());
    }
    packs.drop_cache(PACK).await.unwrap();
    assert!(packs.read(PACK, ByteRange::whole(SIZE as u64)).await.unwrap() == bytes);
}

async fn a_pack_is_put_once(packs: &dyn SealedPacks) {
    let again = packs.put(source(PACK, b"another".to_vec()).await).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert_eq!(packs.read(PACK, ByteRange::whole(7)).await.unwrap(), noise(SIZE, 1).get(..7).unwrap());
    assert_eq!(packs.len(PACK).await.unwrap(), SIZE as u64);
}

async fn reading_past_the_end_is_out_of_range(packs: &dyn SealedPacks) {
    let error = packs.read(PACK, ByteRange::at(SIZE as u64 - 1, 2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange);
}

async fn packs_are_listed_in_order(packs: &dyn SealedPacks) {
    for id in [556, 1, 255] {
        packs.put(source(PackId(id), noise(100, 2)).await).await.unwrap();
    }
    assert_eq!(packs.list().await.unwrap(), [1, 255, 300, 556].map(PackId));
}

async fn a_deleted_pack_is_gone(packs: &dyn SealedPacks) {
    for _twice in 0..2 {
        packs.delete(PACK).await.unwrap();
        assert_eq!(packs.list().await.unwrap(), [1, 255, 556].map(PackId));
        assert_eq!(packs.read(PACK, ByteRange::whole(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

fn local(root: &Path) -> LocalPacks {
    LocalPacks::open(root, Pool::disk()).unwrap()
}

#[tokio::test]
async fn memory_passes_the_suite() {
    suite(&MemoryPacks::default()).await;
}

#[tokio::test]
async fn files_pass_the_suite() {
    let root = tempfile::tempdir().unwrap();
    suite(&local(root.path())).await;
    assert!(local(root.path()).strays().await.unwrap().is_empty(), "puts that failed left files");
}

#[tokio::test]
async fn a_decorator_without_faults_passes_the_suite() {
    let root = tempfile::tempdir().unwrap();
    suite(&Faulty::new(Arc::new(local(root.path())))).await;
    let memory: Arc<dyn SealedPacks> = Arc::new(MemoryPacks::default());
    suite(&Faulty::new(memory)).await;
}

#[tokio::test]
async fn what_a_process_that_died_left_of_a_put_is_no_pack_and_is_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let packs = local(root.path());
    std::fs::create_dir(root.path().join("packs/2c")).unwrap();
    std::fs::write(root.path().join("packs/2c/000000000000012c.unfinished"), noise(9_000, 9)).unwrap();
    assert!(packs.list().await.unwrap().is_empty());
    packs.put(source(PACK, noise(100, 1)).await).await.unwrap();
    assert_eq!(packs.read(PACK, ByteRange::whole(100)).await.unwrap(), noise(100, 1));
    assert_eq!(packs.len(PACK).await.unwrap(), 100);
    assert!(packs.strays().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pack_of_two_directories_is_copied_whole() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = Arc::new(local(from.path()));
    open.create(PACK, Bytes::from(noise(SIZE, 4))).await.unwrap();
    let sealed = local(to.path());
    sealed.put(PackSource::new(open.clone(), PACK, SIZE as u64)).await.unwrap();
    open.delete(PACK).await.unwrap();
    assert!(sealed.read(PACK, ByteRange::whole(SIZE as u64)).await.unwrap() == noise(SIZE, 4));
}
