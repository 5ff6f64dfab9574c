//! Manifests: the ordered chunks of one content, coded in segments.
//!
//! Byte layout: docs/formats/manifest.md. A content of any size is written, read and sought with the memory
//! of one segment.

use crate::limits::SEGMENT_ENTRY_COUNT_MAX;
use crate::{ChunkId, Error, ErrorKind, Result};

/// One chunk in its place. Invariant: `size_bytes > 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestEntry {
    pub chunk: ChunkId,
    /// Plain bytes of the chunk.
    pub size_bytes: u32,
}

/// Up to 4,096 entries that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    entries: Vec<ManifestEntry>,
}

const FORMAT: u8 = 1;

impl Segment {
    /// Errors: `Internal` for no entry, too many, or one of zero bytes: the caller broke the shape.
    pub fn new(entries: Vec<ManifestEntry>) -> Result<Self> {
        if entries.is_empty()
            || entries.len() > SEGMENT_ENTRY_COUNT_MAX
            || entries.iter().any(|e| e.size_bytes == 0)
        {
            return Err(Error::new(ErrorKind::Internal, "build manifest segment"));
        }
        Ok(Self { entries })
    }

    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// Plain bytes that the segment covers.
    pub fn size_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.size_bytes)).sum()
    }

    /// Format byte, entry count, then per entry the chunk id as a zigzag difference and the size; CRC-32C last.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.entries.len() * 5);
        out.push(FORMAT);
        put_varint(&mut out, self.entries.len() as u64);
        let mut previous = 0_i64;
        for entry in &self.entries {
            put_varint(&mut out, zigzag(entry.chunk.0.wrapping_sub(previous)));
            put_varint(&mut out, u64::from(entry.size_bytes));
            previous = entry.chunk.0;
        }
        let crc = checksum(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Errors: `Corrupt` for anything that `encode` does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_checked(bytes).ok_or_else(|| Error::new(ErrorKind::Corrupt, "read manifest segment"))
    }

    fn decode_checked(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if checksum(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (&format, mut rest) = body.split_first()?;
        let count = usize::try_from(take_varint(&mut rest)?).ok()?;
        if format != FORMAT || count == 0 || count > SEGMENT_ENTRY_COUNT_MAX {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        let mut previous = 0_i64;
        for _ in 0..count {
            let chunk = previous.wrapping_add(unzigzag(take_varint(&mut rest)?));
            let size_bytes = u32::try_from(take_varint(&mut rest)?).ok()?;
            entries.push(ManifestEntry { chunk: ChunkId(chunk), size_bytes });
            previous = chunk;
        }
        if rest.is_empty() { Self::new(entries).ok() } else { None }
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    // CRC-32C is 32 bits wide; the crate returns it in a u64.
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or(u32::MAX)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return None;
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn segments_decode_to_what_was_encoded(raw in prop::collection::vec((any::<i64>(), 1..=u32::MAX), 1..300)) {
            let entries = raw.into_iter().map(|(id, size_bytes)| ManifestEntry { chunk: ChunkId(id), size_bytes }).collect();
            let segment = Segment::new(entries).unwrap();
            prop_assert_eq!(Segment::decode(&segment.encode()).unwrap(), segment);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Segment::decode(&bytes);
        }
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let entries = (0..50).map(|n| ManifestEntry { chunk: ChunkId(n * 3), size_bytes: 65_536 }).collect();
        let bytes = Segment::new(entries).unwrap().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Segment::decode(&damaged).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn version_1_bytes_stay_readable() {
        let bytes = hex::decode("010203e80302d00f").unwrap();
        let mut stored = bytes.clone();
        stored.extend_from_slice(&checksum(&bytes).to_le_bytes());
        let entries = vec![
            ManifestEntry { chunk: ChunkId(-2), size_bytes: 488 },
            ManifestEntry { chunk: ChunkId(-1), size_bytes: 2000 },
        ];
        assert_eq!(Segment::decode(&stored).unwrap().entries(), entries);
    }
}
