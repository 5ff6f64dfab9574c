//! Half-open byte ranges.

use crate::{Error, ErrorKind, Result};

/// Bytes `start..end` of a content. Invariant: `start <= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// Errors: `OutOfRange` when `start > end`.
    pub fn new(start: u64, end: u64) -> Result<Self> {
        if start <= end {
            Ok(Self { start, end })
        } else {
            Err(Error::new(ErrorKind::OutOfRange, "read byte range")
                .because(format!("{start} lies after {end}")))
        }
    }

    /// All of a content of `size_bytes`.
    pub fn whole(size_bytes: u64) -> Self {
        Self { start: 0, end: size_bytes }
    }

    /// `len` bytes from `start` on, ending at the largest offset at most.
    pub fn at(start: u64, len: u64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    pub fn start(self) -> u64 {
        self.start
    }

    pub fn end(self) -> u64 {
        self.end
    }

    pub fn len(self) -> u64 {
        self.end - self.start
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Errors: `OutOfRange` unless the range lies within `0..size_bytes`.
    pub fn within(self, size_bytes: u64) -> Result<Self> {
        if self.end <= size_bytes {
            Ok(self)
        } else {
            Err(Error::new(ErrorKind::OutOfRange, "read byte range").because(format!(
                "bytes {}..{} lie outside a content of {size_bytes} bytes",
                self.start, self.end
            )))
        }
    }
}
