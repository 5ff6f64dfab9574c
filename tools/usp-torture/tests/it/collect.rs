//! T9, T11: collection against uploads that refer to what is collected, with no grace at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use tokio::task::JoinHandle;
use usp_api::{NewFile, StorageApi, StorageCalls};
use usp_content::{MemoryPacks, PackStore};
use usp_model::{Act, ByteRange, ChunkId, FileKey, Timestamp};
use usp_rt::Clock as _;
use usp_testkit::generate::Numbers;
use usp_torture::check::{runtime, scratch};
use usp_torture::content::Content;
use usp_torture::figures::{Plan, note, seed};
use usp_torture::store::{PACK_BYTES, Store, admin, bucket, file_ref};

use crate::plant;

/// A store whose packs are in memory: disks are not what is tested here.
async fn open() -> Result<(tempfile::TempDir, Store)> {
    plant();
    let home = scratch()?;
    let store = Store::over(
        home.path(),
        PackStore::in_one_place(Arc::new(MemoryPacks::default())),
        Arc::new(|_fault| {}),
    )
    .await?;
    Ok((home, store))
}

async fn collect(store: &Store) -> Result<u64> {
    Ok(store.storage.collect(&admin()?, false).await?.swept_chunks)
}

/// One client: puts, deletes and reads files of a small stock of pieces, under keys of its own.
async fn churn(
    store: Store,
    client: u64,
    mut numbers: Numbers,
    count: u64,
) -> Result<BTreeMap<String, Content>> {
    let mut files: BTreeMap<String, Content> = BTreeMap::new();
    for _operation in 0..count {
        let key = format!("c{client}/{}", numbers.below(5));
        match numbers.below(5) {
            0 | 1 => {
                let deleted = store.storage.delete_file(&admin()?, file_ref(&key)?, None).await;
                ensure!(deleted.is_ok() == files.remove(&key).is_some(), "{key}: {deleted:?}");
            }
            2 | 3 => {
                let pieces = (0..numbers.below(4)).map(|_| (numbers.below(10), 3_000)).collect();
                let content = Content(pieces);
                let put = store.put(&key, &content).await;
                put.with_context(|| format!("put {key}: a client sees nothing of a collection"))?;
                files.insert(key, content);
            }
            _ => {
                let Some(content) = files.get(&key) else { continue };
                let read = store.read(&key, None).await.with_context(|| format!("read {key}"))?;
                ensure!(read == content.bytes(), "{key} reads as something else");
            }
        }
    }
    Ok(files)
}

#[test]
fn no_client_sees_a_collection_and_no_reference_dangles() -> Result<()> {
    const CLIENTS: u64 = 4;
    const ROUND: u64 = 250;
    let (runtime, seed) = (runtime()?, seed());
    let plan = Plan::new(12_000, 100_000, 15);
    let mut numbers = Numbers::new(seed);
    let worked = runtime.block_on(async {
        let (mut done, mut cycles, mut swept) = (0, 0, 0);
        while plan.goes_on(done) {
            let (_home, store) = open().await?;
            let stop = Arc::new(AtomicBool::new(false));
            let collector = tokio::spawn({
                let (store, stop) = (store.clone(), Arc::clone(&stop));
                async move {
                    let (mut cycles, mut swept) = (0_u64, 0);
                    while !stop.load(Ordering::Relaxed) {
                        swept += collect(&store).await?;
                        cycles += 1;
                    }
                    Ok::<_, anyhow::Error>((cycles, swept))
                }
            });
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| tokio::spawn(churn(store.clone(), client, Numbers::new(numbers.draw()), ROUND)))
                .collect();
            let mut expected = BTreeMap::new();
            for client in clients {
                expected.extend(client.await??);
            }
            stop.store(true, Ordering::Relaxed);
            let (ran, took) = collector.await??;
            (cycles, swept, done) = (cycles + ran, swept + took, done + CLIENTS * ROUND);
            for _cycle in 0..3 {
                collect(&store).await?;
            }
            for (key, content) in &expected {
                let read =
                    store.read(key, None).await.with_context(|| format!("{key} after all collections"))?;
                ensure!(read == content.bytes(), "{key} reads as something else");
            }
        }
        Ok::<_, anyhow::Error>((done, cycles, swept))
    });
    let (done, cycles, swept) = worked.with_context(|| format!("USP_SEED={seed}"))?;
    ensure!(swept > 100, "{cycles} cycles swept {swept} chunks");
    println!("T9: {done} operations, {cycles} collections, {swept} chunks swept");
    note(
        "T9 collection and dedup",
        &[("operations", done), ("cycles", cycles), ("dangling", 0), ("client-errors", 0)],
    );
    Ok(())
}

/// What a mark saw is old by the time of the sweep: a reference that was made between them must hold.
#[test]
fn what_is_referred_to_between_mark_and_sweep_stays() -> Result<()> {
    runtime()?.block_on(async {
        let (_home, store) = open().await?;
        let act = || Act::duty("torture", Timestamp::from_unix_ms(store.clock.now_unix_ms()));
        let content = Content::of(2, 9_000);
        store.put("first", &content).await?;
        store.storage.delete_file(&admin()?, file_ref("first")?, None).await?;
        // The steps of a cycle, with a put in the middle; the mark would find nothing.
        let epoch = store.catalog.raise_epoch(act()).await?;
        store.put("second", &content).await?;
        let all = store.catalog.pack_usage().await?;
        let mut ids: Vec<ChunkId> = Vec::new();
        for pack in all {
            ids.extend(store.catalog.chunks_in_pack(pack.record.pack).await?.iter().map(|chunk| chunk.id));
        }
        ensure!(!ids.is_empty());
        let swept = store.catalog.sweep_chunks(act(), ids, epoch).await?;
        ensure!(swept.chunk_count == 0, "{swept:?}");
        ensure!(store.read("second", None).await? == content.bytes());
        Ok(())
    })
}

/// An upload of `second` whose client sent the first part of its content and nothing more.
struct Paused {
    sender: mpsc::Sender<usp_model::Result<Bytes>>,
    late: Bytes,
    putting: JoinHandle<usp_model::Result<usp_api::PutOutcome>>,
}

impl Paused {
    async fn put(store: &Store, bytes: &[u8]) -> Result<Self> {
        let (mut sender, receiver) = mpsc::channel(0);
        let storage = store.storage.clone();
        let putting = tokio::spawn(async move {
            let file = NewFile::at(bucket()?, FileKey::parse("second")?);
            storage.put(&admin()?, file, receiver.boxed()).await
        });
        let (early, late) = bytes.split_at(20_000);
        sender.send(Ok(Bytes::copy_from_slice(early))).await?;
        // Taken once the first piece was pushed: its hits are found, and nothing of it is committed.
        sender.send(Ok(Bytes::new())).await?;
        Ok(Self { sender, late: Bytes::copy_from_slice(late), putting })
    }

    /// The rest comes, and the file holds `expected` from then on.
    async fn ends_whole(mut self, store: &Store, expected: &Content) -> Result<()> {
        self.sender.send(Ok(self.late)).await?;
        drop(self.sender);
        self.putting.await?.context("a client sees nothing of a collection")?;
        ensure!(store.read("second", None).await? == expected.bytes());
        for _cycle in 0..3 {
            collect(store).await?;
        }
        ensure!(store.read("second", None).await? == expected.bytes(), "after three more collections");
        Ok(())
    }
}

/// A laptop that was closed in the middle of an upload: hits were found, their file is deleted, and collection runs on.
#[test]
fn an_upload_that_pauses_over_many_collections_hears_of_no_error() -> Result<()> {
    runtime()?.block_on(async {
        let (_home, store) = open().await?;
        let stock = Content((0..4).map(|piece| (piece * 2, 15_000)).collect());
        store.put("first", &stock).await?;
        let paused = Paused::put(&store, &stock.bytes()).await?;
        store.storage.delete_file(&admin()?, file_ref("first")?, None).await?;
        let mut swept = 0;
        for _cycle in 0..5 {
            swept += collect(&store).await?;
        }
        ensure!(swept > 0, "nothing referred to the chunks");
        paused.ends_whole(&store, &stock).await
    })
}

/// The same with packs that are full, so that what is emptied would be doomed and erased.
#[test]
fn a_pack_that_a_paused_upload_refers_to_is_not_erased() -> Result<()> {
    runtime()?.block_on(async {
        let (_home, store) = open().await?;
        let stock = Content((0..4).map(|piece| (piece * 2, 15_000)).collect());
        store.put("first", &stock).await?;
        // Fills the pack of the stock, and more than one behind it.
        store.put("filler", &Content::of(1_002, 3 * u32::try_from(PACK_BYTES)?)).await?;
        let paused = Paused::put(&store, &stock.bytes()).await?;
        for key in ["first", "filler"] {
            store.storage.delete_file(&admin()?, file_ref(key)?, None).await?;
        }
        let mut erased = 0;
        for _cycle in 0..5 {
            erased += store.storage.collect(&admin()?, false).await?.erased_packs;
        }
        ensure!(erased > 0, "no pack was erased: those of the filler should be");
        paused.ends_whole(&store, &stock).await
    })
}

#[test]
fn ranges_read_while_their_packs_are_compacted() -> Result<()> {
    const READERS: u64 = 3;
    let (runtime, seed) = (runtime()?, seed());
    let plan = Plan::new(50, 1_000, 8);
    let worked = runtime.block_on(async {
        let (_home, store) = open().await?;
        let kept = Content((0..12).map(|piece| (100 + piece * 2, 3_000)).collect());
        let bytes = Arc::new(kept.bytes());
        // What is kept lies between what is not, in packs that come to be mostly dead.
        for (number, piece) in (0_u64..).zip(&kept.0) {
            store.put(&format!("kept/{number}"), &Content(vec![*piece])).await?;
            store.put(&format!("other/{number}"), &Content::of(1_000 + number * 2, 9_000)).await?;
        }
        store.put("kept", &kept).await?;
        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (store, stop, reads, bytes) =
                    (store.clone(), Arc::clone(&stop), Arc::clone(&reads), Arc::clone(&bytes));
                let mut numbers = Numbers::new(seed ^ reader);
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let start = numbers.below(bytes.len() as u64 - 1);
                        let end = (start + 1 + numbers.below(20_000)).min(bytes.len() as u64);
                        let read = store.read("kept", Some(ByteRange::new(start, end)?)).await?;
                        let expected = bytes.get(usize::try_from(start)?..usize::try_from(end)?);
                        ensure!(Some(read.as_slice()) == expected, "{start}..{end} reads as something else");
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let (mut moved, mut erased, mut rounds) = (0, 0, 0);
        while plan.goes_on(rounds) {
            for number in 0..12 {
                let seed = 10_000 + 100 * rounds + number * 2;
                store.put(&format!("other/{number}"), &Content::of(seed, 9_000)).await?;
                store.storage.delete_file(&admin()?, file_ref(&format!("other/{number}"))?, None).await?;
            }
            let report = store.storage.collect(&admin()?, false).await?;
            (moved, erased, rounds) = (moved + report.moved_chunks, erased + report.erased_packs, rounds + 1);
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.await??;
        }
        Ok::<_, anyhow::Error>((rounds, moved, erased, reads.load(Ordering::Relaxed)))
    });
    let (rounds, moved, erased, reads) = worked.with_context(|| format!("USP_SEED={seed}"))?;
    ensure!(
        moved > 0 && erased > 10 && reads > 0,
        "{moved} chunks moved, {erased} packs erased, {reads} reads"
    );
    println!("T11: {rounds} collections, {moved} chunks moved, {erased} packs erased, {reads} ranges read");
    note("T11 compaction", &[("rounds", rounds), ("reads", reads), ("wrong", 0)]);
    Ok(())
}
