//! Collection while uploads, deletes and reads go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// xorshift64*: the same choices in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// Puts and deletes files of blocks that all share, and keeps its own account of what stands.
async fn churn(
    world: Arc<World>,
    client: u64,
    round: u64,
    mut files: BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, Vec<u8>> {
    const OPERATIONS: u64 = 25;
    let mut dice = Dice(1 + client * 1_000 + round);
    for _operation in 0..OPERATIONS {
        let at = format!("c{client}/{}", dice.roll(4));
        if dice.roll(3) == 0 {
            let was_there = files.remove(&at).is_some();
            let deleted = world.delete(&at).await;
            assert_eq!(deleted.is_ok(), was_there, "{at}: {deleted:?}");
        } else {
            let blocks: Vec<u64> = (0..dice.roll(7)).map(|_| dice.roll(12)).collect();
            let bytes = content(&blocks);
            world.put(&at, &bytes).await.unwrap();
            files.insert(at, bytes);
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_client_sees_an_error_and_no_file_loses_a_chunk_however_often_it_is_collected() {
    const CYCLES: u64 = 300;
    const CLIENTS: usize = 4;
    let world = Arc::new(World::open().await);
    let mut files = vec![BTreeMap::new(); CLIENTS];
    let cycles = Arc::new(AtomicU64::new(0));
    let mut swept_chunks = 0;
    let mut round = 0;
    while cycles.load(Ordering::Relaxed) < CYCLES {
        round += 1;
        let stop = Arc::new(AtomicBool::new(false));
        let collector = tokio::spawn({
            let (world, stop, cycles) = (Arc::clone(&world), Arc::clone(&stop), Arc::clone(&cycles));
            async move {
                let mut swept_chunks = 0;
                while !stop.load(Ordering::Relaxed) {
                    swept_chunks += world.collect().await.swept_chunks;
                    cycles.fetch_add(1, Ordering::Relaxed);
                }
                swept_chunks
            }
        });
        let clients = (0..).zip(std::mem::take(&mut files));
        let clients: Vec<_> = clients
            .map(|(client, files)| tokio::spawn(churn(Arc::clone(&world), client, round, files)))
            .collect();
        for client in clients {
            files.push(client.await.unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        swept_chunks += collector.await.unwrap();
        world
            .assert_holds(&files.iter().flatten().map(|(at, bytes)| (at.clone(), bytes.clone())).collect())
            .await;
    }
    assert!(swept_chunks > 1_000, "{round} rounds swept {swept_chunks} chunks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ranges_read_while_their_packs_are_compacted() {
    const READERS: u64 = 3;
    const ROUNDS: u64 = 30;
    let world = Arc::new(World::open().await);
    let kept = content(&(1_000..1_012).collect::<Vec<_>>());
    let stop = Arc::new(AtomicBool::new(false));
    // The pieces of the file that is read lie between those of others, in packs that come to be mostly dead.
    let mut pieces = Vec::new();
    for (number, piece) in (0_u64..).zip(kept.chunks(BLOCK_BYTES / 2)) {
        world.put(&format!("kept/{number}"), piece).await.unwrap();
        world.put(&format!("other/{number}"), &content(&[2_000 + number, 3_000 + number])).await.unwrap();
        pieces.push(piece.to_vec());
    }
    world.put("kept", &kept).await.unwrap();
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (world, stop, kept) = (Arc::clone(&world), Arc::clone(&stop), kept.clone());
            tokio::spawn(async move {
                let mut dice = Dice(reader + 1);
                let mut reads = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let start = dice.roll(kept.len() as u64 - 1);
                    let end = (start + 1 + dice.roll(20_000)).min(kept.len() as u64);
                    let range = ByteRange::new(start, end).unwrap();
                    let bytes = read(&world.storage, "kept", Some(range)).await.unwrap();
                    assert!(bytes == kept[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    let (mut moved, mut erased) = (0, 0);
    for round in 0..ROUNDS {
        for number in 0..pieces.len() as u64 {
            let blocks = [10_000 * round + number, 10_000 * round + 5_000 + number];
            world.put(&format!("other/{number}"), &content(&blocks)).await.unwrap();
            world.delete(&format!("other/{number}")).await.unwrap();
        }
        let report = world.collect().await;
        moved += report.moved_chunks;
        erased += report.erased_packs;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert!(moved > 0 && erased > 20, "{moved} chunks moved, {erased} packs erased");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_found_chunks_of_a_file_outlives_the_file_and_its_collection() {
    let world = World::open().await;
    let shared = content(&[1, 2, 3, 4]);
    world.put("first", &shared).await.unwrap();
    let world = world.reopened().await;
    let (mut sender, receiver) = mpsc::channel::<Result<Bytes>>(0);
    let putting = tokio::spawn({
        let storage = world.storage.clone();
        async move { storage.put(&admin(), NewFile::at(bucket(), key("second")), receiver.boxed()).await }
    });
    // Less than a checkpoint, more than a slab: the hits are found and nothing is committed.
    let (early, late) = shared.split_at(20_000);
    sender.send(Ok(Bytes::copy_from_slice(early))).await.unwrap();
    sender.send(Ok(Bytes::new())).await.unwrap();
    world.delete("first").await.unwrap();
    let mut swept_chunks = 0;
    for _cycle in 0..4 {
        swept_chunks += world.collect().await.swept_chunks;
    }
    assert!(swept_chunks > 0, "nothing referred to the rows");
    sender.send(Ok(Bytes::copy_from_slice(late))).await.unwrap();
    drop(sender);
    putting.await.unwrap().unwrap();
    assert!(world.read("second").await.unwrap() == shared);
    world.collect_all().await;
    assert!(world.read("second").await.unwrap() == shared);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_open_upload_received_is_not_collected() {
    let world = World::open().await;
    let bytes = content(&[1, 2, 3, 4, 5, 6]);
    let upload = world.storage.start_upload(&admin(), NewFile::at(bucket(), key("slow"))).await.unwrap();
    let (early, late) = bytes.split_at(30_000);
    for (offset, part) in [(0, early), (30_000, late)] {
        let pieces = stream::iter([Ok(Bytes::copy_from_slice(part))]).boxed();
        let append = AppendUpload { id: upload.id, offset, size_bytes: None };
        world.storage.append(&admin(), append, pieces).await.unwrap();
        world.collect_all().await;
    }
    world.storage.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap();
    assert!(world.read("slow").await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_store_that_is_deleted_is_given_back() {
    let world = World::open().await;
    let mut expected = BTreeMap::new();
    for number in 0..60_u64 {
        let bytes = content(&[number * 2, number * 2 + 1]);
        world.put(&format!("f{number:02}"), &bytes).await.unwrap();
        if number % 2 == 0 {
            expected.insert(format!("f{number:02}"), bytes);
        }
    }
    let world = world.reopened().await;
    for number in (1..60).step_by(2) {
        world.delete(&format!("f{number:02}")).await.unwrap();
    }
    let looked = world.storage.collect(&admin(), true).await.unwrap();
    assert!(looked.dry_run && looked.swept_chunks > 0);
    let before = world.disk_bytes().await;
    assert_eq!(world.space().await.disk_bytes, before, "a look changes nothing");
    let swept = world.collect().await;
    assert_eq!((swept.swept_chunks, swept.swept_bytes), (looked.swept_chunks, looked.swept_bytes));
    world.collect_all().await;
    let world = world.reopened().await;
    world.assert_holds(&expected).await;
    let live_bytes: u64 = world.catalog.totals().await.unwrap().frame_bytes;
    let after = world.disk_bytes().await;
    assert!(after * 10 <= live_bytes * 11 + 40_000, "{before} bytes became {after}, {live_bytes} are alive");
    let stats = world.storage.stats(&admin()).await.unwrap();
    assert_eq!(stats.disk_bytes, after);
    assert!(stats.dead_bytes * 10 < after, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_takes_the_right_to_manage_the_store_and_runs_alone() {
    let world = World::open().await;
    let mut reader = admin();
    reader.principal.grants = vec![Grant { bucket: None, role: Role::Manager }];
    assert_eq!(world.storage.collect(&reader, true).await.unwrap_err().kind(), ErrorKind::Denied);
    let turn = world.storage.upkeep.collector.turn.lock().await;
    assert_eq!(world.storage.collect(&admin(), false).await.unwrap_err().kind(), ErrorKind::Locked);
    drop(turn);
    world.collect().await;
}
