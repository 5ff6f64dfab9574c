//! A pack: frames back to back, and a footer once it is sealed. Byte layout: docs/formats/pack.md.

use bytes::Bytes;
use usp_model::{Digest, FramePlace, PackId};

use crate::frame::{Codec, FRAME_HEADER_BYTES, FrameHeader, lengths_hold, stored_bytes};
use crate::wire::{self, Fields};

/// Bytes of the pack header; the first frame begins here.
pub const PACK_HEADER_BYTES: u64 = 64;
/// Bytes of one footer entry.
pub const ENTRY_BYTES: usize = 52;
/// Bytes of the trailer that ends a sealed pack.
pub const TRAILER_BYTES: usize = 48;
/// Frames of one pack: bounds the memory that writing it and reading its footer take.
pub const FRAME_COUNT_MAX: usize = 65_536;

const MAGIC: &[u8; 8] = b"usp.pack";
const SEAL_MAGIC: &[u8; 8] = b"usp.seal";
const VERSION: [u8; 2] = 1_u16.to_le_bytes();

/// The first bytes of every pack.
pub fn encode_header(pack: PackId) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION);
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&pack.0.to_le_bytes());
    out.extend_from_slice(&[0; 40]);
    wire::seal(&mut out);
    out
}

/// The id in a pack header; `None` when the first 64 bytes are none.
pub fn decode_header(bytes: &[u8]) -> Option<PackId> {
    let body = wire::checked(bytes.first_chunk::<64>()?)?;
    let mut fields = Fields::of(body);
    fields.literal(MAGIC)?;
    fields.literal(&VERSION)?;
    fields.zeros::<2>()?;
    let pack = PackId(fields.i64()?);
    fields.zeros::<40>()?;
    (pack.0 > 0).then_some(pack)
}

/// The format version of a sound pack header that is newer than this code.
pub(crate) fn newer_version(bytes: &[u8]) -> Option<u16> {
    let body = wire::checked(bytes.first_chunk::<64>()?)?;
    let mut fields = Fields::of(body);
    fields.literal(MAGIC)?;
    let version = u16::from_le_bytes(fields.take()?);
    (version > u16::from_le_bytes(VERSION)).then_some(version)
}

/// One frame as the footer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEntry {
    /// Of its header in the pack.
    pub offset: u64,
    /// Of the chunk.
    pub plain_bytes: u32,
    /// Of the chunk as stored, without the header.
    pub payload_bytes: u32,
    /// What the payload is coded with.
    pub codec: Codec,
    /// Of the chunk.
    pub digest: Digest,
}

impl FrameEntry {
    pub(crate) fn of(offset: u64, header: &FrameHeader) -> Self {
        Self {
            offset,
            plain_bytes: header.plain_bytes,
            payload_bytes: header.payload_bytes,
            codec: header.codec,
            digest: header.digest,
        }
    }

    /// Of the byte after the frame.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(stored_bytes(self.payload_bytes)))
    }

    /// Where the index finds the frame, which stands in `pack`.
    pub fn place(&self, pack: PackId) -> FramePlace {
        FramePlace { pack, offset: self.offset, stored_bytes: stored_bytes(self.payload_bytes) }
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
        out.extend_from_slice(&self.payload_bytes.to_le_bytes());
        out.extend_from_slice(&[self.codec.code(), 0, 0, 0]);
        out.extend_from_slice(self.digest.as_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (offset, plain_bytes, payload_bytes) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let codec = Codec::from_code(fields.u8()?)?;
        fields.zeros::<3>()?;
        let digest = Digest::from_bytes(fields.take()?);
        lengths_hold(codec, plain_bytes, payload_bytes).then_some(Self {
            offset,
            plain_bytes,
            payload_bytes,
            codec,
            digest,
        })
    }
}

/// Bytes of the footer of a pack with this many frames.
pub fn footer_bytes(frame_count: usize) -> u64 {
    (frame_count as u64).saturating_mul(ENTRY_BYTES as u64).saturating_add(TRAILER_BYTES as u64)
}

/// What seals a pack whose last frame ends at `offset`. Shape: at most 65,536 entries, back to back.
pub fn encode_footer(pack: PackId, offset: u64, entries: &[FrameEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY_BYTES + TRAILER_BYTES);
    for entry in entries {
        entry.encode_into(&mut out);
    }
    let entries_crc = wire::crc32c(&out);
    let entry_count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut trailer = Vec::with_capacity(TRAILER_BYTES);
    trailer.extend_from_slice(SEAL_MAGIC);
    trailer.extend_from_slice(&VERSION);
    trailer.extend_from_slice(&[0; 2]);
    trailer.extend_from_slice(&pack.0.to_le_bytes());
    trailer.extend_from_slice(&offset.to_le_bytes());
    trailer.extend_from_slice(&entry_count.to_le_bytes());
    trailer.extend_from_slice(&entries_crc.to_le_bytes());
    trailer.extend_from_slice(&[0; 8]);
    wire::seal(&mut trailer);
    out.extend_from_slice(&trailer);
    out
}

/// What the last 48 bytes of a sealed pack say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// As in the header of the pack.
    pub pack: PackId,
    /// Of the first entry: the end of the last frame.
    pub offset: u64,
    /// Entries in front of the trailer.
    pub entry_count: u32,
    entries_crc: u32,
}

impl Trailer {
    /// `None` unless `bytes` end with the trailer of a pack of `size_bytes`.
    pub fn decode(bytes: &[u8], size_bytes: u64) -> Option<Self> {
        let body = wire::checked(bytes.last_chunk::<TRAILER_BYTES>()?)?;
        let mut fields = Fields::of(body);
        fields.literal(SEAL_MAGIC)?;
        fields.literal(&VERSION)?;
        fields.zeros::<2>()?;
        let (pack, offset) = (PackId(fields.i64()?), fields.u64()?);
        let (entry_count, entries_crc) = (fields.u32()?, fields.u32()?);
        fields.zeros::<8>()?;
        let fills = entry_count as usize <= FRAME_COUNT_MAX
            && offset >= PACK_HEADER_BYTES
            && offset.checked_add(footer_bytes(entry_count as usize)) == Some(size_bytes);
        fills.then_some(Self { pack, offset, entry_count, entries_crc })
    }

    /// The entries that precede the trailer; `None` unless they are whole, sound and back to back.
    pub fn entries(&self, bytes: &[u8]) -> Option<Vec<FrameEntry>> {
        let count = self.entry_count as usize;
        if bytes.len() != count.checked_mul(ENTRY_BYTES)? || wire::crc32c(bytes) != self.entries_crc {
            return None;
        }
        let mut fields = Fields::of(bytes);
        let mut entries = Vec::with_capacity(count);
        let mut end = PACK_HEADER_BYTES;
        for _ in 0..count {
            let entry = FrameEntry::decode(&mut fields)?;
            if entry.offset != end {
                return None;
            }
            end = entry.end();
            entries.push(entry);
        }
        (end == self.offset).then_some(entries)
    }
}

/// One step of walking the frames of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walked {
    /// A frame whose header and payload agree with their checksums.
    Frame(FrameEntry),
    /// The header is sound; so many bytes from the offset on are needed to go on.
    NeedsBytes(usize),
    /// Not a frame, or a damaged one.
    Damaged,
}

/// Looks at the frame that begins `bytes`, which stand at `offset` of their pack.
pub(crate) fn walk_frame(offset: u64, bytes: &Bytes) -> Walked {
    if bytes.len() < FRAME_HEADER_BYTES {
        return Walked::NeedsBytes(FRAME_HEADER_BYTES);
    }
    let Some(header) = FrameHeader::decode(bytes) else {
        return Walked::Damaged;
    };
    let stored = header.stored_bytes() as usize;
    match bytes.get(FRAME_HEADER_BYTES..stored) {
        None => Walked::NeedsBytes(stored),
        Some(payload) if wire::crc32c(payload) == header.payload_crc => {
            Walked::Frame(FrameEntry::of(offset, &header))
        }
        Some(_) => Walked::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(count: u64) -> Vec<FrameEntry> {
        let mut offset = PACK_HEADER_BYTES;
        (0..count)
            .map(|n| {
                let plain_bytes = 100 + u32::try_from(n).unwrap();
                let digest = Digest::from_bytes([u8::try_from(n % 251).unwrap(); 32]);
                let entry = FrameEntry { offset, plain_bytes, payload_bytes: 99, codec: Codec::Zstd, digest };
                offset = entry.end();
                entry
            })
            .collect()
    }

    fn read_footer(footer: &[u8], offset: u64) -> Option<(PackId, Vec<FrameEntry>)> {
        let trailer = Trailer::decode(footer, offset + footer.len() as u64)?;
        let listed = trailer.entries(&footer[..footer.len() - TRAILER_BYTES])?;
        Some((trailer.pack, listed))
    }

    #[test]
    fn footers_read_back() {
        for count in [0, 1, 300] {
            let entries = entries(count);
            let end = entries.last().map_or(PACK_HEADER_BYTES, FrameEntry::end);
            let footer = encode_footer(PackId(9), end, &entries);
            assert_eq!(footer.len() as u64, footer_bytes(entries.len()));
            assert_eq!(read_footer(&footer, end), Some((PackId(9), entries)));
        }
    }

    #[test]
    fn every_flipped_bit_of_header_and_footer_is_detected() {
        let header = encode_header(PackId(5));
        assert_eq!(header.len() as u64, PACK_HEADER_BYTES);
        assert_eq!(decode_header(&header), Some(PackId(5)));
        for bit in 0..header.len() * 8 {
            let mut damaged = header.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_header(&damaged), None);
        }
        let entries = entries(3);
        let end = entries[2].end();
        let footer = encode_footer(PackId(5), end, &entries);
        for bit in 0..footer.len() * 8 {
            let mut damaged = footer.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_footer(&damaged, end), None);
        }
    }

    proptest! {
        #[test]
        fn hostile_footers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), size in any::<u64>()) {
            prop_assert!(decode_header(&bytes).is_none());
            prop_assert!(Trailer::decode(&bytes, size).is_none());
            prop_assert!(!matches!(walk_frame(64, &Bytes::from(bytes)), Walked::Frame(_)));
        }

        #[test]
        fn a_trailer_that_claims_too_much_is_refused(count in any::<u32>(), offset in any::<u64>(), size in any::<u64>()) {
            let mut bytes = Vec::from(*SEAL_MAGIC);
            bytes.extend_from_slice(&VERSION);
            bytes.extend_from_slice(&[0; 2]);
            bytes.extend_from_slice(&1_i64.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
            bytes.extend_from_slice(&[0; 12]);
            wire::seal(&mut bytes);
            if let Some(trailer) = Trailer::decode(&bytes, size) {
                prop_assert!(trailer.entry_count as usize <= FRAME_COUNT_MAX);
            }
        }
    }
}
