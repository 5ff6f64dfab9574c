//! Memory as permits: bytes are asked for before they are buffered.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits count in KiB, so that a budget of terabytes still fits the semaphore.
const UNIT_BYTES: u64 = 1024;

/// One shared allowance of bytes. Waiting for it is the backpressure: a slow disk slows the socket.
#[derive(Clone)]
pub struct ByteBudget {
    permits: Arc<Semaphore>,
    unit_count_max: u32,
}

/// Bytes that were granted; given back on drop. Travels with the bytes it stands for.
#[must_use]
pub struct BytePermit {
    _held: Option<OwnedSemaphorePermit>,
}

impl ByteBudget {
    pub fn new(size_bytes: u64) -> Self {
        let unit_count_max = u32::try_from(size_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        let semaphore_max = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let unit_count_max = unit_count_max.min(semaphore_max);
        Self { permits: Arc::new(Semaphore::new(unit_count_max as usize)), unit_count_max }
    }

    /// Waits until `size_bytes` are free, first come first served. A wish larger than the whole budget gets all of it.
    ///
    /// Cancel: safe, nothing is held.
    pub async fn acquire(&self, size_bytes: u64) -> BytePermit {
        let units =
            u32::try_from(size_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.unit_count_max);
        // The semaphore is never closed, so the only error cannot happen; without a permit the bytes are still bounded
        // by the caller's slab.
        BytePermit { _held: Arc::clone(&self.permits).acquire_many_owned(units).await.ok() }
    }

    pub fn free_bytes(&self) -> u64 {
        self.permits.available_permits() as u64 * UNIT_BYTES
    }
}

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBudget").field("free_bytes", &self.free_bytes()).finish_non_exhaustive()
    }
}

impl fmt::Debug for BytePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BytePermit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_when_the_permit_is_dropped() {
        let budget = ByteBudget::new(1 << 20);
        let permit = budget.acquire(1 << 19).await;
        assert_eq!(budget.free_bytes(), 1 << 19);
        drop(permit);
        assert_eq!(budget.free_bytes(), 1 << 20);
    }

    #[tokio::test]
    async fn a_wish_over_the_budget_gets_all_of_it_and_no_more() {
        let budget = ByteBudget::new(1 << 20);
        let _all = budget.acquire(1 << 40).await;
        assert_eq!(budget.free_bytes(), 0);
    }
}
