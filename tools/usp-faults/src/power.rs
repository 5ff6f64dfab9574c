//! A place that loses what was not synced.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use usp_content::OpenPacks;
use usp_model::{ByteRange, PackId, Result};

/// A place where packs are written, whose unsynced writes survive a power cut whole, half, as zeros, or not at all.
#[derive(Debug)]
pub struct PowerCuts<P: ?Sized> {
    packs: Mutex<BTreeMap<PackId, Pack>>,
    inner: Arc<P>,
}

#[derive(Debug, Default)]
struct Pack {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Bytes),
    Truncate(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let offset = position(*offset);
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                if let Some(target) = bytes.get_mut(offset..end) {
                    target.copy_from_slice(written);
                }
            }
            Self::Truncate(len) => bytes.resize(position(*len), 0),
        }
    }

    /// What of the change a power cut leaves.
    fn torn(&self, fate: u8) -> Option<Self> {
        match (self, fate % 4) {
            (_, 0) => None,
            (Self::Write(offset, written), 1) => Some(Self::Write(*offset, vec![0; written.len()].into())),
            (Self::Write(offset, written), 2) => {
                Some(Self::Write(*offset, written.slice(..written.len() / 2)))
            }
            _ => Some(self.clone()),
        }
    }
}

impl Pack {
    fn settle(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }
}

impl<P: OpenPacks + ?Sized> PowerCuts<P> {
    /// Shape: `inner` holds no packs yet.
    pub fn new(inner: Arc<P>) -> Self {
        Self { packs: Mutex::default(), inner }
    }

    /// The power goes: each unsynced change meets its own fate, independent of order.
    ///
    /// Shape: of `fates`, which come in turn, the remainder by 4 counts. 0: nothing is left; 1: zeros are; 2: half is; 3: all.
    pub async fn cut(&self, fates: &[u8]) -> Result<()> {
        let mut fates = fates.iter().cycle();
        let mut left = Vec::new();
        for (id, pack) in &mut *self.packs.lock() {
            for change in std::mem::take(&mut pack.unsynced) {
                if let Some(torn) = change.torn(fates.next().copied().unwrap_or_default()) {
                    torn.apply(&mut pack.durable);
                }
            }
            left.push((*id, Bytes::copy_from_slice(&pack.durable)));
        }
        for (id, bytes) in left {
            self.inner.truncate(id, 0).await?;
            self.inner.append(id, 0, vec![bytes]).await?;
        }
        Ok(())
    }

    fn note(&self, pack: PackId, change: Change) {
        self.packs.lock().entry(pack).or_default().unsynced.push(change);
    }
}

#[async_trait]
impl<P: OpenPacks + ?Sized> OpenPacks for PowerCuts<P> {
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()> {
        self.inner.create(pack, header.clone()).await?;
        self.packs.lock().insert(pack, Pack { durable: header.to_vec(), unsynced: Vec::new() });
        Ok(())
    }

    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()> {
        let written = Bytes::from(parts.concat());
        self.inner.append(pack, offset, vec![written.clone()]).await?;
        self.note(pack, Change::Write(offset, written));
        Ok(())
    }

    async fn sync(&self, pack: PackId) -> Result<()> {
        self.inner.sync(pack).await?;
        self.packs.lock().entry(pack).or_default().settle();
        Ok(())
    }

    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.inner.truncate(pack, size_bytes).await?;
        self.note(pack, Change::Truncate(size_bytes));
        Ok(())
    }

    async fn retire(&self, pack: PackId) {
        self.inner.retire(pack).await;
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        self.inner.read(pack, range).await
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.inner.len(pack).await
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        self.inner.list().await
    }

    async fn move_to_lost_and_found(&self, pack: PackId) -> Result<()> {
        self.inner.move_to_lost_and_found(pack).await?;
        self.packs.lock().remove(&pack);
        Ok(())
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.inner.delete(pack).await?;
        self.packs.lock().remove(&pack);
        Ok(())
    }

    async fn strays(&self) -> Result<Vec<String>> {
        self.inner.strays().await
    }

    async fn drop_cache(&self, pack: PackId) -> Result<()> {
        self.inner.drop_cache(pack).await
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
