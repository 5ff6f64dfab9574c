//! A full disk: bytes are refused before it is full, and what makes room still works when it is.
//!
//! 1. With less free space than `free_space_bytes_min` nothing is taken in: uploads hear `StorageFull`, what was committed of
//!    them stays, and they go on when there is space again. Reading, deleting and collecting go on meanwhile.
//! 2. Before that, while there is space, some is held back: the ballast.
//! 3. When the disk is full all the same (others write to it too), the ballast is given back, so that deleting and
//!    collecting find the little that the catalogue needs for them.
//! 4. With space again the ballast is taken anew, and given up for good once there is plenty.

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

use crate::storage::Storage;

/// How often free space is looked at when nothing is taken in. Others write to the disk, too.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// It is looked at again when this part of what is left above the least was taken in, so that a fast upload is seen in time.
const LOOK_AFTER_PART: u64 = 4;
/// The ballast is taken when less than this many times the least free space is left, and given up above twice of that.
const NEAR: u64 = 4;

/// The medium that storage writes to, as far as its fill level matters. Blocks for a moment.
pub trait Room: fmt::Debug + Send + Sync + 'static {
    /// Bytes that can still be written. `None`: it cannot be told.
    fn free_bytes(&self) -> Option<u64>;
    /// Bytes that are held back; 0: none ever.
    fn ballast_bytes(&self) -> u64;
    fn has_ballast(&self) -> bool;
    /// Holds the bytes back. `false` when there are not so many.
    fn take_ballast(&self) -> bool;
    /// Gives them back. `false` when none were held.
    fn drop_ballast(&self) -> bool;
}

/// What uploads ask before they take bytes in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    room: Option<Arc<dyn Room>>,
    is_short: Arc<AtomicBool>,
    /// Bytes that may be taken in before the next look.
    allowance: Arc<AtomicI64>,
    look_now: Arc<Notify>,
}

impl Space {
    pub(crate) fn of(room: Arc<dyn Room>) -> Self {
        Self { room: Some(room), ..Self::default() }
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
    /// much as would be held back.
    pub(crate) fn spares(&self, bytes: u64) -> bool {
        let Some(room) = &self.room else { return true };
        let reserved = if room.has_ballast() { 0 } else { room.ballast_bytes() };
        room.free_bytes().is_none_or(|free| free >= bytes.saturating_add(reserved))
    }

    /// Gives up what was held back. `true` when that may have made room.
    pub(crate) fn make_room(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room.drop_ballast())
    }

    /// Looks once.
    pub(crate) fn look(&self, free_bytes_min: u64) {
        let Some(room) = &self.room else { return };
        let Some(free) = room.free_bytes() else { return };
        let allowance = free.saturating_sub(free_bytes_min) / LOOK_AFTER_PART;
        self.allowance.store(i64::try_from(allowance).unwrap_or(i64::MAX), Ordering::Relaxed);
        let was_short = self.is_short.swap(free < free_bytes_min, Ordering::Relaxed);
        if free < free_bytes_min && !was_short {
            tracing::error!(free, least = free_bytes_min, "the disk is nearly full: uploads are refused");
        }
        if free >= free_bytes_min && was_short {
            tracing::info!(free, "there is space again: uploads are taken");
        }
        let ballast = room.ballast_bytes();
        if ballast == 0 {
            return;
        }
        let near = free_bytes_min.saturating_mul(NEAR);
        match room.has_ballast() {
            true if free < ballast / 4 => {
                tracing::error!(free, "the disk is full: the space that was held back is given back");
                room.drop_ballast();
            }
            true if free > near.saturating_mul(2).saturating_add(ballast) => {
                room.drop_ballast();
            }
            // Only what is there beyond the least, or taking it would make the disk short.
            false if free < near && free >= free_bytes_min.saturating_add(ballast) => {
                room.take_ballast();
            }
            true | false => {}
        }
    }
}

impl Storage {
    /// Says which medium is written to, so that its fill level is minded.
    #[must_use]
    pub fn with_room(mut self, room: Arc<dyn Room>) -> Self {
        self.space = Space::of(room);
        self.space.look(self.config.free_space_bytes_min);
        self
    }

    pub(crate) async fn keep_room(&self, shutdown: &Shutdown) {
        if self.space.room.is_none() {
            return;
        }
        loop {
            let (space, least) = (self.space.clone(), self.config.free_space_bytes_min);
            let looked = tokio::task::spawn_blocking(move || space.look(least)).await;
            if looked.is_err() {
                tracing::error!("free space could not be looked at");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.space.look_now.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// The content until the disk is nearly full.
    pub(crate) fn while_there_is_room(&self, content: ByteStream) -> Result<ByteStream> {
        self.space.check()?;
        if self.space.room.is_none() {
            return Ok(content);
        }
        let space = self.space.clone();
        let count =
            move |piece: Result<Bytes>| piece.and_then(|piece| space.take_in(piece.len()).map(|()| piece));
        Ok(content.map(count).boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const LEAST: u64 = 100;

    #[derive(Debug, Default)]
    struct FakeRoom {
        free: AtomicU64,
        has_ballast: AtomicBool,
    }

    impl Room for FakeRoom {
        fn free_bytes(&self) -> Option<u64> {
            Some(self.free.load(Ordering::Relaxed))
        }

        fn ballast_bytes(&self) -> u64 {
            40
        }

        fn has_ballast(&self) -> bool {
            self.has_ballast.load(Ordering::Relaxed)
        }

        fn take_ballast(&self) -> bool {
            self.free.fetch_sub(40, Ordering::Relaxed);
            !self.has_ballast.swap(true, Ordering::Relaxed)
        }

        fn drop_ballast(&self) -> bool {
            self.free.fetch_add(40, Ordering::Relaxed);
            self.has_ballast.swap(false, Ordering::Relaxed)
        }
    }

    #[test]
    fn uploads_stop_before_the_disk_is_full_and_the_ballast_comes_and_goes() {
        let room = Arc::new(FakeRoom::default());
        let space = Space::of(Arc::clone(&room) as Arc<dyn Room>);
        let see = |free: u64| {
            room.free.store(free, Ordering::Relaxed);
            space.look(LEAST);
            (space.check().is_ok(), room.has_ballast())
        };
        assert_eq!(see(10_000), (true, false), "with plenty nothing is held back");
        assert_eq!(see(390), (true, true), "near the end it is");
        assert_eq!(see(350), (true, true));
        assert_eq!(see(99), (false, true), "uploads stop, the ballast stays");
        assert_eq!(see(5), (false, false), "on a full disk it is given back");
        assert_eq!(see(45), (false, false), "and not taken from what it made");
        assert_eq!(see(120), (true, false), "uploads go on");
        assert_eq!(see(200), (true, true));
        assert_eq!(see(100_000), (true, false));
        assert_eq!(space.check().map_err(|error| error.kind()), Ok(()));
    }

    #[test]
    fn what_can_wait_leaves_what_deleting_needs() {
        let room = Arc::new(FakeRoom::default());
        let space = Space::of(Arc::clone(&room) as Arc<dyn Room>);
        room.free.store(50, Ordering::Relaxed);
        assert!(space.spares(10) && !space.spares(11), "as much as the ballast stays");
        room.has_ballast.store(true, Ordering::Relaxed);
        assert!(space.spares(50) && !space.spares(51), "it is held back");
        assert!(Space::default().spares(u64::MAX));
    }

    #[tokio::test]
    async fn a_fast_upload_has_the_disk_looked_at_before_the_next_turn() {
        let room = Arc::new(FakeRoom::default());
        let space = Space::of(Arc::clone(&room) as Arc<dyn Room>);
        room.free.store(500, Ordering::Relaxed);
        space.look(LEAST);
        space.take_in(60).unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(1), space.look_now.notified()).await;
        assert!(asked.is_err(), "a little is within what the last look allowed");
        space.take_in(60).unwrap();
        space.look_now.notified().await;
    }
}
