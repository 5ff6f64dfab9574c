//! Contents, and streams that carry them well or badly.

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use usp_api::{ByteStream, Reading};
use usp_model::{Error, ErrorKind, Result};
use usp_testkit::generate;

/// No power of two, so that pieces never end where chunks, slabs or messages do.
const PIECE_BYTES: usize = 50_021;

/// Bytes that neither shrink nor repeat; the same for the same seed.
pub(crate) fn random_bytes(seed: u64, len: usize) -> Bytes {
    generate::bytes(seed, len).into()
}

pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    generate::sha256_hex(bytes)
}

fn cut(bytes: &[u8]) -> Vec<Result<Bytes>> {
    bytes.chunks(PIECE_BYTES).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

/// The content, in order and to its end.
pub(crate) fn pieces(bytes: &[u8]) -> ByteStream {
    stream::iter(cut(bytes)).boxed()
}

/// The content, and then an error where its end should be.
pub(crate) fn broken_after(bytes: &[u8]) -> ByteStream {
    let broken = Error::new(ErrorKind::RateLimited, "receive content").because("the client went away");
    stream::iter(cut(bytes)).chain(stream::iter([Err(broken)])).boxed()
}

/// Feeds a stream by hand; dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct Tap(mpsc::Sender<Result<Bytes>>);

pub(crate) fn tap() -> (Tap, ByteStream) {
    let (sender, receiver) = mpsc::channel(0);
    (Tap(sender), receiver.boxed())
}

impl Tap {
    pub(crate) async fn pour(&mut self, bytes: &[u8]) {
        self.try_pour(bytes).await.unwrap();
    }

    /// Errors: nobody takes them any more.
    pub(crate) async fn try_pour(&mut self, bytes: &[u8]) -> std::result::Result<(), mpsc::SendError> {
        for piece in cut(bytes) {
            self.0.send(piece).await?;
        }
        Ok(())
    }
}

/// All of what is read, and how long it was said to be.
pub(super) async fn drain(reading: Reading) -> Result<Vec<u8>> {
    let announced = reading.range.len();
    let parts: Vec<Bytes> = reading.content.try_collect().await?;
    let bytes = parts.concat();
    assert_eq!(bytes.len() as u64, announced, "a read is as long as its range");
    Ok(bytes)
}
