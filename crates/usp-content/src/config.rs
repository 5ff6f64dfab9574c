//! Sizes of the content store, checked once.

use std::time::Duration;

use usp_model::{Error, ErrorKind, Result};

use crate::frame::PLAIN_BYTES_MAX;

/// The average chunk: the one figure to change when a measurement says so (docs/adr/0001-chunk-size.md).
pub const CHUNK_SIZE_BYTES_AVG: u32 = 32 * 1024;

/// FastCDC defines masks for averages in this range.
const AVG_BYTES_LEAST: u32 = 256;
const AVG_BYTES_MOST: u32 = 4 << 20;
const MIN_BYTES_LEAST: u32 = 64;

/// Bounds of one chunk, in bytes of plain content. Invariant: even, `64 <= min < avg < max <= 16 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkBounds {
    size_bytes_min: u32,
    size_bytes_avg: u32,
    size_bytes_max: u32,
}

impl ChunkBounds {
    /// How far the bounds lie from the average unless they are given: a quarter of it, and four times as much.
    pub const FACTOR: u32 = 4;

    /// Errors: `InvalidInput` unless the sizes are even and in order, the average is 256 bytes to 4 MiB, and the
    /// longest chunk is at most 16 MiB.
    pub fn new(size_bytes_min: u32, size_bytes_avg: u32, size_bytes_max: u32) -> Result<Self> {
        let ordered = MIN_BYTES_LEAST <= size_bytes_min
            && size_bytes_min < size_bytes_avg
            && size_bytes_avg < size_bytes_max
            && size_bytes_max <= PLAIN_BYTES_MAX;
        // FastCDC looks at two bytes at a time; an odd size would move boundaries by one.
        let even = (size_bytes_min | size_bytes_avg | size_bytes_max) & 1 == 0;
        if ordered && even && (AVG_BYTES_LEAST..=AVG_BYTES_MOST).contains(&size_bytes_avg) {
            return Ok(Self { size_bytes_min, size_bytes_avg, size_bytes_max });
        }
        Err(Error::new(ErrorKind::InvalidInput, "check chunk bounds").because(format!(
            "{size_bytes_min}, {size_bytes_avg} and {size_bytes_max} must be even and rise, from 64 bytes to 16 MiB, \
             with an average of 256 bytes to 4 MiB"
        )))
    }

    /// A quarter of the average to four times the average. Errors: as `new`.
    pub fn around(size_bytes_avg: u32) -> Result<Self> {
        Self::around_unless(size_bytes_avg, None, None)
    }

    /// As `around`, but for the bounds that are given. Errors: as `new`.
    pub fn around_unless(
        size_bytes_avg: u32,
        size_bytes_min: Option<u32>,
        size_bytes_max: Option<u32>,
    ) -> Result<Self> {
        let size_bytes_min = size_bytes_min.unwrap_or(size_bytes_avg / Self::FACTOR);
        let size_bytes_max = size_bytes_max.unwrap_or(size_bytes_avg.saturating_mul(Self::FACTOR));
        Self::new(size_bytes_min, size_bytes_avg, size_bytes_max)
    }

    /// Of the shortest chunk but the last of a content.
    pub fn size_bytes_min(self) -> u32 {
        self.size_bytes_min
    }

    /// What boundaries aim at.
    pub fn size_bytes_avg(self) -> u32 {
        self.size_bytes_avg
    }

    /// Of the longest chunk.
    pub fn size_bytes_max(self) -> u32 {
        self.size_bytes_max
    }
}

impl Default for ChunkBounds {
    fn default() -> Self {
        Self {
            size_bytes_min: CHUNK_SIZE_BYTES_AVG / Self::FACTOR,
            size_bytes_avg: CHUNK_SIZE_BYTES_AVG,
            size_bytes_max: CHUNK_SIZE_BYTES_AVG * Self::FACTOR,
        }
    }
}

/// Settings of a [`crate::ContentStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentConfig {
    /// Where contents are cut.
    pub chunk: ChunkBounds,
    /// A pack is sealed before it grows beyond this, footer included. Default 64 MiB.
    pub pack_size_bytes_max: u64,
    /// Packs that are appended to at the same time: one that is being synced does not stop the other. Default 2.
    pub open_pack_count: usize,
    /// Bytes that one upload buffers before they are cut. Default 1 MiB.
    pub slab_size_bytes: usize,
    /// How long an upload may buffer them: the bytes of a slow sender are cut sooner, so that they hold no memory that others
    /// need. Default 1 s.
    pub slab_time_max: Duration,
}

impl ContentConfig {
    /// Slabs of one upload that are being cut or placed while the next is filled.
    pub(crate) const SLABS_IN_FLIGHT_MAX: usize = 3;
    const OPEN_PACK_COUNT_MAX: usize = 16;
    const SLAB_BYTES: std::ops::RangeInclusive<usize> = 4 << 10..=64 << 20;
    const PACK_BYTES_MOST: u64 = 1 << 40;

    /// The least budget of bytes that uploads need between them, for slabs of this size: one upload fills a slab while
    /// as many as may be in flight are on their way.
    pub fn budget_bytes_min(slab_size_bytes: u64) -> u64 {
        slab_size_bytes.saturating_mul(Self::SLABS_IN_FLIGHT_MAX as u64 + 1)
    }

    /// Errors: `InvalidInput`, with one violation per setting that is out of bounds.
    pub fn validate(&self) -> Result<()> {
        let mut violations = Vec::new();
        let mut check = |holds: bool, pointer: &str, detail: &str| {
            if !holds {
                violations.push(usp_model::Violation::new(pointer, detail));
            }
        };
        check(
            (1..=Self::OPEN_PACK_COUNT_MAX).contains(&self.open_pack_count),
            "/open_pack_count",
            "1 to 16 packs may be open",
        );
        check(Self::SLAB_BYTES.contains(&self.slab_size_bytes), "/slab_size_bytes", "4 KiB to 64 MiB");
        // A pack that could not hold four of the longest chunks would be mostly footer and rotation.
        let pack_bytes_least = 4 * u64::from(self.chunk.size_bytes_max());
        check(
            (pack_bytes_least..=Self::PACK_BYTES_MOST).contains(&self.pack_size_bytes_max),
            "/pack_size_bytes_max",
            "four of the longest chunks to 1 TiB",
        );
        if violations.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidInput, "check content settings").with_violations(violations))
    }
}

impl Default for ContentConfig {
    fn default() -> Self {
        Self {
            chunk: ChunkBounds::default(),
            pack_size_bytes_max: 64 << 20,
            open_pack_count: 2,
            slab_size_bytes: 1 << 20,
            slab_time_max: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_obey_their_own_bounds() {
        let bounds = ChunkBounds::default();
        assert_eq!(ChunkBounds::around(CHUNK_SIZE_BYTES_AVG).unwrap(), bounds);
        ContentConfig::default().validate().unwrap();
    }

    #[test]
    fn odd_or_disordered_bounds_are_refused() {
        for (min, avg, max) in
            [(63, 256, 1024), (257, 1024, 4096), (1024, 1024, 4096), (64, 256, 32 << 20), (64, 128, 256)]
        {
            assert_eq!(ChunkBounds::new(min, avg, max).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn every_setting_out_of_bounds_is_named() {
        let config = ContentConfig {
            pack_size_bytes_max: 1,
            open_pack_count: 0,
            slab_size_bytes: 0,
            ..ContentConfig::default()
        };
        assert_eq!(config.validate().unwrap_err().violations().len(), 3);
    }
}
