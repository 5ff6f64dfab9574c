//! Scrubbing: every committed byte of a pack against its checksums, also behind a damaged frame.
//!
//! 1. The footer says where the frames of a sealed pack stand; each is compared with its entry.
//! 2. Without a footer (an open pack, a damaged one) the frames are walked. Behind a damaged payload the walk goes on
//!    where the header says; behind a damaged header it goes on at the next bytes that are a whole, sound header. What lies
//!    between is one stretch of damage.
//! 3. Bytes come from the medium: cached bytes of the pack are dropped before and after.
//!
//! Nothing is written. It needs no key: it finds accidents, not forgeries.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::watch;
use tokio::time::Instant;
use usp_model::{ByteRange, DomainKey, Error, ErrorKind, PackDamage, PackId, PackPart, Result};

use crate::codec::CodecPool;
use crate::frame::{Expected, FRAME_HEADER_BYTES, FrameHeader, open_frame};
use crate::pack::{self, FrameEntry, PACK_HEADER_BYTES, Walked, walk_frame};
use crate::pack_store::PackStore;
use crate::scan::{self, refuse_newer};

/// Bytes that a scrub holds of the pack.
const WINDOW_BYTES: u64 = 1 << 20;

/// What scrubbing needs to know of a pack, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A sealed pack of this size.
    Sealed(u64),
    /// An open pack, in which commits rely on so many bytes.
    Committed(u64),
    /// A pack that was set aside, open or sealed, of which so many bytes count.
    SetAside(u64),
}

impl Extent {
    fn end(self) -> u64 {
        let (Self::Sealed(end) | Self::Committed(end) | Self::SetAside(end)) = self;
        end
    }
}

/// What a scrub of one pack found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Bytes that were read and checked.
    pub size_bytes: u64,
    /// The sound frames, in order.
    pub frames: Vec<FrameEntry>,
    /// In order of their offsets; they do not overlap.
    pub damage: Vec<PackDamage>,
    /// Whether the frames were found through a footer, so that none can be missed.
    pub has_footer: bool,
}

impl ScrubReport {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// How fast a scrub reads. Clones share the rate, which may be changed while it goes on.
#[derive(Debug, Clone)]
pub struct Pace {
    bytes_per_s: watch::Sender<u64>,
    /// Until when what was read so far should have taken.
    due: Instant,
}

impl Pace {
    /// 0: as fast as the medium.
    pub fn of(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: watch::Sender::new(bytes_per_s), due: Instant::now() }
    }

    /// As fast as the medium.
    pub fn unlimited() -> Self {
        Self::of(0)
    }

    /// The rate; 0: as fast as the medium.
    pub fn bytes_per_s(&self) -> u64 {
        *self.bytes_per_s.borrow()
    }

    /// Changes the rate of this pace and of its clones.
    pub fn set(&self, bytes_per_s: u64) {
        self.bytes_per_s.send_replace(bytes_per_s);
    }

    /// Waits until so many more bytes fit the rate. Time in which nothing was read gives no credit. Another rate holds at
    /// once, for these bytes too.
    async fn spend(&mut self, bytes: u64) {
        let mut rates = self.bytes_per_s.subscribe();
        let begun = Instant::now().max(self.due);
        loop {
            let rate = *rates.borrow_and_update();
            if rate == 0 {
                self.due = Instant::now();
                return;
            }
            let ns = u128::from(bytes).saturating_mul(1_000_000_000) / u128::from(rate);
            self.due = begun + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
            tokio::select! {
                () = tokio::time::sleep_until(self.due) => return,
                // Its sender is ours.
                _changed = rates.changed() => {}
            }
        }
    }
}

/// Looks at packs and changes nothing; what checks a store, open or not, sees packs through it.
#[derive(Debug, Clone)]
pub struct PackInspector {
    packs: PackStore,
    codecs: Arc<CodecPool>,
}

/// What lies in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Bytes of the pack as it lies there.
    pub size_bytes: u64,
    /// It ends with a sound footer.
    pub is_sealed: bool,
    /// Nothing in front of the end of its last frame is damaged.
    pub is_sound: bool,
    /// The sound frames, in order.
    pub frames: Vec<FrameEntry>,
}

impl PackInspector {
    /// Looks at `packs`.
    pub fn new(packs: PackStore) -> Self {
        Self { packs, codecs: Arc::default() }
    }

    /// Checks every committed byte of a pack.
    ///
    /// Errors: `NotFound`, `Unavailable`. Cancel: safe.
    pub async fn scrub(&self, pack: PackId, extent: Extent, pace: &mut Pace) -> Result<ScrubReport> {
        let packs = &self.packs;
        let size_bytes = packs.len(pack).await?;
        packs.drop_cache(pack).await?;
        let found = Scrub { packs, pack, extent, size_bytes, report: ScrubReport::default() }.run(pace).await;
        packs.drop_cache(pack).await?;
        found
    }

    /// The frames of a sealed pack as its footer lists them: with these the chunk index can be rebuilt.
    ///
    /// Errors: `NotFound`, `Unavailable`, `Corrupt` when the footer fails its check.
    pub async fn frames(&self, pack: PackId) -> Result<Vec<FrameEntry>> {
        let size_bytes = self.packs.len(pack).await?;
        let footer = scan::read_footer(&self.packs, pack, size_bytes).await?;
        footer.ok_or_else(|| Error::new(ErrorKind::Corrupt, "read the footer of pack").about(pack))
    }

    /// What a pack holds, with nothing known of it but that it lies there: its footer is believed, or every frame read.
    ///
    /// Errors: `NotFound`, `Unavailable`.
    pub async fn survey(&self, pack: PackId, reads_frames: bool) -> Result<Survey> {
        let size_bytes = self.packs.len(pack).await?;
        let header = self.packs.read(pack, ByteRange::at(0, size_bytes.min(PACK_HEADER_BYTES))).await?;
        refuse_newer(pack, &header)?;
        if !reads_frames && let Some(frames) = scan::read_footer(&self.packs, pack, size_bytes).await? {
            return Ok(Survey { size_bytes, is_sealed: true, is_sound: true, frames });
        }
        let extent = Extent::SetAside(size_bytes);
        let found = self.scrub(pack, extent, &mut Pace::unlimited()).await?;
        // Behind the last frame of an open pack lies whatever was being written: no frame, and no damage.
        let frames_end = found.frames.last().map_or(PACK_HEADER_BYTES, FrameEntry::end);
        let is_sound = found.damage.iter().all(|damage| !found.has_footer && damage.offset >= frames_end);
        Ok(Survey { size_bytes, is_sealed: found.has_footer, is_sound, frames: found.frames })
    }

    /// Whether the plain bytes of a frame have its digest under one of `keys`.
    pub async fn proves(&self, pack: PackId, frame: &FrameEntry, keys: &[DomainKey]) -> Result<bool> {
        let place = frame.place(pack);
        let stored_bytes = u64::from(place.stored_bytes);
        let bytes = self.packs.read(pack, ByteRange::at(place.offset, stored_bytes)).await?;
        let expected = Expected {
            digest: frame.digest,
            plain_bytes: frame.plain_bytes,
            stored_bytes: place.stored_bytes,
        };
        self.codecs
            .with(|codecs| Ok(keys.iter().any(|key| open_frame(&bytes, expected, key, codecs).is_some())))
    }

    /// Bytes of the pack as it lies there. Errors: `NotFound`, `Unavailable`.
    pub async fn len(&self, pack: PackId) -> Result<u64> {
        self.packs.len(pack).await
    }

    /// Every pack that lies there, in order of the ids.
    pub async fn list(&self) -> Result<Vec<PackId>> {
        self.packs.list().await
    }

    /// What lies among the packs and is none.
    pub async fn strays(&self) -> Result<Vec<String>> {
        self.packs.strays().await
    }
}

struct Scrub<'p> {
    packs: &'p PackStore,
    pack: PackId,
    extent: Extent,
    /// Of the pack as it lies there.
    size_bytes: u64,
    report: ScrubReport,
}

impl Scrub<'_> {
    async fn run(mut self, pace: &mut Pace) -> Result<ScrubReport> {
        let end = self.extent.end();
        self.report.size_bytes = end.min(self.size_bytes);
        if self.size_bytes < PACK_HEADER_BYTES {
            self.damaged(self.size_bytes, end.max(PACK_HEADER_BYTES), PackPart::Missing);
            return Ok(self.report);
        }
        let header = self.packs.read(self.pack, ByteRange::at(0, PACK_HEADER_BYTES)).await?;
        refuse_newer(self.pack, &header)?;
        if pack::decode_header(&header) != Some(self.pack) {
            self.damaged(0, PACK_HEADER_BYTES, PackPart::Header);
        }
        let may_have_footer = !matches!(self.extent, Extent::Committed(_)) && end <= self.size_bytes;
        let footer = match may_have_footer {
            true => scan::read_footer(self.packs, self.pack, end).await?,
            false => None,
        };
        match footer {
            Some(entries) => {
                self.report.has_footer = true;
                self.compare(&entries, pace).await?;
            }
            None => self.walk(pace).await?,
        }
        if self.size_bytes < end {
            self.damaged(self.size_bytes, end, PackPart::Missing);
        }
        if self.size_bytes > end && matches!(self.extent, Extent::Sealed(_)) {
            self.damaged(end, self.size_bytes, PackPart::Footer);
        }
        Ok(self.report)
    }

    fn damaged(&mut self, offset: u64, end: u64, part: PackPart) {
        let size_bytes = end.saturating_sub(offset);
        if size_bytes > 0 {
            self.report.damage.push(PackDamage { pack: self.pack, offset, size_bytes, part });
        }
    }

    /// The frames that the footer lists, one window of the pack at a time.
    async fn compare(&mut self, entries: &[FrameEntry], pace: &mut Pace) -> Result<()> {
        let mut rest = entries;
        while let Some(first) = rest.first() {
            let fits = |entry: &FrameEntry| entry.end() - first.offset <= WINDOW_BYTES;
            let count = rest.iter().take_while(|entry| fits(entry)).count().max(1);
            let (group, later) = rest.split_at(count.min(rest.len()));
            rest = later;
            let end = group.last().map_or(first.end(), FrameEntry::end);
            let mut window = self.packs.read(self.pack, ByteRange::new(first.offset, end)?).await?;
            pace.spend(window.len() as u64).await;
            for entry in group {
                let stored = entry.place(self.pack).stored_bytes as usize;
                let frame = window.split_to(stored.min(window.len()));
                if walk_frame(entry.offset, &frame) == Walked::Frame(*entry) {
                    self.report.frames.push(*entry);
                } else {
                    refuse_newer(self.pack, &frame)?;
                    self.damaged(entry.offset, entry.end(), PackPart::Frame);
                }
            }
        }
        Ok(())
    }

    /// The frames as they follow each other, with whatever damage lies between them.
    async fn walk(&mut self, pace: &mut Pace) -> Result<()> {
        let end = self.report.size_bytes;
        let mut offset = PACK_HEADER_BYTES;
        let mut window = Bytes::new();
        while offset < end {
            match walk_frame(offset, &window) {
                Walked::Frame(entry) => {
                    offset = entry.end();
                    window.advance(entry.place(self.pack).stored_bytes as usize);
                    self.report.frames.push(entry);
                }
                Walked::NeedsBytes(bytes) if bytes as u64 <= end - offset => {
                    let wanted = WINDOW_BYTES.max(bytes as u64).min(end - offset);
                    window = self.packs.read(self.pack, ByteRange::at(offset, wanted)).await?;
                    pace.spend(wanted).await;
                }
                Walked::NeedsBytes(_) | Walked::Damaged => {
                    refuse_newer(self.pack, &window)?;
                    let next = match frame_end(offset, &window).filter(|&next| next <= end) {
                        Some(next) => next,
                        None => self.next_header(offset, end, pace).await?,
                    };
                    let is_last = next == end && !matches!(self.extent, Extent::Committed(_));
                    self.damaged(offset, next, if is_last { PackPart::Footer } else { PackPart::Frame });
                    offset = next;
                    window = Bytes::new();
                }
            }
        }
        Ok(())
    }

    /// Where the next sound frame header behind `offset` begins, or `end`.
    async fn next_header(&self, offset: u64, end: u64, pace: &mut Pace) -> Result<u64> {
        let header_bytes = FRAME_HEADER_BYTES as u64;
        let mut start = offset + 1;
        while start + header_bytes <= end {
            let wanted = WINDOW_BYTES.min(end - start);
            let window = self.packs.read(self.pack, ByteRange::at(start, wanted)).await?;
            pace.spend(wanted).await;
            let found =
                window.windows(FRAME_HEADER_BYTES).position(|bytes| FrameHeader::decode(bytes).is_some());
            if let Some(found) = found {
                return Ok(start + found as u64);
            }
            // A header may begin in the last bytes of the window.
            start += (wanted + 1 - header_bytes).max(1);
        }
        Ok(end)
    }
}

/// Where the frame that begins `bytes` ends, if its header can be believed.
fn frame_end(offset: u64, bytes: &[u8]) -> Option<u64> {
    let header = FrameHeader::decode(bytes)?;
    offset.checked_add(u64::from(header.stored_bytes()))
}
