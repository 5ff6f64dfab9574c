//! Counters of the content store, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the store did since it was opened. Every figure only rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentStats {
    /// Plain bytes that were pushed.
    pub bytes_in: u64,
    /// Plain bytes of chunks that were not stored before.
    pub bytes_new: u64,
    /// Plain bytes of chunks that were.
    pub bytes_deduplicated: u64,
    /// Frames appended.
    pub frames: u64,
    /// Their bytes, with headers.
    pub stored_bytes: u64,
    /// Syncs of packs; one that callers shared counts once.
    pub syncs: u64,
    /// Those that failed.
    pub syncs_failed: u64,
    /// Packs that were created.
    pub packs_begun: u64,
    /// Packs that were sealed since the store was opened.
    pub packs_sealed: u64,
    /// Plain bytes read and verified.
    pub bytes_out: u64,
    /// Frames that failed a check when they were read.
    pub frames_corrupt: u64,
}

macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        /// The counters behind [`ContentStats`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)+ }

        impl Counters {
            pub(crate) fn snapshot(&self) -> ContentStats {
                ContentStats { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters!(
    bytes_in,
    bytes_new,
    bytes_deduplicated,
    frames,
    stored_bytes,
    syncs,
    syncs_failed,
    packs_begun,
    packs_sealed,
    bytes_out,
    frames_corrupt,
);

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
