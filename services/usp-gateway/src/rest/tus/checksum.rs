//! `Upload-Checksum`: a body that is compared with its checksum before any of it counts.
//!
//! Bytes that storage takes are durable soon after, so a body with a checksum is kept in memory until it is whole.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Body;
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use futures::{StreamExt, stream};
use md5::Digest as _;
use tokio::time::{Instant, timeout, timeout_at};
use usp_api::ByteStream;
use usp_model::{Error, ErrorKind, Result};
use usp_rt::ByteBudget;

use super::headers::UPLOAD_CHECKSUM;
use crate::Gateway;
use crate::problem::Failure;
use crate::rest::headers::{refused, single};
use crate::rest::input::content;

/// In the order of preference. SHA-1 finds accidents, which is what it is here for; tus wants every server to have it.
pub(super) const ALGORITHMS: &str = "sha256,blake3,crc32c,md5,sha1";

/// A body with a checksum. Clients that send more in one request have the checksum of the whole file (`sha256`).
const CHECKED_BYTES_MAX: u64 = 8 << 20;
/// How long a request waits for its share of them.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The body as storage takes it; with a checksum, only after the whole body matched it.
///
/// Errors: `InvalidInput` for a checksum that cannot be read, `TooLarge`, `Unavailable`; 460 when it does not hold.
pub(super) async fn content(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
) -> Result<ByteStream, Failure> {
    let content = content::stream(body);
    match Checksum::of(headers)? {
        None => Ok(content),
        Some(checksum) => {
            let announced = content::announced_size(headers)?;
            checksum.checked(content, announced, &gateway.checked_bytes).await
        }
    }
}

struct Checksum {
    hasher: Hasher,
    expected: Vec<u8>,
}

impl Checksum {
    fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let Some(text) = single(headers, &UPLOAD_CHECKSUM)? else { return Ok(None) };
        let (algorithm, value) = text.split_once(' ').unwrap_or((text, ""));
        let Some(hasher) = Hasher::new(algorithm) else {
            return Err(refused(&UPLOAD_CHECKSUM, &format!("names none of {ALGORITHMS}")));
        };
        let expected = STANDARD.decode(value.trim()).unwrap_or_default();
        if expected.len() != hasher.size_bytes() {
            let wanted = format!("needs {} bytes in base64 after '{algorithm}'", hasher.size_bytes());
            return Err(refused(&UPLOAD_CHECKSUM, &wanted));
        }
        Ok(Some(Self { hasher, expected }))
    }

    async fn checked(
        mut self,
        mut content: ByteStream,
        announced: Option<u64>,
        budget: &ByteBudget,
    ) -> Result<ByteStream, Failure> {
        let size_bytes_max = announced.unwrap_or(CHECKED_BYTES_MAX);
        if size_bytes_max > CHECKED_BYTES_MAX {
            return Err(too_large().into());
        }
        let permit = timeout(WAIT_MAX, budget.acquire(size_bytes_max)).await.map_err(|_| busy())?;
        let until = Instant::now() + time_max(size_bytes_max);
        let mut bytes = BytesMut::with_capacity(usize::try_from(announced.unwrap_or(0)).unwrap_or(0));
        while let Some(piece) = timeout_at(until, content.next()).await.map_err(|_| too_slow())? {
            let piece = piece?;
            if bytes.len().saturating_add(piece.len()) as u64 > size_bytes_max {
                return Err(too_large().into());
            }
            self.hasher.update(&piece);
            bytes.extend_from_slice(&piece);
        }
        if self.hasher.finish() != self.expected {
            return Err(Failure::checksum_mismatch());
        }
        // The permit travels with the bytes.
        let bytes = stream::once(async move {
            let _permit = permit;
            Ok(bytes.freeze())
        });
        Ok(Box::pin(bytes))
    }
}

/// How long a body may hold its share of the memory for checks, which others wait for.
fn time_max(size_bytes: u64) -> Duration {
    const AT_LEAST: Duration = Duration::from_secs(10);
    const BYTES_PER_S_MIN: u64 = 64 << 10;
    AT_LEAST + Duration::from_secs(size_bytes / BYTES_PER_S_MIN)
}

fn too_slow() -> Error {
    Error::new(ErrorKind::Unavailable, "check content").because(
        "the body came too slowly to be checked as a whole; send smaller parts, or no Upload-Checksum",
    )
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "check content").because(format!(
        "a request with Upload-Checksum carries at most {CHECKED_BYTES_MAX} bytes; send smaller parts, or no \
         Upload-Checksum and the sha256 of the whole file in Upload-Metadata"
    ))
}

fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "check content")
        .because("too many bodies are being checked right now; send it again in a moment")
}

/// Hashes piece by piece, so that no call takes long.
enum Hasher {
    Sha(digest::Context),
    Blake3(Box<blake3::Hasher>),
    Crc32c(Box<crc_fast::Digest>),
    Md5(md5::Md5),
}

impl Hasher {
    fn new(algorithm: &str) -> Option<Self> {
        match algorithm {
            "sha1" => Some(Self::Sha(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY))),
            "sha256" => Some(Self::Sha(digest::Context::new(&digest::SHA256))),
            "blake3" => Some(Self::Blake3(Box::default())),
            "crc32c" => {
                Some(Self::Crc32c(Box::new(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))))
            }
            "md5" => Some(Self::Md5(md5::Md5::new())),
            _ => None,
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Sha(hasher) => hasher.algorithm().output_len(),
            Self::Blake3(_) => blake3::OUT_LEN,
            Self::Crc32c(_) => 4,
            Self::Md5(_) => 16,
        }
    }

    fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Sha(hasher) => hasher.update(piece),
            Self::Blake3(hasher) => drop(hasher.update(piece)),
            Self::Crc32c(hasher) => hasher.update(piece),
            Self::Md5(hasher) => hasher.update(piece),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha(hasher) => hasher.finish().as_ref().to_vec(),
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
            // In network order, as everywhere in usp.
            Self::Crc32c(hasher) => hasher.finalize().to_be_bytes().get(4..).unwrap_or_default().to_vec(),
            Self::Md5(hasher) => hasher.finalize().to_vec(),
        }
    }
}
