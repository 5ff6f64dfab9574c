//! Where packs live. A backend keeps bytes under the ids of packs; it knows nothing of frames.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use usp_model::{ByteRange, PackId, Result};

mod local;
mod memory;

pub use local::{EraseLock, LocalPacks};
pub use memory::MemoryPacks;

/// Keeps packs. Every call names its pack; the content store never writes below a length that it synced.
///
/// Errors of all calls: `NotFound` for a pack that is not there, `StorageFull` for want of space, `Unavailable` for
/// everything else that the medium answers. Cancel: a call that began may run to its end unseen.
#[async_trait]
pub trait PackBackend: fmt::Debug + Send + Sync + 'static {
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

    /// Shape: exactly `range.len()` bytes. Errors: `OutOfRange` when the pack ends before the range does.
    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes>;

    /// Bytes of the pack.
    async fn len(&self, pack: PackId) -> Result<u64>;

    /// Every pack there is, in order of the ids.
    async fn list(&self) -> Result<Vec<PackId>>;

    /// What lies among the packs and is none, by name. Nothing touches it.
    async fn strays(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Has the next read come from the medium: what is remembered of the pack's bytes may be dropped.
    async fn drop_cache(&self, _pack: PackId) -> Result<()> {
        Ok(())
    }

    /// Bytes that can still be written. `None` where there is no such bound.
    async fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Moves the pack to lost+found, out of sight of all other calls. Durable before it returns.
    async fn set_aside(&self, pack: PackId) -> Result<()>;

    /// Erases the pack. Durable before it returns; an absent pack is no error.
    ///
    /// Errors: `Locked` while a backup copies packs; it is tried again later.
    async fn delete(&self, pack: PackId) -> Result<()>;
}
