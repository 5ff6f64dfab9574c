//! Compressing and decompressing one chunk, and deciding when to try.

use std::fmt;

use parking_lot::Mutex;
use usp_model::{Compression, Error, ErrorKind, Result};
use zstd_safe::{CCtx, CParameter, DCtx};

/// How the payload of a frame is coded. The numbers are part of the pack format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The chunk as it is.
    None = 0,
    /// An LZ4 block.
    Lz4 = 1,
    /// A Zstandard frame.
    Zstd = 2,
}

impl Codec {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// Higher levels are slower by more than they save (docs/adr/0002-compression.md).
const ZSTD_LEVEL: i32 = 1;
/// A payload must save at least this part of the chunk, or reading it back is not worth the decoding.
const SAVED_PART_MIN: usize = 32;

/// The contexts of one job: made once, used for many chunks.
pub(crate) struct Codecs {
    zstd_out: CCtx<'static>,
    zstd_in: DCtx<'static>,
    lz4_table: lz4_flex::block::CompressTable,
    /// What the last compression made.
    payload: Scratch,
    /// What it decodes to, to be compared with the chunk.
    plain: Scratch,
}

/// Memory that is used again and only grows, to what the longest chunk needs.
#[derive(Default)]
struct Scratch(Vec<u8>);

impl Scratch {
    fn take(&mut self, len: usize) -> &mut [u8] {
        if self.0.len() < len {
            self.0 = vec![0; len];
        }
        self.0.get_mut(..len).unwrap_or_default()
    }
}

impl Codecs {
    fn new() -> Result<Self> {
        let out_of_memory = || Error::new(ErrorKind::Unavailable, "make a zstd context");
        let mut zstd_out = CCtx::try_create().ok_or_else(out_of_memory)?;
        zstd_out.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).map_err(|code| {
            Error::new(ErrorKind::Internal, "set zstd level").because(zstd_safe::get_error_name(code))
        })?;
        Ok(Self {
            zstd_out,
            zstd_in: DCtx::try_create().ok_or_else(out_of_memory)?,
            lz4_table: lz4_flex::block::CompressTable::large(),
            payload: Scratch::default(),
            plain: Scratch::default(),
        })
    }

    /// The payload of `plain` under `codec`; `None` when it would not save enough.
    ///
    /// Errors: `Internal` when the payload does not decode to `plain`: a bug of the library, or bad memory.
    pub(crate) fn compress(&mut self, codec: Codec, plain: &[u8]) -> Result<Option<&[u8]>> {
        let payload_bytes_max = plain.len() - plain.len().div_ceil(SAVED_PART_MIN);
        let (target, made) = match codec {
            Codec::None => return Ok(None),
            Codec::Zstd => {
                // Without room for the payload zstd gives up early, which is what incompressible chunks should cost.
                let target = self.payload.take(payload_bytes_max);
                let made = self.zstd_out.compress2(target, plain).ok();
                (target, made)
            }
            Codec::Lz4 => {
                // LZ4 asks for room for the worst case.
                let target = self.payload.take(lz4_flex::block::get_maximum_output_size(plain.len()));
                let made = lz4_flex::block::compress_into_with_table(plain, target, &mut self.lz4_table).ok();
                (target, made)
            }
        };
        let Some(payload) =
            made.filter(|&bytes| bytes <= payload_bytes_max).and_then(|bytes| target.get(..bytes))
        else {
            return Ok(None);
        };
        let decoded = self.plain.take(plain.len());
        if decode(&mut self.zstd_in, codec, payload, decoded).is_some() && decoded == plain {
            return Ok(Some(payload));
        }
        Err(Error::new(ErrorKind::Internal, "compress chunk")
            .because("a compressed chunk did not decode to itself; check this machine's memory"))
    }

    /// Decodes `payload` to exactly `plain_bytes` bytes; `None` when it is not that.
    ///
    /// Shape: `plain_bytes` was compared with the bound of a frame before; nothing larger is allocated.
    pub(crate) fn decompress(&mut self, codec: Codec, payload: &[u8], plain_bytes: usize) -> Option<Vec<u8>> {
        let mut plain = vec![0; plain_bytes];
        decode(&mut self.zstd_in, codec, payload, &mut plain)?;
        Some(plain)
    }
}

/// Fills `plain` from end to end; `None` when the payload holds less or more, or is none.
fn decode(zstd: &mut DCtx<'_>, codec: Codec, payload: &[u8], plain: &mut [u8]) -> Option<()> {
    let bytes = match codec {
        Codec::None if payload.len() == plain.len() => {
            plain.copy_from_slice(payload);
            payload.len()
        }
        Codec::None => return None,
        Codec::Zstd => zstd.decompress(plain, payload).ok()?,
        Codec::Lz4 => lz4_flex::block::decompress_into(payload, plain).ok()?,
    };
    (bytes == plain.len()).then_some(())
}

/// A Zstandard frame that holds `plain` as it is, for readers that take nothing else.
///
/// Shape: less than 4 GiB. Source: RFC 8878, sections 3.1.1.1 (one segment, content size in 4 bytes) and 3.1.1.2 (raw
/// blocks of up to 128 KiB).
pub(crate) fn as_zstd_frame(plain: &[u8]) -> Vec<u8> {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    const ONE_SEGMENT_SIZE_IN_4: u8 = 0b1010_0000;
    const BLOCK_BYTES_MAX: usize = 128 << 10;
    const BLOCK_HEADER_BYTES: usize = 3;
    let size_bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
    let blocks = plain.chunks(BLOCK_BYTES_MAX);
    let mut frame = Vec::with_capacity(plain.len() + blocks.len() * BLOCK_HEADER_BYTES + 9);
    frame.extend_from_slice(&MAGIC);
    frame.push(ONE_SEGMENT_SIZE_IN_4);
    frame.extend_from_slice(&size_bytes.to_le_bytes());
    let last = blocks.len().saturating_sub(1);
    for (index, block) in blocks.enumerate() {
        let size_bytes = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let header = (size_bytes << 3 | u32::from(index == last)).to_le_bytes();
        frame.extend_from_slice(header.get(..BLOCK_HEADER_BYTES).unwrap_or_default());
        frame.extend_from_slice(block);
    }
    frame
}

/// Contexts that jobs borrow: at most as many as jobs that ran at the same time.
#[derive(Default)]
pub(crate) struct CodecPool {
    idle: Mutex<Vec<Codecs>>,
}

impl CodecPool {
    /// Runs `job` with contexts of its own. A job that panics takes its contexts with it.
    pub(crate) fn with<T>(&self, job: impl FnOnce(&mut Codecs) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().pop();
        let mut codecs = match idle {
            Some(codecs) => codecs,
            None => Codecs::new()?,
        };
        let out = job(&mut codecs);
        self.idle.lock().push(codecs);
        out
    }
}

impl fmt::Debug for CodecPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecPool").field("idle", &self.idle.lock().len()).finish()
    }
}

/// Which codec to try on the next chunk of a content.
///
/// `auto` gives up on bytes that do not shrink: after each miss in a row it lets more chunks pass before it looks again.
#[derive(Debug)]
pub(crate) struct CodecChoice {
    compression: Compression,
    miss_count: u32,
    pass_count: u32,
}

impl CodecChoice {
    /// At least one chunk in this many is tried, so that a content that becomes compressible is noticed.
    const PASS_COUNT_MAX: u32 = 31;

    pub(crate) fn new(compression: Compression) -> Self {
        Self { compression, miss_count: 0, pass_count: 0 }
    }

    pub(crate) fn next(&mut self) -> Codec {
        match self.compression {
            Compression::None => Codec::None,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
            Compression::Auto if self.pass_count > 0 => {
                self.pass_count -= 1;
                Codec::None
            }
            Compression::Auto => Codec::Zstd,
        }
    }

    /// Records whether the codec that was tried on a chunk made it shorter.
    pub(crate) fn tried(&mut self, shrank: bool) {
        self.miss_count = if shrank { 0 } else { self.miss_count.saturating_add(1) };
        // 0, 1, 3, 7, 15, 31 chunks pass after the first, second, … miss in a row.
        let passes = 1_u32.checked_shl(self.miss_count.saturating_sub(1)).unwrap_or(u32::MAX) - 1;
        self.pass_count = passes.min(Self::PASS_COUNT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_more_misses_in_a_row_the_rarer_the_probe() {
        let mut choice = CodecChoice::new(Compression::Auto);
        let mut tried = Vec::new();
        for chunk in 0..200 {
            if choice.next() == Codec::Zstd {
                tried.push(chunk);
                choice.tried(false);
            }
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63, 95, 127, 159, 191]);
        choice.tried(true);
        assert_eq!((choice.next(), choice.next()), (Codec::Zstd, Codec::Zstd));
    }

    #[test]
    fn plain_bytes_in_a_zstd_frame_are_what_any_decoder_reads() {
        for len in [1, 2, 255, 256, 65_536, 131_072, 131_073, 300_000] {
            let plain: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[1]).collect();
            let frame = as_zstd_frame(&plain);
            let mut decoded = vec![0; plain.len()];
            assert_eq!(zstd_safe::decompress(&mut decoded[..], &frame), Ok(plain.len()));
            assert_eq!(decoded, plain);
        }
    }

    proptest! {
        #[test]
        fn hostile_payloads_never_panic_nor_outgrow_their_bound(
            payload in prop::collection::vec(any::<u8>(), 0..300), plain_bytes in 1_usize..5000
        ) {
            let mut codecs = Codecs::new().unwrap();
            for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
                if let Some(plain) = codecs.decompress(codec, &payload, plain_bytes) {
                    prop_assert_eq!(plain.len(), plain_bytes);
                }
            }
        }

        #[test]
        fn payloads_decode_to_their_chunk(seed in prop::collection::vec(0_u8..4, 1..5000)) {
            let mut codecs = Codecs::new().unwrap();
            for codec in [Codec::Lz4, Codec::Zstd] {
                if let Some(payload) = codecs.compress(codec, &seed).unwrap().map(<[u8]>::to_vec) {
                    prop_assert!(payload.len() < seed.len());
                    prop_assert_eq!(codecs.decompress(codec, &payload, seed.len()).unwrap(), seed.clone());
                    prop_assert!(codecs.decompress(codec, &payload, seed.len() - 1).is_none());
                    prop_assert!(codecs.decompress(codec, &payload, seed.len() + 1).is_none());
                }
            }
        }
    }
}
