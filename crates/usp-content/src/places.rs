//! Places that hold packs: one where packs are written, one where complete packs stay. A place keeps bytes under the ids of
//! packs and knows nothing of frames. Callers use [`PackStore`](crate::PackStore), which knows what lies where.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use usp_model::{ByteRange, PackId, Result};

mod local;
mod memory;

pub use local::{DeleteLock, LocalPacks};
pub use memory::MemoryPacks;

/// Holds packs while they are written. The content store never writes below a length that it synced.
///
/// Errors of all calls: `NotFound` for a pack that is not there, `StorageFull` for want of space, `Unavailable` for
/// everything else that the medium answers. Cancel: a call that began may run to its end unseen.
/// Source: docs/formats/pack.md, "Operations".
#[async_trait]
pub trait OpenPacks: fmt::Debug + Send + Sync + 'static {
    /// Makes a pack that holds `header`. Its bytes and its name are durable before this returns.
    ///
    /// Errors: `Conflict` when it is there already. After any error no pack of that id holds bytes that count.
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()>;

    /// Writes `parts`, one after the other, from `offset` on: all of them, or an error.
    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()>;

    /// Makes everything written to the pack before the call durable, and its length. Never called again once it failed.
    async fn sync(&self, pack: PackId) -> Result<()>;

    /// Cuts the pack to `size_bytes`. Durable after the next `sync`.
    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()>;

    /// Notes that nothing is written to the pack any more; what was kept for a writer may go.
    async fn retire(&self, pack: PackId);

    /// Shape: exactly `range.len()` bytes, as last written. Errors: `OutOfRange` when the pack ends before the range does.
    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes>;

    /// Bytes of the pack.
    async fn len(&self, pack: PackId) -> Result<u64>;

    /// Every pack there is, in order of the ids.
    async fn list(&self) -> Result<Vec<PackId>>;

    /// Moves the pack to lost+found, out of sight of all other calls. Durable before it returns.
    async fn move_to_lost_and_found(&self, pack: PackId) -> Result<()>;

    /// Deletes the pack. Durable before it returns; an absent pack is no error.
    ///
    /// Errors: `Locked` while a backup copies packs; it is tried again later.
    async fn delete(&self, pack: PackId) -> Result<()>;

    /// Files among the packs that are none, by name. They are left alone.
    async fn strays(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Has the next read come from the medium: what is cached of the pack may be dropped.
    async fn drop_cache(&self, _pack: PackId) -> Result<()> {
        Ok(())
    }
}

/// Holds complete packs, which never change.
///
/// Errors of all calls: as those of [`OpenPacks`]. Cancel: a call that began may run to its end unseen.
#[async_trait]
pub trait SealedPacks: fmt::Debug + Send + Sync + 'static {
    /// Takes a pack in. Durable before it returns.
    ///
    /// Shape: at every moment the pack is there whole, or not at all. Errors: `Conflict` when a pack of that id is there,
    /// which stays as it is; after any other error the pack may be there or not.
    async fn put(&self, source: PackSource) -> Result<()>;

    /// Shape: exactly `range.len()` bytes. Errors: `OutOfRange` when the pack ends before the range does.
    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes>;

    /// Bytes of the pack.
    async fn len(&self, pack: PackId) -> Result<u64>;

    /// Every pack there is, in order of the ids.
    async fn list(&self) -> Result<Vec<PackId>>;

    /// Deletes the pack. Durable before it returns; an absent pack is no error.
    ///
    /// Errors: `Locked` while a backup copies packs; it is tried again later.
    async fn delete(&self, pack: PackId) -> Result<()>;

    /// Has the next read come from the medium: what is cached of the pack may be dropped.
    async fn drop_cache(&self, _pack: PackId) -> Result<()> {
        Ok(())
    }
}

/// A complete pack in the place where it was written, for a place that takes it in.
#[derive(Debug, Clone)]
pub struct PackSource {
    open: Arc<dyn OpenPacks>,
    pack: PackId,
    size_bytes: u64,
}

impl PackSource {
    /// The first `size_bytes` of `pack`, which is not written meanwhile.
    pub fn new(open: Arc<dyn OpenPacks>, pack: PackId, size_bytes: u64) -> Self {
        Self { open, pack, size_bytes }
    }

    /// Its id, in both places.
    pub fn pack(&self) -> PackId {
        self.pack
    }

    /// Bytes to be taken in.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What one read at a time takes to go through the whole pack.
    ///
    /// Shape: in order, of `piece_bytes_max` bytes each but for the last.
    pub fn ranges(&self, piece_bytes_max: u64) -> impl Iterator<Item = ByteRange> + use<> {
        let (end, step) = (self.size_bytes, piece_bytes_max.max(1));
        (0..end.div_ceil(step)).map(move |index| {
            let start = index * step;
            ByteRange::at(start, step.min(end - start))
        })
    }

    /// Shape: exactly `range.len()` bytes. Errors: as [`OpenPacks::read`].
    pub async fn read(&self, range: ByteRange) -> Result<Bytes> {
        self.open.read(self.pack, range).await
    }
}
