//! How much of one open pack is durable, and one sync for all who wait.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Mutex;
use usp_model::{Error, ErrorKind, PackId, Result};
use usp_rt::is_planted;

/// Shared by the appender of a pack and those who wait for its bytes to be durable.
#[derive(Debug)]
pub(crate) struct Durability {
    pack: PackId,
    /// Bytes whose write has ended.
    written: AtomicU64,
    /// Bytes that a sync covered. Locked while a sync runs: waiters look again before they begin another.
    synced: Mutex<u64>,
    /// Bytes that the syncs which were begun ahead of need cover.
    ahead: AtomicU64,
    /// A write or sync failed: nothing is written any more, and no sync is asked for.
    lost: AtomicBool,
    reported: AtomicBool,
}

impl Durability {
    pub(crate) fn new(pack: PackId, durable_bytes: u64) -> Self {
        Self {
            pack,
            written: AtomicU64::new(durable_bytes),
            synced: Mutex::new(durable_bytes),
            ahead: AtomicU64::new(durable_bytes),
            lost: AtomicBool::new(false),
            reported: AtomicBool::new(false),
        }
    }

    pub(super) fn pack(&self) -> PackId {
        self.pack
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn note_written(&self, end: u64) {
        self.written.store(end, Ordering::Release);
    }

    /// Up to where to sync now, if `step_bytes` or more were written since this was last answered.
    ///
    /// Shape: only the appender asks.
    pub(super) fn sync_ahead_of(&self, step_bytes: u64) -> Option<u64> {
        let written = self.written();
        if written.saturating_sub(self.ahead.load(Ordering::Relaxed)) < step_bytes {
            return None;
        }
        self.ahead.store(written, Ordering::Relaxed);
        Some(written)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(super) fn mark_lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// True once, for the caller who marks the pack in the index.
    pub(super) fn is_first_report(&self) -> bool {
        !self.reported.swap(true, Ordering::AcqRel)
    }

    /// Returns once the first `target` bytes are durable; asks for a sync only if none that covers them has ended.
    ///
    /// Errors: that of the sync; `Unavailable` ever after, without another sync.
    pub(crate) async fn sync_to<F>(&self, target: u64, sync: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let mut synced = self.synced.lock().await;
        if self.is_lost() {
            return Err(Error::new(ErrorKind::Unavailable, "sync pack")
                .about(self.pack)
                .because("an earlier write or sync of this pack failed"));
        }
        if *synced >= target {
            return Ok(());
        }
        let covers = self.written();
        let mut ended = sync().await;
        if ended.is_err() && is_planted("sync-tried-again") {
            ended = sync().await;
        }
        if let Err(error) = ended {
            // Before the lock is released, so that no waiter syncs the failed descriptor again: the kernel reports a lost
            // write once, and success after that.
            self.mark_lost();
            return Err(error);
        }
        *synced = covers;
        Ok(())
    }
}
