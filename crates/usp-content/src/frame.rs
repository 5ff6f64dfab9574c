//! A frame: one chunk as it is stored. Byte layout: docs/formats/pack.md, "Frame".

use bytes::Bytes;
use usp_model::{Digest, DomainKey, Error, ErrorKind, Result};

pub use crate::codec::Codec;
use crate::codec::{CodecChoice, Codecs, as_zstd_frame};
use crate::wire::{self, Fields};

/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = 56;
/// The longest chunk: bounds what a reader allocates, whatever a header says.
pub const PLAIN_BYTES_MAX: u32 = 16 << 20;

const MAGIC: &[u8; 4] = b"UFRM";
const VERSION: u8 = 1;

/// What a frame says of its payload. Invariant: the lengths obey the format's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    pub(crate) codec: Codec,
    pub(crate) plain_bytes: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) digest: Digest,
    pub(crate) payload_crc: u32,
}

impl FrameHeader {
    /// The 56 bytes of the header, checksum included.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FRAME_HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, self.codec.code(), 0, 0]);
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
        out.extend_from_slice(&self.payload_bytes.to_le_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        wire::seal(&mut out);
        out
    }

    /// `None` for anything that `encode` does not write. Shape: the first 56 bytes of `bytes` are read.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let body = wire::checked(bytes.first_chunk::<FRAME_HEADER_BYTES>()?)?;
        let mut fields = Fields::of(body);
        fields.literal(MAGIC)?;
        fields.literal(&[VERSION])?;
        let codec = Codec::from_code(fields.u8()?)?;
        fields.zeros::<2>()?;
        let (plain_bytes, payload_bytes) = (fields.u32()?, fields.u32()?);
        let digest = Digest::from_bytes(fields.take()?);
        let payload_crc = fields.u32()?;
        lengths_hold(codec, plain_bytes, payload_bytes).then_some(Self {
            codec,
            plain_bytes,
            payload_bytes,
            digest,
            payload_crc,
        })
    }

    /// Header and payload.
    pub fn stored_bytes(&self) -> u32 {
        stored_bytes(self.payload_bytes)
    }
}

/// The version of a sound frame header that is newer than this code.
pub(crate) fn newer_version(bytes: &[u8]) -> Option<u8> {
    let body = wire::checked(bytes.first_chunk::<FRAME_HEADER_BYTES>()?)?;
    let mut fields = Fields::of(body);
    fields.literal(MAGIC)?;
    fields.u8().filter(|&version| version > VERSION)
}

/// Bytes of a frame with this payload, which the format bounds far below 4 GiB.
pub(crate) fn stored_bytes(payload_bytes: u32) -> u32 {
    const HEADER: u32 = 56;
    payload_bytes.saturating_add(HEADER)
}

/// The bounds that headers and footer entries share.
pub(crate) fn lengths_hold(codec: Codec, plain_bytes: u32, payload_bytes: u32) -> bool {
    let payload_fits = match codec {
        Codec::None => payload_bytes == plain_bytes,
        Codec::Lz4 | Codec::Zstd => (1..plain_bytes).contains(&payload_bytes),
    };
    (1..=PLAIN_BYTES_MAX).contains(&plain_bytes) && payload_fits
}

/// A frame that is ready to be appended.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) payload: Bytes,
}

impl Frame {
    /// Codes a chunk as `choice` says; a chunk that does not shrink is stored as it is, without a copy.
    pub(crate) fn of_chunk(plain: Bytes, digest: Digest, choice: Codec, codecs: &mut Codecs) -> Result<Self> {
        let plain_bytes =
            u32::try_from(plain.len()).ok().filter(|bytes| (1..=PLAIN_BYTES_MAX).contains(bytes));
        let plain_bytes = plain_bytes.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "store chunk").because("a chunk has 1 byte to 16 MiB")
        })?;
        let (codec, payload) = match codecs.compress(choice, &plain)? {
            Some(payload) => (choice, Bytes::copy_from_slice(payload)),
            None => (Codec::None, plain),
        };
        let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let payload_crc = wire::crc32c(&payload);
        Ok(Self { header: FrameHeader { codec, plain_bytes, payload_bytes, digest, payload_crc }, payload })
    }

    /// A frame as it stands in a pack, payload unread. `None` when it does not begin with a header.
    pub(crate) fn from_stored(bytes: Bytes) -> Option<Self> {
        let header = FrameHeader::decode(&bytes)?;
        (bytes.len() == header.stored_bytes() as usize)
            .then(|| Self { header, payload: bytes.slice(FRAME_HEADER_BYTES..) })
    }

    /// Codes a chunk with the codec that `choice` proposes, and records the outcome there.
    pub(crate) fn of_chunk_adaptively(
        plain: Bytes,
        digest: Digest,
        choice: &parking_lot::Mutex<CodecChoice>,
        codecs: &mut Codecs,
    ) -> Result<Self> {
        let codec = choice.lock().next();
        let frame = Self::of_chunk(plain, digest, codec, codecs)?;
        if codec != Codec::None {
            choice.lock().tried(frame.header.codec == codec);
        }
        Ok(frame)
    }
}

/// A sound frame of exactly `stored_bytes` that no chunk is in: zeros, under a digest of zeros.
///
/// Shape: at least one byte more than a header, at most the longest frame.
pub(crate) fn filler(stored_bytes: u32) -> Vec<u8> {
    let payload = vec![0; (stored_bytes as usize).saturating_sub(FRAME_HEADER_BYTES)];
    let plain_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let header = FrameHeader {
        codec: Codec::None,
        plain_bytes,
        payload_bytes: plain_bytes,
        digest: Digest::from_bytes([0; 32]),
        payload_crc: wire::crc32c(&payload),
    };
    let mut frame = header.encode();
    frame.extend_from_slice(&payload);
    frame
}

/// What the index says of a frame, to which the frame must hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) digest: Digest,
    pub(crate) plain_bytes: u32,
    pub(crate) stored_bytes: u32,
}

/// The chunk in `frame`, proven to be the one expected. `None` when any check fails: then no byte of it is served.
pub(crate) fn open_frame(
    frame: &Bytes,
    expected: Expected,
    key: &DomainKey,
    codecs: &mut Codecs,
) -> Option<Bytes> {
    let (header, payload) = expected_payload(frame, expected)?;
    let plain = match header.codec {
        // Its digest is compared next, which says more than its checksum.
        Codec::None => payload,
        codec => {
            let payload = is_sound(&header, &payload).then_some(payload)?;
            Bytes::from(codecs.decompress(codec, &payload, header.plain_bytes as usize)?)
        }
    };
    (usp_rt::is_planted("digest-not-compared") || digest_of(&plain, key) == expected.digest).then_some(plain)
}

/// The chunk in `frame` as a Zstandard frame: the stored one where it is one, so that nothing is decoded. `None` when any
/// check fails.
///
/// What was compressed was decoded and compared when it was stored; its checksum says that it is still the same. What is
/// coded anew here is proven like in [`open_frame`].
pub(crate) fn open_frame_as_zstd(
    frame: &Bytes,
    expected: Expected,
    key: &DomainKey,
    codecs: &mut Codecs,
) -> Option<Bytes> {
    let (header, payload) = expected_payload(frame, expected)?;
    match header.codec {
        Codec::Zstd => is_sound(&header, &payload).then_some(payload),
        Codec::None | Codec::Lz4 => {
            open_frame(frame, expected, key, codecs).map(|plain| as_zstd_frame(&plain).into())
        }
    }
}

/// Header and payload, if the frame is the one that the index means. The payload is not looked at.
fn expected_payload(frame: &Bytes, expected: Expected) -> Option<(FrameHeader, Bytes)> {
    let header = FrameHeader::decode(frame)?;
    let agrees = header.digest == expected.digest
        && header.plain_bytes == expected.plain_bytes
        && header.stored_bytes() == expected.stored_bytes
        && frame.len() == expected.stored_bytes as usize;
    agrees.then(|| (header, frame.slice(FRAME_HEADER_BYTES..)))
}

fn is_sound(header: &FrameHeader, payload: &[u8]) -> bool {
    wire::crc32c(payload) == header.payload_crc || usp_rt::is_planted("digest-not-compared")
}

/// The digest of a chunk in the domain of `key`.
pub(crate) fn digest_of(plain: &[u8], key: &DomainKey) -> Digest {
    Digest::from_bytes(*blake3::keyed_hash(key.as_bytes(), plain).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecPool;
    use proptest::prelude::*;

    fn frame_of(plain: &[u8], codec: Codec) -> (Bytes, Expected, DomainKey) {
        let key = DomainKey::from_bytes([7; 32]);
        let digest = digest_of(plain, &key);
        let frame = CodecPool::default()
            .with(|codecs| Frame::of_chunk(Bytes::copy_from_slice(plain), digest, codec, codecs))
            .unwrap();
        let mut bytes = frame.header.encode();
        bytes.extend_from_slice(&frame.payload);
        let stored_bytes = u32::try_from(bytes.len()).unwrap();
        let plain_bytes = u32::try_from(plain.len()).unwrap();
        (bytes.into(), Expected { digest, plain_bytes, stored_bytes }, key)
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_detected() {
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
            let (bytes, expected, key) = frame_of(&b"the same words, the same words, ".repeat(8), codec);
            let pool = CodecPool::default();
            let open =
                |bytes: Bytes| pool.with(|codecs| Ok(open_frame(&bytes, expected, &key, codecs))).unwrap();
            assert!(open(bytes.clone()).is_some());
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(damaged.into()), None, "{codec:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_of_another_domain_is_not_served() {
        let (bytes, expected, _) = frame_of(b"secret", Codec::None);
        let other = DomainKey::from_bytes([8; 32]);
        let opened =
            CodecPool::default().with(|codecs| Ok(open_frame(&bytes, expected, &other, codecs))).unwrap();
        assert_eq!(opened, None);
    }

    #[test]
    fn what_does_not_shrink_is_stored_as_it_is() {
        let mut noise = vec![0; 4096];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for codec in [Codec::Lz4, Codec::Zstd] {
            let (bytes, ..) = frame_of(&noise, codec);
            assert_eq!(FrameHeader::decode(&bytes).unwrap().codec, Codec::None);
            assert_eq!(bytes.len(), FRAME_HEADER_BYTES + noise.len());
        }
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(FrameHeader::decode(&bytes).is_none());
        }

        #[test]
        fn only_lengths_within_bounds_are_read(codec in 0_u8..4, plain in any::<u32>(), payload in any::<u32>()) {
            let header = FrameHeader {
                codec: Codec::from_code(codec).unwrap_or(Codec::None),
                plain_bytes: plain, payload_bytes: payload, digest: Digest::from_bytes([1; 32]), payload_crc: 5,
            };
            let read = FrameHeader::decode(&header.encode());
            prop_assert_eq!(read.is_some(), lengths_hold(header.codec, plain, payload));
        }
    }
}
