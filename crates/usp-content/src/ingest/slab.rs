//! The bytes that one ingest buffers before they are cut, and the permits for them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use usp_rt::{ByteBudget, BytePermit};

/// What a content takes at first. While more arrives it takes as much again as it has, up to a whole slab.
const FIRST_BYTES_MIN: usize = 16 << 10;
/// What it takes at first for its second slab and every later one: it is known not to be small by then.
const LATER_BYTES_MIN: usize = 64 << 10;

/// Buffered bytes and their permits. Bytes that wait in the cutter for the rest of their chunk need none: they are less than
/// one chunk per ingest, and ingests that kept permits while they wait for more could wait for each other for ever.
#[derive(Debug)]
pub(super) struct Slab {
    bytes: Vec<u8>,
    granted: usize,
    grant_bytes_min: usize,
    permits: Vec<BytePermit>,
    /// When it got its first permit.
    begun_at: Option<Instant>,
}

impl Slab {
    pub(super) fn first() -> Self {
        Self {
            bytes: Vec::new(),
            granted: 0,
            grant_bytes_min: FIRST_BYTES_MIN,
            permits: Vec::new(),
            begun_at: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has been filling for so long.
    pub(super) fn is_older_than(&self, time: Duration) -> bool {
        self.begun_at.is_some_and(|begun_at| begun_at.elapsed() >= time)
    }

    /// Returns the bytes and their permits, and leaves an empty slab with capacity for as many: growing it step by step would
    /// copy most of them.
    pub(super) fn take(&mut self) -> (Bytes, Vec<BytePermit>) {
        let room = Vec::with_capacity(self.bytes.len());
        (self.granted, self.begun_at) = (0, None);
        self.grant_bytes_min = LATER_BYTES_MIN;
        (std::mem::replace(&mut self.bytes, room).into(), std::mem::take(&mut self.permits))
    }

    /// How many bytes may be filled in; 0 means that the slab is to be cut first.
    ///
    /// An empty slab waits for its permit. One that holds permits does not wait for more: it is cut as it is when none are
    /// free, so that no two ingests wait for each other while both hold permits.
    pub(super) async fn make_room(
        &mut self,
        wanted: usize,
        slab_bytes_max: usize,
        budget: &ByteBudget,
    ) -> usize {
        if self.bytes.len() < self.granted {
            return self.granted - self.bytes.len();
        }
        let allowed = slab_bytes_max.saturating_sub(self.granted);
        let grant = wanted.max(self.grant_bytes_min).max(self.granted).min(allowed);
        if grant == 0 {
            return 0;
        }
        let asked = budget.acquire(grant as u64);
        let permit = if self.granted == 0 { Some(asked.await) } else { asked.now_or_never() };
        let Some(permit) = permit else {
            return 0;
        };
        self.permits.push(permit);
        self.begun_at.get_or_insert_with(Instant::now);
        self.granted += grant;
        self.bytes.reserve_exact(grant);
        grant
    }

    /// Shape: at most as many bytes as `make_room` answered.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}
