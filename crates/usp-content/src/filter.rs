//! Which chunks are certainly new: most bytes that arrive were never stored, and looking them up would be wasted work.
//!
//! A blocked Bloom filter over the digests of the index. `false` is certain, but for one case that costs space and nothing
//! else: a chunk that was appended while the filter was being filled anew may be stored a second time, and the commit then
//! uses whichever row stands. While it is being filled it says that everything may be known.
//!
//! Source: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use usp_model::{ChunkId, Digest, Result};

use crate::index::ChunkIndex;

/// Bits for each digest that a filter was made for.
const BITS_PER_DIGEST: u64 = 8;
/// Bits that one digest sets, all in one line of the processor's cache.
const PROBE_COUNT: u32 = 5;
const WORDS_PER_BLOCK: usize = 8;
const BITS_PER_BLOCK: u64 = 512;
const DIGEST_COUNT_MIN: u64 = 1 << 16;
/// Digests of one page while it is filled.
const PAGE_COUNT: u32 = 4_096;

#[derive(Debug)]
pub(crate) struct DigestFilter {
    bits: RwLock<Arc<Bits>>,
    is_filling: AtomicBool,
}

#[derive(Debug)]
struct Bits {
    blocks: Box<[[AtomicU64; WORDS_PER_BLOCK]]>,
    digest_count_max: u64,
    digest_count: AtomicU64,
    is_complete: AtomicBool,
}

impl DigestFilter {
    /// For an index of so many chunks. Until it was filled `may_hold` is always true, unless there are none.
    pub(crate) fn for_chunks(chunk_count: u64) -> Self {
        let bits = Bits::for_digests(chunk_count.saturating_mul(2), chunk_count == 0);
        Self { bits: RwLock::new(Arc::new(bits)), is_filling: AtomicBool::new(false) }
    }

    pub(crate) fn may_hold(&self, digest: &Digest) -> bool {
        let bits = self.bits.read();
        !bits.is_complete.load(Ordering::Acquire) || bits.may_hold(digest)
    }

    /// Notes that a chunk is about to be known. `true`: the filter is too small by now; fill it again.
    pub(crate) fn add(&self, digest: &Digest) -> bool {
        let bits = self.bits.read();
        bits.add(digest);
        bits.digest_count.load(Ordering::Relaxed) > bits.digest_count_max
            && !self.is_filling.load(Ordering::Relaxed)
    }

    /// Adds every chunk of the index, to a new filter if this one is too small. One at a time; after an error `may_hold` is
    /// always true.
    pub(crate) async fn fill(&self, index: &dyn ChunkIndex) -> Result<()> {
        if self.is_filling.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let filled = self.fill_alone(index).await;
        self.is_filling.store(false, Ordering::Release);
        filled
    }

    async fn fill_alone(&self, index: &dyn ChunkIndex) -> Result<()> {
        let bits = self.bits_to_fill(index.chunk_count().await?);
        let mut after = ChunkId(0);
        loop {
            let page = index.digests(after, PAGE_COUNT).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            page.iter().for_each(|(_, digest)| bits.add(digest));
        }
        bits.is_complete.store(true, Ordering::Release);
        Ok(())
    }

    /// A filter that is too small is replaced by one for twice the chunks of the index, which may be fewer than were added.
    fn bits_to_fill(&self, chunk_count: u64) -> Arc<Bits> {
        let standing = Arc::clone(&self.bits.read());
        if standing.digest_count.load(Ordering::Relaxed) <= standing.digest_count_max {
            return standing;
        }
        let bits = Arc::new(Bits::for_digests(chunk_count.saturating_mul(2), false));
        *self.bits.write() = Arc::clone(&bits);
        bits
    }
}

impl Bits {
    fn for_digests(digest_count_max: u64, is_complete: bool) -> Self {
        let digest_count_max = digest_count_max.max(DIGEST_COUNT_MIN);
        let block_count = digest_count_max.saturating_mul(BITS_PER_DIGEST).div_ceil(BITS_PER_BLOCK);
        Self {
            blocks: (0..block_count).map(|_| Default::default()).collect(),
            digest_count_max,
            digest_count: AtomicU64::new(0),
            is_complete: AtomicBool::new(is_complete),
        }
    }

    fn may_hold(&self, digest: &Digest) -> bool {
        let mut probes = self.probes(digest);
        probes.all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn add(&self, digest: &Digest) {
        self.digest_count.fetch_add(1, Ordering::Relaxed);
        for (word, bit) in self.probes(digest) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Digests are keyed hashes: their own bytes say where they go.
    fn probes(&self, digest: &Digest) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let number = |at: usize| {
            let bytes = digest.as_bytes().get(at..at + 8).and_then(|bytes| bytes.first_chunk::<8>());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let (place, pattern) = (number(0), number(8));
        let index = place.checked_rem(self.blocks.len() as u64).unwrap_or(0);
        let block = usize::try_from(index).ok().and_then(|index| self.blocks.get(index));
        (0..PROBE_COUNT).filter_map(move |probe| {
            let bit = (pattern >> (probe * 9)) % BITS_PER_BLOCK;
            let word = usize::try_from(bit / 64).ok().and_then(|word| block?.get(word))?;
            Some((word, 1 << (bit % 64)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> Digest {
        Digest::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn what_was_added_is_always_found_and_hardly_anything_else() {
        let filter = DigestFilter::for_chunks(0);
        let count = DIGEST_COUNT_MIN;
        for number in 0..count {
            assert!(!filter.add(&digest(number)), "it was made for so many");
        }
        assert!((0..count).all(|number| filter.may_hold(&digest(number))));
        let wrong = (count..2 * count).filter(|number| filter.may_hold(&digest(*number))).count() as u64;
        assert!(wrong < count / 20, "{wrong} of {count}");
        assert!(filter.add(&digest(count)), "and for no more");
    }

    /// What was deleted since takes no room in it, however much was ever added.
    #[test]
    fn it_grows_with_what_there_is_and_not_with_what_there_was() {
        let filter = DigestFilter::for_chunks(0);
        for number in 0..3 * DIGEST_COUNT_MIN {
            if filter.add(&digest(number)) {
                filter.bits_to_fill(1_000);
            }
        }
        assert_eq!(filter.bits.read().digest_count_max, DIGEST_COUNT_MIN);
        filter.bits_to_fill(DIGEST_COUNT_MIN);
        assert_eq!(filter.bits.read().digest_count_max, DIGEST_COUNT_MIN, "it is not full");
        while !filter.add(&digest(1)) {}
        filter.bits_to_fill(DIGEST_COUNT_MIN);
        assert_eq!(filter.bits.read().digest_count_max, 2 * DIGEST_COUNT_MIN);
    }

    #[test]
    fn a_filter_that_is_not_filled_says_nothing() {
        let filter = DigestFilter::for_chunks(5);
        assert!(filter.may_hold(&digest(1)));
    }
}
