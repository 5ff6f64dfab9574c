//! What opening does after a crash.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use bytes::Bytes;
use usp_content::{ChunkIndex, DamagedPack, MemoryPacks, OpenPacks, RecoveryReport};
use usp_faults::{Call, Faulty};
use usp_model::{ByteRange, Compression, ErrorKind, PackId, PackRecord, PackState};

use crate::support::{FakeIndex, Stored, World, lines, noise, settings, small};

const SIZE: usize = 40_000;

/// A store with one committed content in one open pack, and how many bytes of the pack are committed.
async fn crashed() -> (World, Stored, u64) {
    let world = World::new(small()).await;
    let stored = world.put(&lines(SIZE, 1), Compression::Auto).await;
    let committed = world.index.first_pack().committed_bytes;
    // As after a sync: what is damaged now cannot be written again.
    world.index.forget_redo(PackId(1), u64::MAX).await.unwrap();
    (world, stored, committed)
}

async fn assert_whole(world: &World, stored: &Stored) {
    assert_eq!(world.get(stored.manifest, ByteRange::whole(SIZE as u64)).await.unwrap(), lines(SIZE, 1));
}

#[tokio::test]
async fn whatever_stands_after_the_committed_length_is_cut_off() {
    let tails = [vec![], vec![0; 5000], noise(5000, 9), b"UFRM".to_vec(), vec![0xff; 1]];
    for tail in tails {
        let (world, stored, committed) = crashed().await;
        let pack = world.index.first_pack().pack;
        world.open.append(pack, committed, vec![Bytes::from(tail.clone())]).await.unwrap();

        let (reopened, report) = world.reopened().await;
        assert_eq!(report.sealed, [pack]);
        assert_eq!(report.cut_off_bytes, tail.len() as u64);
        assert_eq!(report.frame_count, stored.chunks().len() as u64);
        assert_eq!(world.index.state(pack), Some(PackState::Sealed));
        assert_eq!(world.open.len(pack).await.unwrap(), world.index.first_pack().committed_bytes);
        assert_eq!(reopened.store.inspector().frames(pack).await.unwrap().len(), stored.chunks().len());
        assert_whole(&reopened, &stored).await;
    }
}

#[tokio::test]
async fn frames_that_were_appended_and_never_committed_are_gone() {
    let (world, stored, committed) = crashed().await;
    let mut ingest = world.store.ingest(settings(Compression::None));
    ingest.push(Bytes::from(noise(20_000, 2))).await.unwrap();
    ingest.checkpoint().await.unwrap();
    let uncommitted = world.open.len(PackId(1)).await.unwrap() - committed;
    assert!(uncommitted > 0);

    let (reopened, report) = world.reopened().await;
    assert_eq!(report.cut_off_bytes, uncommitted);
    assert_whole(&reopened, &stored).await;
    let again = reopened.put(&noise(20_000, 2), Compression::None).await;
    assert!(again.new_bytes() > 20_000);
    assert!(
        again.batches[0].dirty.iter().all(|&pack| pack != PackId(1)),
        "a sealed pack takes no more frames"
    );
}

#[tokio::test]
async fn opening_twice_finds_nothing_to_do_the_second_time() {
    let (world, stored, _) = crashed().await;
    let (reopened, _) = world.reopened().await;
    let (again, report) = reopened.reopened().await;
    assert_eq!(report, RecoveryReport::default());
    assert_whole(&again, &stored).await;
}

#[tokio::test]
async fn a_damaged_committed_frame_is_reported_and_the_rest_stays_readable() {
    let (world, stored, committed) = crashed().await;
    let frames = stored.chunks().len();
    let second = world.index.chunks()[1].place;
    world.open.append(PackId(1), second.offset + 60, vec![Bytes::from_static(b"?")]).await.unwrap();

    let (reopened, report) = world.reopened().await;
    assert_eq!(report.damaged, [DamagedPack { pack: PackId(1), offset: second.offset }]);
    assert_eq!(world.index.state(PackId(1)), Some(PackState::SetAside));
    assert_eq!(world.open.len(PackId(1)).await.unwrap(), committed, "a damaged pack is left as it was found");
    let sizes: Vec<u64> = world.index.chunks().iter().map(|chunk| u64::from(chunk.size_bytes)).collect();
    assert!(frames > 3);
    let sound = ByteRange::new(sizes[0] + sizes[1], SIZE as u64).unwrap();
    let read = reopened.get(stored.manifest, sound).await.unwrap();
    assert_eq!(read, lines(SIZE, 1)[usize::try_from(sound.start()).unwrap()..]);
    let damaged = reopened.get(stored.manifest, ByteRange::whole(SIZE as u64)).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_pack_shorter_than_its_committed_length_is_reported() {
    let (world, _, committed) = crashed().await;
    world.open.truncate(PackId(1), committed - 1).await.unwrap();
    let (_, report) = world.reopened().await;
    assert_eq!(report.damaged, [DamagedPack { pack: PackId(1), offset: committed - 1 }]);
}

#[tokio::test]
async fn files_without_a_row_go_to_lost_and_found() {
    let (packs, index) = (Arc::new(MemoryPacks::default()), Arc::<FakeIndex>::default());
    packs.create(PackId(77), Bytes::from_static(b"who knows")).await.unwrap();
    index.add_pack(PackRecord { pack: PackId(1), state: PackState::SetAside, committed_bytes: 0 });
    let (_, report) = World::open(small(), Arc::clone(&packs) as Arc<dyn OpenPacks>, index).await;
    assert_eq!(report.lost_and_found, [PackId(77)]);
    assert_eq!(packs.lost_and_found(), [PackId(77)]);
    assert!(packs.list().is_empty());
}

#[tokio::test]
async fn packs_that_no_row_at_all_names_are_left_alone_and_the_store_stays_shut() {
    let packs = Arc::new(MemoryPacks::default());
    packs.create(PackId(1), Bytes::from_static(b"all there is")).await.unwrap();
    let opened = World::try_open(small(), packs.clone(), Arc::default()).await;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(packs.list(), [PackId(1)]);
}

#[tokio::test]
async fn rows_without_a_file_are_reported_by_what_was_committed_in_them() {
    let world = World::new(small()).await;
    let row = |id, state, committed_bytes| PackRecord { pack: PackId(id), state, committed_bytes };
    for record in [row(1, PackState::Open, 0), row(2, PackState::Open, 5000), row(3, PackState::Sealed, 900)]
    {
        world.index.add_pack(record);
    }
    let (_, report) = world.reopened().await;
    assert_eq!(report.set_aside, [PackId(1)]);
    assert_eq!(report.missing, [PackId(2), PackId(3)]);
    assert_eq!(world.index.state(PackId(1)), Some(PackState::SetAside));
    assert_eq!(world.index.state(PackId(2)), Some(PackState::Open), "an alarm, not a verdict");
}

#[tokio::test]
async fn a_pack_that_was_born_half_way_is_set_aside() {
    for header in [vec![], vec![0; 64], noise(200, 1)] {
        let packs = Arc::new(MemoryPacks::default());
        let world = World::over(small(), Arc::clone(&packs) as Arc<dyn OpenPacks>).await;
        world.index.add_pack(PackRecord { pack: PackId(1), state: PackState::Open, committed_bytes: 0 });
        packs.create(PackId(1), Bytes::from(header)).await.unwrap();
        let (reopened, report) = world.reopened().await;
        assert_eq!(report, RecoveryReport { set_aside: vec![PackId(1)], ..RecoveryReport::default() });
        assert_eq!(packs.lost_and_found(), [PackId(1)]);
        reopened.put(&noise(5000, 2), Compression::None).await;
    }
}

#[tokio::test]
async fn a_recovery_that_was_interrupted_anywhere_is_repeated() {
    for call in [Call::Truncate, Call::Append, Call::Sync] {
        let packs = Faulty::new(Arc::new(MemoryPacks::default()));
        let script = packs.script();
        let world = World::over(small(), Arc::new(packs)).await;
        let stored = world.put(&lines(SIZE, 1), Compression::Auto).await;
        script.fail(call, 0, ErrorKind::Unavailable);
        let refused = world.try_reopened().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        let (reopened, report) = world.reopened().await;
        assert_eq!(report.sealed, [PackId(1)]);
        assert_whole(&reopened, &stored).await;
    }
}

#[tokio::test]
async fn a_full_disk_does_not_keep_the_store_from_opening() {
    let packs = Faulty::new(Arc::new(MemoryPacks::default()));
    let script = packs.script();
    let world = World::over(small(), Arc::new(packs)).await;
    let stored = world.put(&lines(SIZE, 1), Compression::Auto).await;
    for of_row in [false, true] {
        match of_row {
            false => script.fail(Call::Append, 0, ErrorKind::StorageFull),
            true => world.index.fail_seals(1),
        }
        let (reopened, report) = world.reopened().await;
        assert_eq!(
            (report.unsealed.as_slice(), report.sealed.as_slice()),
            ([PackId(1)].as_slice(), [].as_slice())
        );
        assert_whole(&reopened, &stored).await;
    }
    let reopened = world;
    let (_, report) = reopened.reopened().await;
    assert_eq!(report.sealed, [PackId(1)]);
}

#[tokio::test]
async fn a_pack_of_a_version_to_come_keeps_the_store_shut_and_is_left_alone() {
    let (world, _, _) = crashed().await;
    let mut header = world.open.read(PackId(1), ByteRange::whole(64)).await.unwrap().to_vec();
    let old = header.clone();
    header[8] = 2;
    let crc = crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    world.open.append(PackId(1), 0, vec![header.into()]).await.unwrap();
    let (packs, index) = (Arc::clone(&world.open), Arc::clone(&world.index));
    let refused = World::try_open(small(), Arc::clone(&packs), Arc::clone(&index)).await.unwrap_err();
    assert!(refused.detail().contains("format version 2, newer than 1"), "{}", refused.detail());
    assert_eq!(index.state(PackId(1)), Some(PackState::Open));

    // The same with a frame of it.
    world.open.append(PackId(1), 0, vec![old.into()]).await.unwrap();
    let mut frame = packs.read(PackId(1), ByteRange::at(64, 56)).await.unwrap().to_vec();
    frame[4] = 7;
    let crc = crc32c(&frame[..52]);
    frame[52..].copy_from_slice(&crc.to_le_bytes());
    packs.append(PackId(1), 64, vec![frame.into()]).await.unwrap();
    let refused = World::try_open(small(), packs, Arc::clone(&index)).await.unwrap_err();
    assert!(refused.detail().contains("frame version 7, newer than 1"), "{}", refused.detail());
    assert_eq!(index.state(PackId(1)), Some(PackState::Open));
}

/// CRC-32C bit by bit, as docs/formats/README.md defines it.
fn crc32c(bytes: &[u8]) -> u32 {
    const REFLECTED: u32 = 0x82f6_3b78;
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (REFLECTED & (crc & 1).wrapping_neg()))
    })
}
