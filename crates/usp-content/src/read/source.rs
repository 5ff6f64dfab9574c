//! Where the chunks of one content come from: the index says where they stand, the pack gives the bytes, the digest
//! decides whether they are the ones.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use usp_model::{
    ByteRange, DomainKey, Error, ErrorKind, FramePlace, ManifestId, PlacedChunk, Result, StoredChunk,
};

use crate::engine::Engine;
use crate::frame::{Expected, PLAIN_BYTES_MAX, open_frame, open_frame_as_zstd, stored_bytes};

/// Chunks that are resolved in one go.
const RESOLVE_COUNT_MAX: usize = 64;
/// Bytes between two frames that are cheaper to read than to skip.
const GAP_BYTES_MAX: u64 = 16 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) engine: Arc<Engine>,
    pub(crate) key: DomainKey,
    pub(crate) manifest: ManifestId,
    pub(crate) form: Form,
}

/// What leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// One Zstandard frame for each chunk.
    Zstd,
}

/// A chunk that was checked.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Of its first plain byte in the content.
    pub(super) offset: u64,
    pub(super) plain_bytes: u32,
    /// In the form that was asked for.
    pub(super) bytes: Bytes,
}

/// Takes chunks off the queue whose frames one read can bring: at least one, more while their bytes stay within
/// `size_bytes_max`. The queue is not empty.
pub(super) fn take_group(queue: &mut VecDeque<PlacedChunk>, size_bytes_max: u64) -> Vec<PlacedChunk> {
    let mut group: Vec<PlacedChunk> = queue.pop_front().into_iter().collect();
    let mut size_bytes: u64 = group.iter().map(cost).sum();
    while let (Some(last), Some(next)) = (group.last(), queue.front()) {
        size_bytes += cost(next);
        if size_bytes > size_bytes_max || !follows(last.chunk.place, next.chunk.place) {
            break;
        }
        group.extend(queue.pop_front());
    }
    group
}

/// Bytes that a chunk holds in memory at most while it is read and decoded.
fn cost(placed: &PlacedChunk) -> u64 {
    u64::from(placed.chunk.size_bytes).max(u64::from(placed.chunk.place.stored_bytes))
}

/// Whether `next` is the same frame, as in a run of zeros, or stands a little further on in the same pack.
fn follows(last: FramePlace, next: FramePlace) -> bool {
    let gap = next.offset.checked_sub(end_of(last));
    next == last || (next.pack == last.pack && gap.is_some_and(|gap| gap <= GAP_BYTES_MAX))
}

fn end_of(place: FramePlace) -> u64 {
    place.offset.saturating_add(u64::from(place.stored_bytes))
}

impl Source {
    /// The next chunks of `start..end`, each of which begins where the one before it ends.
    pub(super) async fn resolve(&self, start: u64, end: u64) -> Result<Vec<PlacedChunk>> {
        let range = ByteRange::new(start, end)?;
        let chunks = self.engine.index.resolve(self.manifest, range, RESOLVE_COUNT_MAX).await?;
        self.check(chunks, start)
    }

    /// `chunks` if they follow each other, beginning with the one that holds the byte at `start`.
    pub(super) fn check(&self, chunks: Vec<PlacedChunk>, start: u64) -> Result<Vec<PlacedChunk>> {
        let mut expected = chunks.first().map_or(start, |first| first.offset);
        let mut sound = expected <= start;
        for placed in &chunks {
            sound &= placed.offset == expected && placed.chunk.size_bytes > 0;
            // A damaged row must not make a reader allocate more than the longest frame.
            sound &= placed.chunk.place.stored_bytes <= stored_bytes(PLAIN_BYTES_MAX);
            expected = expected.saturating_add(u64::from(placed.chunk.size_bytes));
        }
        if sound && (chunks.is_empty() || expected > start) {
            Ok(chunks)
        } else {
            Err(self.corrupt("the chunks of the manifest do not follow each other within their bounds"))
        }
    }

    /// The plain bytes of the chunks of a group, verified, and where each begins in the content.
    pub(super) async fn fetch(self, group: Vec<PlacedChunk>) -> Result<Vec<Piece>> {
        match self.fetch_group(&group).await {
            // The pack went away between resolving and reading, as it may after its frames were moved: ask again.
            Err(error) if error.kind() == ErrorKind::NotFound => self.fetch_moved(&group).await,
            other => other,
        }
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.corrupt("a pack is gone").caused_by(error),
            ErrorKind::OutOfRange => self.corrupt("a pack is too short").caused_by(error),
            _ => error,
        })
    }

    async fn fetch_moved(&self, group: &[PlacedChunk]) -> Result<Vec<Piece>> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(Vec::new());
        };
        let (mut position, end) = (first.offset, last.offset + u64::from(last.chunk.size_bytes));
        let mut fetched = Vec::new();
        while position < end {
            let mut queue = VecDeque::from(self.resolve(position, end).await?);
            if queue.is_empty() {
                return Err(self.corrupt("the content ends before its range"));
            }
            while !queue.is_empty() {
                let part = self.fetch_group(&take_group(&mut queue, 0)).await?;
                position += part.iter().map(|piece| u64::from(piece.plain_bytes)).sum::<u64>();
                fetched.extend(part);
            }
        }
        Ok(fetched)
    }

    async fn fetch_group(&self, group: &[PlacedChunk]) -> Result<Vec<Piece>> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(Vec::new());
        };
        let start = first.chunk.place.offset;
        let range = ByteRange::new(start, end_of(last.chunk.place))?;
        let bytes = self.engine.pack_store.read(first.chunk.place.pack, range).await?;
        let size_bytes = usize::try_from(group.iter().map(cost).sum::<u64>()).unwrap_or(usize::MAX);
        let (group, key, form) = (group.to_vec(), self.key.clone(), self.form);
        let codecs = Arc::clone(&self.engine.codecs);
        let job = move || {
            codecs.with(|codecs| {
                let mut opened: Vec<Piece> = Vec::with_capacity(group.len());
                let mut previous: Option<(FramePlace, Bytes)> = None;
                for placed in group {
                    let place = placed.chunk.place;
                    let content = match previous.filter(|(same, _)| *same == place) {
                        Some((_, content)) => content,
                        None => match open(&bytes, start, &placed, &key, form, codecs) {
                            Some(content) => content,
                            None => return Ok(Err(placed.chunk)),
                        },
                    };
                    let (offset, plain_bytes) = (placed.offset, placed.chunk.size_bytes);
                    opened.push(Piece { offset, plain_bytes, bytes: content.clone() });
                    previous = Some((place, content));
                }
                Ok(Ok(opened))
            })
        };
        match self.engine.compute("verify chunks", size_bytes, job).await? {
            Ok(opened) => {
                let bytes_out = opened.iter().map(|piece| piece.bytes.len() as u64).sum();
                self.engine.counters.bytes_out.add(bytes_out);
                Ok(opened)
            }
            Err(chunk) => Err(self.doubt(chunk).await),
        }
    }

    /// The chunk counts as not stored from now on, so that the next upload of the same bytes mends it.
    async fn doubt(&self, chunk: StoredChunk) -> Error {
        let place = chunk.place;
        tracing::error!(pack.id = %place.pack, offset = place.offset, "a frame failed its check");
        self.engine.counters.frames_corrupt.add(1);
        self.engine.pending.forget(&chunk.digest);
        if let Err(error) = self.engine.index.doubt(place.pack, ByteRange::at(place.offset, 1)).await {
            tracing::error!(error = %error.chain(), "the damaged frame still counts as stored");
        }
        Error::new(ErrorKind::Corrupt, "read chunk")
            .about(chunk.digest)
            .because("its stored bytes failed their check and are not served")
    }

    pub(super) fn corrupt(&self, reason: &'static str) -> Error {
        Error::new(ErrorKind::Corrupt, "read content").about(self.manifest).because(reason)
    }
}

/// The chunk that stands at its place in `bytes`, which begin at `start` in the pack. `None`: it fails its check.
fn open(
    bytes: &Bytes,
    start: u64,
    placed: &PlacedChunk,
    key: &DomainKey,
    form: Form,
    codecs: &mut crate::codec::Codecs,
) -> Option<Bytes> {
    let chunk = &placed.chunk;
    let expected = Expected {
        digest: chunk.digest,
        plain_bytes: chunk.size_bytes,
        stored_bytes: chunk.place.stored_bytes,
    };
    let from = usize::try_from(chunk.place.offset.saturating_sub(start)).unwrap_or(usize::MAX);
    let to = from.saturating_add(chunk.place.stored_bytes as usize);
    let frame = bytes.get(from..to).map(|_| bytes.slice(from..to));
    frame.and_then(|frame| match form {
        Form::Plain => open_frame(&frame, expected, key, codecs),
        Form::Zstd => open_frame_as_zstd(&frame, expected, key, codecs),
    })
}
