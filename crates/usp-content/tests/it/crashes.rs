//! A disk that loses what was not synced, and a store that loses nothing it promised.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use usp_content::{ContentConfig, PackBackend};
use usp_model::{ByteRange, Compression, Error, ErrorKind, ManifestId, PackId, Result};

use crate::support::{World, lines, noise, settings, small};

/// Packs whose unsynced writes survive a power cut whole, half, as zeros, or not at all.
#[derive(Debug, Default)]
struct LosingPacks(Mutex<BTreeMap<PackId, Pack>>);

#[derive(Debug, Default, Clone)]
struct Pack {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes.get_mut(*offset..end).unwrap().copy_from_slice(written);
            }
            Self::Truncate(len) => bytes.resize(*len, 0),
        }
    }

    /// What of the change a power cut leaves.
    fn torn(&self, fate: u8) -> Option<Self> {
        match (self, fate % 4) {
            (_, 0) => None,
            (Self::Write(offset, written), 1) => Some(Self::Write(*offset, vec![0; written.len()])),
            (Self::Write(offset, written), 2) => {
                Some(Self::Write(*offset, written.iter().take(written.len() / 2).copied().collect()))
            }
            _ => Some(self.clone()),
        }
    }
}

impl Pack {
    fn seen(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        self.unsynced.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    }
}

impl LosingPacks {
    /// The power goes: each unsynced change meets its own fate, independent of order.
    fn power_cut(&self, fates: &[u8]) {
        let mut fates = fates.iter().cycle();
        for pack in self.0.lock().values_mut() {
            for change in std::mem::take(&mut pack.unsynced) {
                if let Some(left) = change.torn(*fates.next().unwrap()) {
                    left.apply(&mut pack.durable);
                }
            }
        }
    }

    fn with<T>(&self, pack: PackId, job: impl FnOnce(&mut Pack) -> T) -> Result<T> {
        self.0.lock().get_mut(&pack).map(job).ok_or_else(|| Error::new(ErrorKind::NotFound, "find pack"))
    }
}

#[async_trait]
impl PackBackend for LosingPacks {
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()> {
        self.0.lock().insert(pack, Pack { durable: header.to_vec(), unsynced: Vec::new() });
        Ok(())
    }

    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.with(pack, |pack| pack.unsynced.push(Change::Write(offset, parts.concat())))
    }

    async fn sync(&self, pack: PackId) -> Result<()> {
        self.with(pack, |pack| *pack = Pack { durable: pack.seen(), unsynced: Vec::new() })
    }

    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        let len = usize::try_from(size_bytes).unwrap();
        self.with(pack, |pack| pack.unsynced.push(Change::Truncate(len)))
    }

    async fn retire(&self, _pack: PackId) {}

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        let (start, end) = (usize::try_from(range.start()).unwrap(), usize::try_from(range.end()).unwrap());
        let bytes = self.with(pack, |pack| pack.seen().get(start..end).map(Bytes::copy_from_slice))?;
        bytes.ok_or_else(|| Error::new(ErrorKind::OutOfRange, "read pack"))
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.with(pack, |pack| pack.seen().len() as u64)
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        Ok(self.0.lock().keys().copied().collect())
    }

    async fn set_aside(&self, pack: PackId) -> Result<()> {
        self.delete(pack).await
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.0.lock().remove(&pack);
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Stores and commits a content.
    Put(u64, usize),
    /// Stores part of a content and goes away.
    Abandon(u64, usize),
    /// The power goes; the store opens again.
    Crash(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u64, 1..60_000_usize).prop_map(|(seed, len)| Step::Put(seed, len)),
        2 => (0..6_u64, 1..60_000_usize).prop_map(|(seed, len)| Step::Abandon(seed, len)),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Step::Crash),
    ]
}

fn content(seed: u64, len: usize) -> Vec<u8> {
    if seed.is_multiple_of(2) { noise(len, seed) } else { lines(len, seed) }
}

/// Packs so small that they are sealed often.
fn tiny_packs() -> ContentConfig {
    ContentConfig { pack_size_bytes_max: 48 << 10, ..small() }
}

async fn assert_all_read(world: &World, promised: &[(u64, usize, ManifestId)]) {
    for &(seed, len, manifest) in promised {
        let read = world.get(manifest, ByteRange::whole(len as u64)).await.unwrap();
        assert!(read == content(seed, len), "content {seed} of {len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn no_power_cut_loses_what_was_committed(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backend = Arc::new(LosingPacks::default());
            let mut world = World::over(tiny_packs(), Arc::clone(&backend) as Arc<dyn PackBackend>).await;
            let mut promised = Vec::new();
            for step in steps.into_iter().chain([Step::Crash(vec![0, 1, 2, 3])]) {
                match step {
                    Step::Put(seed, len) => {
                        let stored = world.put(&content(seed, len), Compression::Auto).await;
                        promised.push((seed, len, stored.manifest));
                    }
                    Step::Abandon(seed, len) => {
                        let mut ingest = world.store.ingest(settings(Compression::Auto));
                        ingest.push(Bytes::from(content(seed, len))).await.unwrap();
                        ingest.checkpoint().await.unwrap();
                    }
                    Step::Crash(fates) => {
                        backend.power_cut(&fates);
                        let (reopened, report) = world.reopened().await;
                        world = reopened;
                        assert_eq!((report.damaged, report.missing), (vec![], vec![]));
                        assert_all_read(&world, &promised).await;
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn a_commit_without_its_sync_would_be_noticed() {
    let backend = Arc::new(LosingPacks::default());
    let world = World::over(tiny_packs(), Arc::clone(&backend) as Arc<dyn PackBackend>).await;
    let mut ingest = world.store.ingest(settings(Compression::Auto));
    ingest.push(Bytes::from(noise(20_000, 1))).await.unwrap();
    let (batch, _) = ingest.finish().await.unwrap();
    world.index.commit(&[batch]);
    backend.power_cut(&[0]);
    let (_, report) = world.reopened().await;
    assert_eq!(report.damaged.len(), 1, "or the test above proves nothing");
}
