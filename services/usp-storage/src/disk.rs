//! Disk space: bytes are refused before the disk is full, and what frees space still works when it is.
//!
//! 1. With less free space than `free_space_bytes_min` no bytes are taken in: uploads get `StorageFull`, what was committed
//!    of them stays, and they go on when there is space again. Reading, deleting and collecting go on meanwhile.
//! 2. Before that, while there is space, some of it is reserved: the ballast.
//! 3. When the disk is full all the same (others write to it too), the ballast is dropped, so that deleting and collecting
//!    find the little that the catalogue needs for them.
//! 4. With space again the ballast is taken anew, and dropped for good once there is plenty.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Notify;
use usp_api::ByteStream;
use usp_model::{Error, ErrorKind, Result};
use usp_rt::Shutdown;

/// How often free space is looked at when nothing is taken in. Others write to the disk, too.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// It is looked at again when this part of what is left above the least was taken in, so that a fast upload is seen in time.
const LOOK_AFTER_PART: u64 = 4;
/// The ballast is taken when less than this many times the least free space is left, and given up above twice of that.
const NEAR: u64 = 4;

/// The medium that storage writes to, as far as its fill level matters. Blocks for a moment.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Bytes that can still be written. `None`: it cannot be told.
    fn free_bytes(&self) -> Option<u64>;
    /// Bytes that the ballast has; 0: there is never one.
    fn ballast_bytes(&self) -> u64;
    /// Whether the bytes are reserved now.
    fn has_ballast(&self) -> bool;
    /// Reserves the bytes. `false` when there are not so many.
    fn take_ballast(&self) -> bool;
    /// Frees them. `false` when none were reserved.
    fn drop_ballast(&self) -> bool;
}

/// What uploads ask before they take bytes in.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskSpace {
    /// `None`: nobody minds how full the disk is.
    disk: Option<Arc<dyn Disk>>,
    free_bytes_min: u64,
    is_short: Arc<AtomicBool>,
    /// Bytes that may be taken in before the next look.
    allowance: Arc<AtomicI64>,
    look_now: Arc<Notify>,
}

impl DiskSpace {
    /// Looks once, so that it is right from the first upload on.
    pub(crate) fn of(disk: Option<Arc<dyn Disk>>, free_bytes_min: u64) -> Self {
        let space = Self { disk, free_bytes_min, ..Self::default() };
        space.look();
        space
    }

    /// Counts what is taken in. Errors: as [`Self::check`].
    fn take_in(&self, bytes: usize) -> Result<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.allowance.fetch_sub(bytes, Ordering::Relaxed) <= bytes {
            self.look_now.notify_one();
        }
        self.check()
    }

    /// Errors: `StorageFull` while the disk is nearly full.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.is_short.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::StorageFull, "take bytes in").because(
            "the disk of the store is nearly full; uploads that were begun keep what was received and go on when there \
             is space",
        ))
    }

    /// Whether so many bytes may be written by whoever can wait: not out of what deleting and collecting need, which is as
    /// much as the ballast has.
    pub(crate) fn spares(&self, bytes: u64) -> bool {
        let Some(disk) = &self.disk else { return true };
        let reserved = if disk.has_ballast() { 0 } else { disk.ballast_bytes() };
        disk.free_bytes().is_none_or(|free| free >= bytes.saturating_add(reserved))
    }

    /// Frees what was reserved. `true` when there is more space now.
    pub(crate) fn drop_ballast(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.drop_ballast())
    }

    /// Looks once.
    pub(crate) fn look(&self) {
        let free_bytes_min = self.free_bytes_min;
        let Some(disk) = &self.disk else { return };
        let Some(free) = disk.free_bytes() else { return };
        let allowance = free.saturating_sub(free_bytes_min) / LOOK_AFTER_PART;
        self.allowance.store(i64::try_from(allowance).unwrap_or(i64::MAX), Ordering::Relaxed);
        let was_short = self.is_short.swap(free < free_bytes_min, Ordering::Relaxed);
        if free < free_bytes_min && !was_short {
            tracing::error!(free, least = free_bytes_min, "the disk is nearly full: uploads are refused");
        }
        if free >= free_bytes_min && was_short {
            tracing::info!(free, "there is space again: uploads are taken");
        }
        let ballast = disk.ballast_bytes();
        if ballast == 0 {
            return;
        }
        let near = free_bytes_min.saturating_mul(NEAR);
        match disk.has_ballast() {
            true if free < ballast / 4 => {
                tracing::error!(free, "the disk is full: the ballast is dropped");
                disk.drop_ballast();
            }
            true if free > near.saturating_mul(2).saturating_add(ballast) => {
                disk.drop_ballast();
            }
            // Only what is there beyond the least, or taking it would make the disk short.
            false if free < near && free >= free_bytes_min.saturating_add(ballast) => {
                disk.take_ballast();
            }
            true | false => {}
        }
    }

    /// Looks at the disk again and again, until `shutdown`.
    pub(crate) async fn watch(&self, shutdown: &Shutdown) {
        if self.disk.is_none() {
            return;
        }
        loop {
            let space = self.clone();
            let looked = tokio::task::spawn_blocking(move || space.look()).await;
            if looked.is_err() {
                tracing::error!("free space could not be looked at");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.look_now.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// The content, which ends with `StorageFull` once the disk is nearly full.
    pub(crate) fn watched(&self, content: ByteStream) -> Result<ByteStream> {
        self.check()?;
        if self.disk.is_none() {
            return Ok(content);
        }
        let space = self.clone();
        let count =
            move |piece: Result<Bytes>| piece.and_then(|piece| space.take_in(piece.len()).map(|()| piece));
        Ok(content.map(count).boxed())
    }
}

#[cfg(test)]
mod tests;
