//! Reading: resolve, read neighbours in one go, verify, send.
//!
//! 1. The index names the chunks of the range, some at a time.
//! 2. Chunks whose frames stand close together in one pack form a group, which one call reads.
//! 3. The group is decoded and every chunk compared with its digest on the CPU pool. Only then it leaves.
//!
//! A reader that keeps up gets larger groups and one more group ahead of it, from an allowance that all readers share; one
//! that is slow, or comes when the allowance is used up, holds one chunk.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use tokio::task::JoinHandle;
use usp_model::{ByteRange, Error, ErrorKind, PlacedChunk, Result};
use usp_rt::BytePermit;

mod source;

pub(crate) use source::{Form, Source};
use source::{Piece, take_group};

/// Bytes of one read, and of the chunks it yields: grows from the first figure to the second.
const GROUP_BYTES_FIRST: u64 = 128 << 10;
const GROUP_BYTES_MAX: u64 = 1 << 20;
/// Groups that are read before they are asked for.
const AHEAD_COUNT_MAX: usize = 2;

/// The plain bytes of a range, verified. Made by [`ContentStore::read`](crate::ContentStore::read).
pub struct ReadStream {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
}

impl ReadStream {
    /// `known`: the first chunks of the range, if they were resolved already.
    pub(crate) fn new(source: Source, range: ByteRange, known: Vec<PlacedChunk>) -> Self {
        let reader = Reader::new(source, range, known);
        let pieces = futures::stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|piece| (piece, reader)))
        });
        Self { pieces: Box::pin(pieces) }
    }
}

impl Stream for ReadStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_next_unpin(context)
    }
}

impl fmt::Debug for ReadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadStream")
    }
}

struct Reader {
    source: Source,
    /// Of the next byte to send.
    position: u64,
    end: u64,
    /// Of the byte after the last chunk that was resolved.
    resolved_to: u64,
    /// Resolved, not yet asked for.
    queue: VecDeque<PlacedChunk>,
    ahead: VecDeque<Ahead>,
    /// Verified, in order.
    ready: VecDeque<Piece>,
    /// Stands for `ready`.
    ready_permit: Option<BytePermit>,
    group_bytes: u64,
    /// Why nothing more can be resolved; returned once everything resolved before it has been sent.
    refusal: Option<Error>,
}

/// A group that is to be read. Dropped, it is abandoned.
struct Ahead {
    work: Work,
    permit: Option<BytePermit>,
}

enum Work {
    /// Begins when it is polled, which it is at once: nothing else is buffered.
    Here(BoxFuture<'static, Result<Vec<Piece>>>),
    /// Runs while what is buffered is sent.
    Aside(JoinHandle<Result<Vec<Piece>>>),
}

impl Ahead {
    async fn pieces(&mut self) -> Result<Vec<Piece>> {
        match &mut self.work {
            Work::Here(reading) => reading.await,
            Work::Aside(task) => task.await.unwrap_or_else(|source| {
                Err(Error::new(ErrorKind::Internal, "read chunks").caused_by(source))
            }),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Work::Aside(task) = &self.work {
            task.abort();
        }
    }
}

impl Reader {
    fn new(source: Source, range: ByteRange, known: Vec<PlacedChunk>) -> Self {
        let mut reader = Self {
            source,
            position: range.start(),
            end: range.end(),
            resolved_to: range.start(),
            queue: VecDeque::new(),
            ahead: VecDeque::new(),
            ready: VecDeque::new(),
            ready_permit: None,
            group_bytes: GROUP_BYTES_FIRST,
            refusal: None,
        };
        if !known.is_empty() {
            let taken = reader.source.check(known, range.start()).and_then(|chunks| reader.take(chunks));
            reader.refusal = taken.err();
        }
        reader
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.position < self.end {
            if let Some(piece) = self.ready.pop_front() {
                self.read_ahead().await;
                return Ok(Some(self.cut_to_range(piece)));
            }
            self.ready_permit = None;
            self.read_ahead().await;
            let Some(mut group) = self.ahead.pop_front() else {
                let refusal = self.refusal.take();
                return Err(
                    refusal.unwrap_or_else(|| self.source.corrupt("the content ends before its range"))
                );
            };
            self.ready.extend(group.pieces().await?);
            self.ready_permit = group.permit.take();
            self.group_bytes = (self.group_bytes * 2).min(GROUP_BYTES_MAX);
        }
        Ok(None)
    }

    /// The part of a chunk, which holds the byte at `position`, that lies in the range. What is coded goes whole.
    fn cut_to_range(&mut self, piece: Piece) -> Bytes {
        let Piece { offset, plain_bytes, bytes: mut chunk } = piece;
        if self.source.form == Form::Zstd {
            self.position += u64::from(plain_bytes);
            return chunk;
        }
        let skipped = usize::try_from(self.position.saturating_sub(offset)).unwrap_or(usize::MAX);
        chunk.advance(skipped.min(chunk.len()));
        let wanted = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        chunk.truncate(wanted);
        self.position += chunk.len() as u64;
        chunk
    }

    /// Begins to read what comes next: one group at least when nothing is buffered, more only within the allowance.
    async fn read_ahead(&mut self) {
        let keeps_up = self.group_bytes > GROUP_BYTES_FIRST;
        let count_max = if keeps_up { AHEAD_COUNT_MAX } else { 1 };
        while self.ahead.len() < count_max && self.has_more() {
            let permit = self.source.engine.read_ahead.acquire(self.group_bytes).now_or_never();
            let is_needed = self.ahead.is_empty() && self.ready.is_empty();
            if permit.is_none() && !is_needed {
                break;
            }
            if self.queue.is_empty()
                && let Err(error) = self.resolve().await
            {
                self.refusal = Some(error);
                break;
            }
            let size_bytes_max = if permit.is_some() { self.group_bytes } else { 0 };
            let group = take_group(&mut self.queue, size_bytes_max);
            let reading = self.source.clone().fetch(group);
            let work =
                if is_needed { Work::Here(reading.boxed()) } else { Work::Aside(tokio::spawn(reading)) };
            self.ahead.push_back(Ahead { work, permit });
        }
    }

    fn has_more(&self) -> bool {
        !self.queue.is_empty() || (self.resolved_to < self.end && self.refusal.is_none())
    }

    async fn resolve(&mut self) -> Result<()> {
        let chunks = self.source.resolve(self.resolved_to, self.end).await?;
        self.take(chunks)
    }

    fn take(&mut self, chunks: Vec<PlacedChunk>) -> Result<()> {
        let last =
            chunks.last().ok_or_else(|| self.source.corrupt("the manifest ends before its content"))?;
        self.resolved_to = last.offset + u64::from(last.chunk.size_bytes);
        self.queue.extend(chunks);
        Ok(())
    }
}
