//! The bytes that one ingest gathers before they are cut, and the permits they hold.

use futures::FutureExt;
use usp_rt::{ByteBudget, BytePermit};

/// What a content takes at first. While more arrives it takes as much again as it has, up to a whole slab.
const FIRST_BYTES_MIN: usize = 16 << 10;
/// What it takes at first for its second slab and every later one: it is known not to be small by then.
const LATER_BYTES_MIN: usize = 64 << 10;

/// Gathered bytes. The first `seen` of them follow the last boundary of the slab before and were hashed with it.
///
/// Those carried bytes hold no permit: they are less than one chunk per ingest, and an ingest that held on to them while
/// it waits for more could wait for ever for others that do the same.
#[derive(Debug)]
pub(super) struct Slab {
    bytes: Vec<u8>,
    seen: usize,
    granted: usize,
    grant_bytes_min: usize,
    permits: Vec<BytePermit>,
}

impl Slab {
    /// The first slab of an ingest, with the bytes that a former one left.
    pub(super) fn first(tail: Vec<u8>) -> Self {
        Self::beginning_with(tail, FIRST_BYTES_MIN)
    }

    /// A later slab, with the bytes after the last boundary of the one before.
    pub(super) fn after(tail: Vec<u8>) -> Self {
        Self::beginning_with(tail, LATER_BYTES_MIN)
    }

    fn beginning_with(bytes: Vec<u8>, grant_bytes_min: usize) -> Self {
        Self { seen: bytes.len(), bytes, granted: 0, grant_bytes_min, permits: Vec::new() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_parts(self) -> (Vec<u8>, usize, Vec<BytePermit>) {
        (self.bytes, self.seen, self.permits)
    }

    /// How many bytes may be filled in; 0 means that the slab is to be cut first.
    ///
    /// An empty slab waits for its permit. One that holds permits does not wait for more: it is cut as it is when none
    /// are free, so that no two ingests wait for each other with bytes in their hands.
    pub(super) async fn make_room(
        &mut self,
        wanted: usize,
        slab_bytes_max: usize,
        budget: &ByteBudget,
    ) -> usize {
        let filled = self.bytes.len() - self.seen;
        if filled < self.granted {
            return self.granted - filled;
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
        self.granted += grant;
        self.bytes.reserve_exact(grant);
        grant
    }

    /// Shape: at most as many bytes as `make_room` answered.
    pub(super) fn fill(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}
