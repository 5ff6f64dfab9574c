//! Content from an async stream to a blocking step, a few pieces ahead.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use tokio::sync::mpsc;
use usp_api::ByteStream;
use usp_model::{Error, ErrorKind, Result};
use usp_rt::Shutdown;
use usp_steps::Progress;

/// Pieces that wait between the two sides.
const PIECE_COUNT_MAX: usize = 4;

/// The blocking side. An error of the stream becomes an error of the read; nothing ever looks like a short file.
#[derive(Debug)]
pub(crate) struct ContentReader {
    pieces: mpsc::Receiver<Result<Bytes>>,
    current: Bytes,
}

impl ContentReader {
    /// Begins to pull `content`. Dropping the reader ends the pull, and so does `stop`: a step that waits for bytes which
    /// do not come is woken by an error.
    pub(crate) fn start(mut content: ByteStream, stop: Shutdown) -> Self {
        let (sender, pieces) = mpsc::channel(PIECE_COUNT_MAX);
        tokio::spawn(async move {
            loop {
                let piece = tokio::select! {
                    piece = content.next() => piece,
                    () = stop.cancelled() => Some(Err(stopped())),
                    () = sender.closed() => return,
                };
                let Some(piece) = piece else { return };
                let is_last = piece.is_err();
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self { pieces, current: Bytes::new() }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Unavailable, "read content").because("the step was stopped")
}

impl Read for ContentReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(out.len());
        self.current.split_to(count).copy_to_slice(out.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// What a running step and the task that waits for it know of each other.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    bytes_read: AtomicU64,
    stop: Shutdown,
}

impl Gauge {
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Cancelled with the step.
    pub(crate) fn stop(&self) -> Shutdown {
        self.stop.clone()
    }

    pub(crate) fn total_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// 0..=99: a step is at 100 once it ended.
    pub(crate) fn percent_of(&self, size_bytes: u64) -> u8 {
        let read = self.bytes_read.load(Ordering::Relaxed).min(size_bytes);
        let percent = read.saturating_mul(100).checked_div(size_bytes).unwrap_or(0);
        u8::try_from(percent.min(99)).unwrap_or(99)
    }
}

impl Progress for Gauge {
    fn bytes_read(&self, total: u64) {
        self.bytes_read.store(total, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled()
    }
}
