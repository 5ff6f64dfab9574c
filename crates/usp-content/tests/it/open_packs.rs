//! One suite that every place for open packs passes, decorated or not, and what only files can show.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use usp_content::{LocalPacks, MemoryPacks, OpenPacks};
use usp_faults::{Faulty, PowerCuts};
use usp_model::{ByteRange, ErrorKind, PackId};
use usp_rt::Pool;

use crate::support::noise;

const PACK: PackId = PackId(300);

async fn suite(packs: &dyn OpenPacks) {
    absent_packs_are_not_found(packs).await;
    what_was_appended_reads_back(packs).await;
    a_pack_is_created_once(packs).await;
    reading_past_the_end_is_out_of_range(packs).await;
    truncation_cuts_and_appending_goes_on(packs).await;
    a_retired_pack_stays_readable(packs).await;
    packs_are_listed_in_order(packs).await;
    what_was_moved_away_or_deleted_is_gone(packs).await;
}

async fn absent_packs_are_not_found(packs: &dyn OpenPacks) {
    let read = packs.read(PACK, ByteRange::whole(1)).await.unwrap_err();
    let append = packs.append(PACK, 0, vec![Bytes::from_static(b"x")]).await.unwrap_err();
    let len = packs.len(PACK).await.unwrap_err();
    for error in [read, append, len] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    packs.delete(PACK).await.unwrap();
}

async fn what_was_appended_reads_back(packs: &dyn OpenPacks) {
    packs.create(PACK, Bytes::from_static(b"head")).await.unwrap();
    // More parts than one vectored write takes, and empty ones among them.
    let parts: Vec<Bytes> = (0..3000_usize).map(|n| Bytes::from(noise(n % 7, n as u64))).collect();
    let expected = parts.concat();
    packs.append(PACK, 4, parts).await.unwrap();
    packs.sync(PACK).await.unwrap();
    let end = 4 + expected.len() as u64;
    assert_eq!(packs.len(PACK).await.unwrap(), end);
    assert_eq!(packs.read(PACK, ByteRange::new(4, end).unwrap()).await.unwrap(), expected);
    assert_eq!(packs.read(PACK, ByteRange::whole(4)).await.unwrap(), "head");
    assert!(packs.read(PACK, ByteRange::at(7, 0)).await.unwrap().is_empty());
}

async fn a_pack_is_created_once(packs: &dyn OpenPacks) {
    let again = packs.create(PACK, Bytes::from_static(b"other")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert_eq!(packs.read(PACK, ByteRange::whole(4)).await.unwrap(), "head");
}

async fn reading_past_the_end_is_out_of_range(packs: &dyn OpenPacks) {
    let end = packs.len(PACK).await.unwrap();
    let error = packs.read(PACK, ByteRange::at(end - 1, 2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange);
}

async fn truncation_cuts_and_appending_goes_on(packs: &dyn OpenPacks) {
    packs.truncate(PACK, 6).await.unwrap();
    assert_eq!(packs.len(PACK).await.unwrap(), 6);
    packs.append(PACK, 4, vec![Bytes::from_static(b"tail")]).await.unwrap();
    packs.sync(PACK).await.unwrap();
    assert_eq!(packs.read(PACK, ByteRange::whole(8)).await.unwrap(), "headtail");
}

async fn a_retired_pack_stays_readable(packs: &dyn OpenPacks) {
    packs.retire(PACK).await;
    assert_eq!(packs.read(PACK, ByteRange::whole(8)).await.unwrap(), "headtail");
}

async fn packs_are_listed_in_order(packs: &dyn OpenPacks) {
    for id in [556, 1, 255] {
        packs.create(PackId(id), Bytes::from_static(b"head")).await.unwrap();
    }
    assert_eq!(packs.list().await.unwrap(), [1, 255, 300, 556].map(PackId));
}

async fn what_was_moved_away_or_deleted_is_gone(packs: &dyn OpenPacks) {
    packs.move_to_lost_and_found(PACK).await.unwrap();
    packs.delete(PackId(1)).await.unwrap();
    assert_eq!(packs.list().await.unwrap(), [255, 556].map(PackId));
    for pack in [PACK, PackId(1)] {
        assert_eq!(packs.read(pack, ByteRange::whole(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(packs.move_to_lost_and_found(PACK).await.unwrap_err().kind(), ErrorKind::NotFound);
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
}

#[tokio::test]
async fn decorators_without_faults_pass_the_suite() {
    let root = tempfile::tempdir().unwrap();
    suite(&Faulty::new(Arc::new(local(root.path())))).await;
    let memory: Arc<dyn OpenPacks> = Arc::new(MemoryPacks::default());
    suite(&Faulty::new(Arc::new(PowerCuts::new(memory)))).await;
}

#[tokio::test]
async fn packs_outlive_the_process_that_wrote_them() {
    let root = tempfile::tempdir().unwrap();
    local(root.path()).create(PACK, Bytes::from_static(b"head")).await.unwrap();
    let reopened = local(root.path());
    reopened.append(PACK, 4, vec![Bytes::from_static(b"tail")]).await.unwrap();
    assert_eq!(reopened.read(PACK, ByteRange::whole(8)).await.unwrap(), "headtail");
}

#[tokio::test]
async fn only_their_owner_may_enter_packs_and_files_are_named_by_id() {
    let root = tempfile::tempdir().unwrap();
    local(root.path()).create(PACK, Bytes::from_static(b"head")).await.unwrap();
    let mode = |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("packs"), 0o700);
    assert_eq!(mode("packs/2c"), 0o700);
    assert_eq!(mode("packs/2c/000000000000012c.pack"), 0o600);
    assert_eq!(mode("lost+found"), 0o700);
}

#[tokio::test]
async fn stray_files_among_the_packs_are_left_alone_and_not_listed() {
    let root = tempfile::tempdir().unwrap();
    let packs = local(root.path());
    packs.create(PACK, Bytes::from_static(b"head")).await.unwrap();
    let strays =
        ["packs/note.txt", "packs/2c/0.pack", "packs/2c/../00000000000000ff.pack", "packs/2c/-1.pack"];
    for stray in strays {
        std::fs::write(root.path().join(stray), "not a pack").unwrap();
    }
    assert_eq!(packs.list().await.unwrap(), [PACK]);
    assert!(strays.iter().all(|stray| root.path().join(stray).exists()));
}

#[tokio::test]
async fn what_was_moved_to_lost_and_found_never_overwrites_what_was_before() {
    let root = tempfile::tempdir().unwrap();
    let packs = local(root.path());
    for _ in 0..3 {
        packs.create(PACK, Bytes::from_static(b"head")).await.unwrap();
        packs.move_to_lost_and_found(PACK).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(root.path().join("lost+found")).unwrap().count(), 3);
}

#[tokio::test]
async fn a_full_disk_answers_storage_full() {
    let root = tempfile::tempdir().unwrap();
    let packs = local(root.path());
    std::fs::create_dir(root.path().join("packs/2c")).unwrap();
    std::os::unix::fs::symlink("/dev/full", root.path().join("packs/2c/000000000000012c.pack")).unwrap();
    let error = packs.append(PACK, 0, vec![Bytes::from_static(b"x")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}
