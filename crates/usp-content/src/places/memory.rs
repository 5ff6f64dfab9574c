//! Packs in memory, for tests.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use usp_model::{ByteRange, Error, ErrorKind, PackId, Result};

use super::{OpenPacks, PackSource, SealedPacks};

/// Packs that live as long as this value. Either trait shows all of them.
#[derive(Debug, Default)]
pub struct MemoryPacks {
    packs: Mutex<BTreeMap<PackId, Vec<u8>>>,
    lost_and_found: Mutex<BTreeMap<PackId, Vec<u8>>>,
}

impl MemoryPacks {
    /// The packs that were moved to lost+found.
    pub fn lost_and_found(&self) -> Vec<PackId> {
        self.lost_and_found.lock().keys().copied().collect()
    }

    /// As [`OpenPacks::read`].
    pub fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        self.with(pack, "read pack", |bytes| {
            let found = bytes.get(position(range.start())..position(range.end()));
            found
                .map(Bytes::copy_from_slice)
                .ok_or_else(|| Error::new(ErrorKind::OutOfRange, "read pack").about(pack))
        })
    }

    /// As [`OpenPacks::len`].
    pub fn len(&self, pack: PackId) -> Result<u64> {
        self.with(pack, "measure pack", |bytes| Ok(bytes.len() as u64))
    }

    /// As [`OpenPacks::list`].
    pub fn list(&self) -> Vec<PackId> {
        self.packs.lock().keys().copied().collect()
    }

    fn insert(&self, pack: PackId, bytes: Vec<u8>, action: &'static str) -> Result<()> {
        let mut packs = self.packs.lock();
        if packs.contains_key(&pack) {
            return Err(Error::new(ErrorKind::Conflict, action).about(pack));
        }
        packs.insert(pack, bytes);
        Ok(())
    }

    fn remove(&self, pack: PackId) {
        self.packs.lock().remove(&pack);
    }

    fn with<T>(
        &self,
        pack: PackId,
        action: &'static str,
        job: impl FnOnce(&mut Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let mut packs = self.packs.lock();
        let bytes =
            packs.get_mut(&pack).ok_or_else(|| Error::new(ErrorKind::NotFound, action).about(pack))?;
        job(bytes)
    }
}

// The inherent methods come first: where a trait forwards to one of its own name, it does not call itself.

#[async_trait]
impl OpenPacks for MemoryPacks {
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()> {
        self.insert(pack, header.to_vec(), "create pack")
    }

    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()> {
        self.with(pack, "append to pack", |bytes| {
            let offset = position(offset);
            let written = parts.concat();
            let end = offset.saturating_add(written.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(target) = bytes.get_mut(offset..end) {
                target.copy_from_slice(&written);
            }
            Ok(())
        })
    }

    async fn sync(&self, pack: PackId) -> Result<()> {
        self.with(pack, "sync pack", |_| Ok(()))
    }

    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.with(pack, "truncate pack", |bytes| {
            bytes.resize(position(size_bytes), 0);
            Ok(())
        })
    }

    async fn retire(&self, _pack: PackId) {}

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        self.read(pack, range)
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.len(pack)
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        Ok(self.list())
    }

    async fn move_to_lost_and_found(&self, pack: PackId) -> Result<()> {
        let bytes = self.packs.lock().remove(&pack);
        let bytes =
            bytes.ok_or_else(|| Error::new(ErrorKind::NotFound, "move pack to lost+found").about(pack))?;
        self.lost_and_found.lock().insert(pack, bytes);
        Ok(())
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.remove(pack);
        Ok(())
    }
}

#[async_trait]
impl SealedPacks for MemoryPacks {
    async fn put(&self, source: PackSource) -> Result<()> {
        let bytes = source.read(ByteRange::whole(source.size_bytes())).await?;
        self.insert(source.pack(), bytes.to_vec(), "put pack")
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        self.read(pack, range)
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.len(pack)
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        Ok(self.list())
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.remove(pack);
        Ok(())
    }
}

/// Memory is addressed by `usize`; an offset beyond it lies beyond every pack.
fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
