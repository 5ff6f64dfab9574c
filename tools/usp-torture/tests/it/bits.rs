//! T7: flipped bits, in packs and in the catalogue, and files that were cut short. No wrong byte is served.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use usp_content::{Extent, MemoryPacks, OpenPacks, Pace, PackStore};
use usp_model::{ByteRange, ErrorKind, PackId, PackState};
use usp_testkit::generate::Numbers;
use usp_torture::check::{runtime, scratch};
use usp_torture::content::Content;
use usp_torture::figures::{Plan, note, seed};
use usp_torture::record::copy_dir;
use usp_torture::store::{PACK_BYTES, Store};

use crate::plant;

/// A store with one full pack of 64 KiB, and what is in it.
struct Full {
    _home: tempfile::TempDir,
    store: Store,
    packs: Arc<MemoryPacks>,
    pack: PackId,
    size_bytes: u64,
    files: Vec<(String, Content)>,
}

impl Full {
    async fn make() -> Result<Self> {
        let home = scratch()?;
        let packs = Arc::new(MemoryPacks::default());
        let store =
            Store::over(home.path(), PackStore::in_one_place(packs.clone()), Arc::new(|_| {})).await?;
        let mut files = Vec::new();
        for number in 0..40_u64 {
            // Noise, text, and pieces of a length that no bound divides.
            let file = (format!("k/{number}"), Content::of(number + 2, 2_900 + 7 * u32::try_from(number)?));
            store.put(&file.0, &file.1).await?;
            files.push(file);
        }
        let sealed = store.catalog.packs().await?.into_iter().find(|row| row.state == PackState::Sealed);
        let sealed = sealed.context("a pack that is full")?;
        let (pack, size_bytes) = (sealed.pack, sealed.committed_bytes);
        ensure!(size_bytes > PACK_BYTES - 5_000, "the pack has {size_bytes} bytes");
        Ok(Self { _home: home, store, packs, pack, size_bytes, files })
    }

    async fn put_byte(&self, offset: u64, byte: u8) -> Result<()> {
        Ok(self.packs.append(self.pack, offset, vec![Bytes::copy_from_slice(&[byte])]).await?)
    }

    async fn byte(&self, offset: u64) -> Result<u8> {
        let bytes = self.packs.read(self.pack, ByteRange::at(offset, 1))?;
        bytes.first().copied().context("a byte")
    }
}

/// Flips every bit between two offsets; answers how many a scrub found.
async fn flip_every_bit(full: &Full, from: u64, to: u64) -> Result<u64> {
    let mut found = 0;
    for offset in from..to {
        let byte = full.byte(offset).await?;
        for bit in 0..8 {
            full.put_byte(offset, byte ^ (1 << bit)).await?;
            let report = full
                .store
                .content
                .inspector()
                .scrub(full.pack, Extent::Sealed(full.size_bytes), &mut Pace::unlimited())
                .await?;
            ensure!(!report.is_sound(), "bit {bit} of byte {offset} was not found");
            found += 1;
        }
        full.put_byte(offset, byte).await?;
    }
    Ok(found)
}

#[test]
fn every_flipped_bit_of_a_full_pack_is_found() -> Result<()> {
    let halves: Vec<_> = (0..2)
        .map(|half| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let full = Full::make().await?;
                    let middle = full.size_bytes / 2;
                    let (from, to) = if half == 0 { (0, middle) } else { (middle, full.size_bytes) };
                    flip_every_bit(&full, from, to).await
                })
            })
        })
        .collect();
    let mut found = 0;
    for half in halves {
        found += half.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))??;
    }
    println!("T7: {found} of {found} flips found");
    note("T7 every bit of a pack", &[("flips", found), ("found", found)]);
    Ok(())
}

#[test]
fn no_flipped_bit_makes_a_read_answer_wrong_bytes() -> Result<()> {
    plant();
    let seed = seed();
    let plan = Plan::new(400, 20_000, 4);
    let mut numbers = Numbers::new(seed);
    let worked = runtime()?.block_on(async {
        let full = Full::make().await?;
        let (mut flips, mut refused) = (0, 0);
        while plan.goes_on(flips) {
            let (offset, bit) = (numbers.below(full.size_bytes), numbers.below(8));
            let byte = full.byte(offset).await?;
            full.put_byte(offset, byte ^ (1 << bit)).await?;
            let mut touched = 0;
            for (key, content) in &full.files {
                match full.store.read(key, None).await {
                    Ok(read) => {
                        ensure!(read == content.bytes(), "wrong bytes of {key}: bit {bit} of byte {offset}")
                    }
                    Err(error) => {
                        ensure!(error.kind() == ErrorKind::Corrupt, "{}", error.chain());
                        touched += 1;
                    }
                }
            }
            ensure!(touched <= 1, "a flip in byte {offset} reached {touched} files, which share nothing");
            refused += touched;
            flips += 1;
            full.put_byte(offset, byte).await?;
        }
        Ok::<_, anyhow::Error>((flips, refused))
    });
    let (flips, refused) = worked.with_context(|| format!("USP_SEED={seed}"))?;
    println!("T7: {flips} flips in a pack, {refused} files refused, no wrong byte served");
    note("T7 reads of flipped packs", &[("flips", flips), ("wrong", 0)]);
    Ok(())
}

/// A store on disk whose log is as long as it gets between two checkpoints, as a crash leaves it.
async fn crashed(dir: &Path) -> Result<Vec<(String, Content)>> {
    let home = scratch()?;
    let live = home.path().join("live");
    std::fs::create_dir(&live)?;
    let store = Store::open(&live).await?;
    let mut files = Vec::new();
    let mut put = async |store: &Store, number: u64| {
        let file = (format!("k/{number}"), Content::of(number, 1_500 + 13 * u32::try_from(number)?));
        store.put(&file.0, &file.1).await?;
        files.push(file);
        Ok::<_, anyhow::Error>(())
    };
    for number in 0..12 {
        put(&store, number).await?;
    }
    // The first twelve are in the database file then, the rest in the log.
    drop(store);
    let store = Store::open(&live).await?;
    for number in 12..24 {
        put(&store, number).await?;
    }
    copy_dir(&live, dir)?;
    Ok(files)
}

#[test]
fn a_damaged_catalogue_is_refused_or_serves_no_wrong_byte() -> Result<()> {
    let (runtime, seed) = (runtime()?, seed());
    let plan = Plan::new(150, 10_000, 8);
    let mut numbers = Numbers::new(seed);
    let home = scratch()?;
    let (whole, damaged) = (home.path().join("whole"), home.path().join("damaged"));
    let files = runtime.block_on(crashed(&whole))?;
    let (mut done, mut refused, mut missing) = (0, 0, 0);
    while plan.goes_on(done) {
        done += 1;
        if damaged.exists() {
            std::fs::remove_dir_all(&damaged)?;
        }
        copy_dir(&whole, &damaged)?;
        let name = ["catalog.db", "catalog.db-wal"][usize::try_from(numbers.below(2))?];
        let path = damaged.join(name);
        let mut bytes = std::fs::read(&path)?;
        let at = usize::try_from(numbers.below(bytes.len() as u64))?;
        let what = if numbers.below(8) == 0 {
            bytes.truncate(at);
            format!("{name} was cut to {at} bytes")
        } else {
            let bit = numbers.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} of {name} was flipped")
        };
        std::fs::write(&path, &bytes)?;
        let Ok(store) = runtime.block_on(Store::open(&damaged)) else {
            refused += 1;
            continue;
        };
        for (key, content) in &files {
            match runtime.block_on(store.read(key, None)) {
                Ok(read) => ensure!(read == content.bytes(), "USP_SEED={seed}: wrong bytes of {key}: {what}"),
                Err(_refused) => missing += 1,
            }
        }
    }
    println!(
        "T7: {done} damaged catalogues, {refused} refused, {missing} files not found, no wrong byte served"
    );
    note("T7 damaged catalogues", &[("flips", done), ("wrong", 0)]);
    Ok(())
}
