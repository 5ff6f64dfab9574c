//! Room for frames that the catalogue keeps until their packs are synced.
//!
//! 1. A short content takes room for its frames and commits them with its rows. Without room it is synced like any other.
//! 2. Once enough has gathered, the packs are synced, and what the index keeps of them is forgotten.
//! 3. A pack that fails a sync keeps its frames in the index: they are stored anew from there.
//!
//! A crash before 2 leaves them in the index, and recovery writes them to their places again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use usp_model::Result;

use super::Packs;

/// Bytes that are kept at most: what a start may have to write again.
const REDO_BYTES_MAX: u64 = 16 << 20;
/// Bytes after which the packs are synced.
const REDO_BYTES_WANTED: u64 = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct RedoRoom {
    /// Granted, and not known to be durable in their packs.
    taken_bytes: AtomicU64,
    is_clearing: AtomicBool,
}

impl Packs {
    /// Whether frames of so many bytes may be committed instead of synced.
    pub(crate) fn take_redo(self: &Arc<Self>, size_bytes: u64) -> bool {
        if size_bytes == 0 {
            return true;
        }
        let taken = self.redo.taken_bytes.fetch_add(size_bytes, Ordering::Relaxed).saturating_add(size_bytes);
        let has_room = taken <= REDO_BYTES_MAX;
        if !has_room {
            self.redo.taken_bytes.fetch_sub(size_bytes, Ordering::Relaxed);
        }
        if taken >= REDO_BYTES_WANTED && !self.redo.is_clearing.swap(true, Ordering::AcqRel) {
            let packs = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = packs.clear_redo().await {
                    tracing::warn!(error = %error.chain(), "short contents are synced one by one for a while");
                }
                packs.redo.is_clearing.store(false, Ordering::Release);
            });
        }
        has_room
    }

    /// Syncs every open pack and lets the index forget the frames that this covers.
    async fn clear_redo(&self) -> Result<()> {
        let taken_bytes = self.redo.taken_bytes.load(Ordering::Relaxed);
        for pack in self.open_packs() {
            let durability = self.durability.lock().get(&pack).cloned();
            let Some(durability) = durability else { continue };
            // Whatever was committed by now was written before.
            let written = durability.written();
            self.sync_to(&durability, written).await?;
            self.index.forget_redo(pack, written).await?;
        }
        self.redo.taken_bytes.fetch_sub(taken_bytes, Ordering::Relaxed);
        Ok(())
    }
}
