//! Packs that move to a second place once they are complete, whatever fails on the way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use bytes::Bytes;
use usp_content::{Extent, LocalPacks, MemoryPacks, OpenPacks, Pace, PackSource, SealedPacks};
use usp_faults::{Call, Fault, Faulty, Script};
use usp_model::{ByteRange, Compression, ErrorKind, ManifestId, PackId, PackState};

use crate::support::{World, lines, noise, settings, small, until};

const PACK: PackId = PackId(1);
const SIZE: usize = 60_000;

/// Two places in memory, and what fails in them.
struct Places {
    world: World,
    open: Arc<MemoryPacks>,
    sealed: Arc<MemoryPacks>,
    open_script: Script,
    sealed_script: Script,
    manifest: ManifestId,
}

impl Places {
    /// With one committed content in one open pack.
    async fn new() -> Self {
        let (open, sealed) = (Arc::new(MemoryPacks::default()), Arc::new(MemoryPacks::default()));
        let (faulty_open, faulty_sealed) = (Faulty::new(open.clone()), Faulty::new(sealed.clone()));
        let (open_script, sealed_script) = (faulty_open.script(), faulty_sealed.script());
        let world = World::in_two_places(small(), Arc::new(faulty_open), Arc::new(faulty_sealed)).await;
        let manifest = world.put(&lines(SIZE, 1), Compression::Auto).await.manifest;
        Self { world, open, sealed, open_script, sealed_script, manifest }
    }

    fn state(&self) -> Option<PackState> {
        self.world.index.state(PACK)
    }

    /// Where the pack lies: in the first place, in the second.
    fn lies(&self) -> (bool, bool) {
        (self.open.list().contains(&PACK), self.sealed.list().contains(&PACK))
    }

    async fn assert_whole(&self, world: &World) {
        let read = world.get(self.manifest, ByteRange::whole(SIZE as u64)).await.unwrap();
        assert!(read == lines(SIZE, 1));
    }

    async fn assert_moved(&self, world: &World) {
        assert_eq!((self.state(), self.lies()), (Some(PackState::Sealed), (false, true)));
        assert_eq!(self.sealed.len(PACK).unwrap(), self.world.index.first_pack().committed_bytes);
        self.assert_whole(world).await;
        let extent = Extent::Sealed(self.world.index.first_pack().committed_bytes);
        let report = world.store.inspector().scrub(PACK, extent, &mut Pace::unlimited()).await.unwrap();
        assert!(report.is_sound() && report.has_footer, "{report:?}");
    }
}

#[tokio::test]
async fn a_pack_moves_once_it_is_sealed() {
    let places = Places::new().await;
    assert_eq!((places.state(), places.lies()), (Some(PackState::Open), (true, false)));
    assert!(places.world.store.seal(PACK).await.unwrap());
    places.assert_moved(&places.world).await;
    assert_eq!(places.sealed_script.count(Call::Put), 1);
}

#[tokio::test]
async fn a_pack_that_fills_up_moves_while_others_are_written() {
    let places = Places::new().await;
    for seed in 0..20 {
        let stored = places.world.put(&noise(90_000, seed), Compression::None).await;
        let read = places.world.get(stored.manifest, ByteRange::whole(90_000)).await.unwrap();
        assert!(read == noise(90_000, seed));
    }
    no_longer_moving(&places.world).await;
    assert!(places.sealed.list().len() > 4);
    places.assert_whole(&places.world).await;
    let (reopened, report) = places.world.reopened().await;
    assert!(report.missing.is_empty() && report.damaged.is_empty(), "{report:?}");
    assert!(places.open.list().is_empty(), "a start leaves no copy");
    places.assert_whole(&reopened).await;
}

/// Waits until every pack that was filled has moved.
async fn no_longer_moving(world: &World) {
    until(|| {
        let stats = world.store.stats();
        stats.packs_begun - stats.packs_sealed <= world.config.open_pack_count as u64
    })
    .await;
    for row in world.index.rows() {
        world.store.seal(row.pack).await.unwrap();
    }
    until(|| world.store.stats().packs_begun == world.store.stats().packs_sealed).await;
}

#[tokio::test]
async fn an_answer_that_got_lost_is_settled_by_looking() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Conflict] {
        let places = Places::new().await;
        places.sealed_script.inject(Call::Put, 0, Fault::After(kind));
        assert!(places.world.store.seal(PACK).await.unwrap());
        places.assert_moved(&places.world).await;
    }
}

#[tokio::test]
async fn a_pack_that_could_not_move_stays_readable_and_moves_later() {
    for fault in [Fault::Before(ErrorKind::Unavailable), Fault::Before(ErrorKind::StorageFull)] {
        let places = Places::new().await;
        places.sealed_script.always(Call::Put, fault);
        places.world.store.seal(PACK).await.unwrap_err();
        assert_eq!((places.state(), places.lies()), (Some(PackState::Open), (true, false)));
        places.assert_whole(&places.world).await;
        let other = places.world.put(&noise(9_000, 2), Compression::None).await;
        assert!(other.batches[0].dirty.iter().all(|&pack| pack != PACK), "it takes no more frames");
        places.sealed_script.clear();
        assert!(places.world.store.seal(PACK).await.unwrap());
        places.assert_moved(&places.world).await;
    }
}

#[tokio::test]
async fn an_answer_that_got_lost_while_nobody_can_look_is_settled_later() {
    let places = Places::new().await;
    places.sealed_script.inject(Call::Put, 0, Fault::After(ErrorKind::Unavailable));
    places.sealed_script.fail(Call::Len, 0, ErrorKind::Unavailable);
    places.world.store.seal(PACK).await.unwrap_err();
    assert_eq!((places.state(), places.lies()), (Some(PackState::Open), (true, true)));
    places.assert_whole(&places.world).await;
    // The second put is refused, as the pack is there, and the look says that it is this one.
    assert!(places.world.store.seal(PACK).await.unwrap());
    places.assert_moved(&places.world).await;
}

#[tokio::test]
async fn a_crash_between_the_move_and_the_row_is_mended_by_the_next_start() {
    let places = Places::new().await;
    // Frames that no commit names are in the pack that moves, and would not be in one that recovery makes.
    let mut abandoned = places.world.store.ingest(settings(Compression::None));
    abandoned.push(Bytes::from(noise(9_000, 3))).await.unwrap();
    abandoned.checkpoint().await.unwrap();
    places.world.index.fail_seals(1);
    places.world.store.seal(PACK).await.unwrap_err();
    assert_eq!((places.state(), places.lies()), (Some(PackState::Open), (true, true)));

    let (reopened, report) = places.world.reopened().await;
    assert_eq!((report.sealed.as_slice(), report.cut_off_bytes), ([PACK].as_slice(), 0));
    assert_eq!(places.sealed_script.count(Call::Put), 1, "what was put is never put again");
    places.assert_moved(&reopened).await;
}

#[tokio::test]
async fn a_crash_before_the_copy_is_gone_is_mended_by_the_next_start() {
    let places = Places::new().await;
    places.open_script.fail(Call::Delete, 0, ErrorKind::Locked);
    assert!(places.world.store.seal(PACK).await.unwrap());
    assert_eq!((places.state(), places.lies()), (Some(PackState::Sealed), (true, true)));
    let (reopened, _) = places.world.reopened().await;
    places.assert_moved(&reopened).await;
}

#[tokio::test]
async fn a_copy_stays_while_the_sealed_pack_is_not_as_its_row_says() {
    let places = Places::new().await;
    places.open_script.fail(Call::Delete, 0, ErrorKind::Locked);
    assert!(places.world.store.seal(PACK).await.unwrap());
    places.sealed.truncate(PACK, 100).await.unwrap();
    let (reopened, _) = places.world.reopened().await;
    assert_eq!(places.lies(), (true, true));
    places.assert_whole(&reopened).await;
}

/// A pack of another store under the id of ours.
async fn put_another(sealed: &MemoryPacks) -> Vec<u8> {
    let (other, bytes) = (Arc::new(MemoryPacks::default()), noise(5_000, 9));
    other.create(PACK, Bytes::from(bytes.clone())).await.unwrap();
    sealed.put(PackSource::new(other, PACK, bytes.len() as u64)).await.unwrap();
    bytes
}

#[tokio::test]
async fn another_pack_under_the_same_id_is_never_overwritten_nor_taken_for_ours() {
    let places = Places::new().await;
    let bytes = put_another(&places.sealed).await;
    assert_eq!(places.world.store.seal(PACK).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((places.state(), places.lies()), (Some(PackState::Open), (true, true)));
    places.assert_whole(&places.world).await;

    assert_eq!(places.world.try_reopened().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(places.state(), Some(PackState::Open));
    assert_eq!(places.sealed.read(PACK, ByteRange::whole(5_000)).unwrap(), bytes);
    assert_eq!(places.lies(), (true, true));
}

#[tokio::test]
async fn a_pack_that_can_never_move_keeps_no_other_from_moving() {
    let places = Places::new().await;
    put_another(&places.sealed).await;
    places.world.store.seal(PACK).await.unwrap_err();
    let other = places.world.put(&noise(60_000, 2), Compression::None).await;
    let other = *other.batches[0].dirty.first().unwrap();
    assert!(places.world.store.seal(other).await.unwrap());
    assert_eq!(places.world.index.state(other), Some(PackState::Sealed));
    assert_eq!(places.state(), Some(PackState::Open));
}

#[tokio::test]
async fn while_the_second_place_does_not_answer_one_put_is_tried_for_each_pack_that_fills() {
    let places = Places::new().await;
    places.sealed_script.always(Call::Put, Fault::Before(ErrorKind::Unavailable));
    let mut packs = vec![PACK];
    places.world.store.seal(PACK).await.unwrap_err();
    for seed in 2..6 {
        let stored = places.world.put(&noise(60_000, seed), Compression::None).await;
        for &pack in stored.batches[0].dirty.iter() {
            places.world.store.seal(pack).await.unwrap_err();
            packs.push(pack);
        }
    }
    assert_eq!(places.sealed_script.count(Call::Put), packs.len());
    places.sealed_script.clear();
    assert!(places.world.store.seal(PACK).await.unwrap());
    for pack in packs {
        assert_eq!(places.world.index.state(pack), Some(PackState::Sealed), "all follow at once");
    }
}

#[tokio::test]
async fn a_pack_that_no_row_names_stays_in_the_second_place() {
    let places = Places::new().await;
    let (other, id) = (Arc::new(MemoryPacks::default()), PackId(77));
    other.create(id, Bytes::from_static(b"who knows")).await.unwrap();
    places.sealed.put(PackSource::new(other, id, 9)).await.unwrap();
    let (_, report) = places.world.reopened().await;
    assert!(report.lost_and_found.is_empty());
    assert!(places.sealed.list().contains(&id));
}

#[tokio::test]
async fn a_pack_that_lies_nowhere_is_missing() {
    let places = Places::new().await;
    places.world.store.seal(PACK).await.unwrap();
    SealedPacks::delete(&*places.sealed, PACK).await.unwrap();
    let (_, report) = places.world.reopened().await;
    assert_eq!(report.missing, [PACK]);
}

#[tokio::test]
async fn a_deleted_pack_is_gone_from_both_places() {
    let places = Places::new().await;
    places.open_script.fail(Call::Delete, 0, ErrorKind::Locked);
    places.world.store.seal(PACK).await.unwrap();
    assert_eq!(places.lies(), (true, true));
    places.world.store.delete_pack(PACK).await.unwrap();
    assert_eq!(places.lies(), (false, false));
}

#[tokio::test]
async fn frames_of_a_pack_that_moved_can_be_copied() {
    let places = Places::new().await;
    places.world.store.seal(PACK).await.unwrap();
    let chunks = places.world.index.chunks();
    let all = chunks.iter().map(|chunk| chunk.place).collect();
    let copied = places.world.store.copy_frames(all).await.unwrap();
    places.world.store.sync(&copied.places.iter().map(|place| place.pack).collect()).await.unwrap();
    for (chunk, place) in chunks.iter().zip(copied.places) {
        places.world.index.with_chunk(chunk.id, |row| row.place = place);
    }
    places.world.store.delete_pack(PACK).await.unwrap();
    places.assert_whole(&places.world).await;
}

#[tokio::test]
async fn a_pack_that_failed_a_sync_never_moves() {
    let places = Places::new().await;
    places.open_script.fail(Call::Sync, 0, ErrorKind::Unavailable);
    places.world.store.seal(PACK).await.unwrap_err();
    assert_eq!((places.state(), places.lies()), (Some(PackState::SetAside), (true, false)));
    let (reopened, _) = places.world.reopened().await;
    assert_eq!(places.sealed_script.count(Call::Put), 0);
    places.assert_whole(&reopened).await;
}

#[tokio::test]
async fn two_directories_are_two_places() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let local =
        |dir: &tempfile::TempDir| Arc::new(LocalPacks::open(dir.path(), usp_rt::Pool::disk()).unwrap());
    let (open, sealed) = (local(&first), local(&second));
    let world = World::in_two_places(small(), open.clone(), sealed.clone()).await;
    let stored = world.put(&noise(600_000, 1), Compression::None).await;
    no_longer_moving(&world).await;
    world.put(&noise(20_000, 2), Compression::None).await;
    assert!(!open.list().await.unwrap().is_empty());
    let (reopened, _) = world.reopened().await;
    assert!(open.list().await.unwrap().is_empty());
    assert!(sealed.list().await.unwrap().len() > 1);
    assert!(reopened.get(stored.manifest, ByteRange::whole(600_000)).await.unwrap() == noise(600_000, 1));
}

#[tokio::test]
async fn with_one_place_sealing_keeps_the_very_file() {
    use std::os::unix::fs::MetadataExt;

    let root = tempfile::tempdir().unwrap();
    let packs = LocalPacks::open(root.path(), usp_rt::Pool::disk()).unwrap();
    let world = World::over(small(), Arc::new(packs)).await;
    let stored = world.put(&noise(60_000, 1), Compression::None).await;
    let inode = || std::fs::metadata(root.path().join("packs/01/0000000000000001.pack")).unwrap().ino();
    let open = inode();
    assert!(world.store.seal(PACK).await.unwrap());
    assert_eq!((world.index.state(PACK), inode()), (Some(PackState::Sealed), open));
    let read = world.get(stored.manifest, ByteRange::whole(60_000)).await.unwrap();
    assert!(read == noise(60_000, 1));
}
