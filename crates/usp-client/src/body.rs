//! Content on its way to the server, counted as it goes.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;
use usp_model::{Error, ErrorKind};

use crate::ClientError;

/// One read of a file or pipe.
const READ_BYTES: usize = 256 * 1024;

/// Told how many bytes of the current attempt have left so far; falls back to 0 when an attempt begins anew.
pub type ProgressFn = Arc<dyn Fn(u64) + Send + Sync>;

/// Reading what is to be sent failed. A type of its own, so that it is found again among the causes that hyper gives.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceError(pub(crate) io::Error);

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// What to upload. Bytes and files can be sent again after a lost connection; a stream cannot.
pub struct PutBody {
    source: Source,
    size_bytes: Option<u64>,
    progress: Option<ProgressFn>,
}

enum Source {
    Bytes(Bytes),
    File(PathBuf),
    /// `None` once it was sent.
    Stream(Option<Pieces>),
}

impl PutBody {
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { size_bytes: Some(bytes.len() as u64), source: Source::Bytes(bytes), progress: None }
    }

    /// A regular file, opened anew for each attempt; what it has then is sent. Pipes and devices have to be streams.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { source: Source::File(path.into()), size_bytes: None, progress: None }
    }

    /// Bytes as they come, up to the end. With a size, the server refuses any other length.
    pub fn reader(reader: impl AsyncRead + Send + 'static, size_bytes: Option<u64>) -> Self {
        Self::stream(ReaderStream::with_capacity(reader, READ_BYTES), size_bytes)
    }

    pub fn stream(
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        size_bytes: Option<u64>,
    ) -> Self {
        Self { source: Source::Stream(Some(Box::pin(pieces))), size_bytes, progress: None }
    }

    #[must_use]
    pub fn on_progress(mut self, progress: ProgressFn) -> Self {
        self.progress = Some(progress);
        self
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self.source, Source::Stream(_))
    }

    /// The body of the next attempt and its length, if that is known.
    pub(crate) async fn open(&mut self) -> Result<(reqwest::Body, Option<u64>), ClientError> {
        let (pieces, size_bytes): (Pieces, _) = match &mut self.source {
            Source::Bytes(bytes) => {
                let bytes = bytes.clone();
                (Box::pin(futures::stream::once(async move { Ok(bytes) })), self.size_bytes)
            }
            Source::File(path) => {
                let (file, size_bytes) = open_file(path).await.map_err(|source| {
                    let kind = match source.kind() {
                        io::ErrorKind::NotFound => ErrorKind::NotFound,
                        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                        _ => ErrorKind::InvalidInput,
                    };
                    let reason = format!("cannot read {}: {source}", path.display());
                    Error::new(kind, "open file").because(reason).caused_by(source)
                })?;
                match size_bytes {
                    // The files of /proc have bytes and no length.
                    0 => (Box::pin(ReaderStream::with_capacity(file, READ_BYTES)), None),
                    // A file that grows meanwhile is sent as it was when it was measured.
                    _ => {
                        let pieces = ReaderStream::with_capacity(file.take(size_bytes), READ_BYTES);
                        (Box::pin(pieces), Some(size_bytes))
                    }
                }
            }
            Source::Stream(pieces) => {
                let pieces = pieces.take().ok_or_else(|| {
                    Error::new(ErrorKind::Internal, "send body").because("a stream can be sent only once")
                })?;
                (pieces, self.size_bytes)
            }
        };
        Ok((counted(pieces, self.progress.clone()), size_bytes))
    }
}

async fn open_file(path: &PathBuf) -> io::Result<(tokio::fs::File, u64)> {
    let file = tokio::fs::File::open(path).await?;
    let attributes = file.metadata().await?;
    if attributes.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if !attributes.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok((file, attributes.len()))
}

fn counted(pieces: Pieces, progress: Option<ProgressFn>) -> reqwest::Body {
    let pieces = pieces.map_err(SourceError);
    let Some(progress) = progress else { return reqwest::Body::wrap_stream(pieces) };
    let mut sent_bytes = 0;
    progress(sent_bytes);
    reqwest::Body::wrap_stream(pieces.inspect_ok(move |piece| {
        sent_bytes += piece.len() as u64;
        progress(sent_bytes);
    }))
}

impl fmt::Debug for PutBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Bytes(_) => "bytes".to_owned(),
            Source::File(path) => path.display().to_string(),
            Source::Stream(_) => "stream".to_owned(),
        };
        f.debug_struct("PutBody")
            .field("source", &source)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// Turns an answer's body into pieces, and a broken connection into a sentence.
pub(crate) fn incoming(
    response: reqwest::Response,
    url: String,
) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
    response.bytes_stream().map(move |piece| {
        piece.map_err(|source| ClientError::Broken {
            url: url.clone(),
            reason: crate::call::reason_of(&source),
        })
    })
}
