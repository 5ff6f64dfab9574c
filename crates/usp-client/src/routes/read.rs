//! Reading content.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, RANGE};
use reqwest::{StatusCode, Url};
use usp_model::{ContentDigest, DigestAlgorithm, FileRef, MediaType};

use crate::body::incoming;
use crate::call::Call;
use crate::{Client, ClientError};

/// A connection that brings nothing for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub type ContentStream = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>;

/// Content on its way in.
pub struct Content {
    /// Bytes that will come; `None` when the server does not say.
    pub size_bytes: Option<u64>,
    pub media_type: Option<MediaType>,
    /// With its quotes.
    pub etag: Option<String>,
    /// The SHA-256 of the whole content, which is what comes unless [`Self::is_part`].
    pub sha256: Option<ContentDigest>,
    pub is_part: bool,
    /// Pieces in order; an error ends it. Dropping it ends the transfer.
    pub pieces: ContentStream,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("size_bytes", &self.size_bytes)
            .field("etag", &self.etag)
            .field("is_part", &self.is_part)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Opens content for reading: all of it, or what a `Range` such as `bytes=0-99` names.
    ///
    /// Errors: `NotFound`, `OutOfRange`, `Corrupt` for content whose first bytes failed their check; in the stream
    /// `Unavailable` when the connection breaks, which is also how the server ends content that fails later.
    pub async fn read(&self, file: &FileRef, range: Option<&str>) -> Result<Content, ClientError> {
        let mut call = Call::get(self.content_url(file)?);
        if let Some(range) = range {
            let value = HeaderValue::from_str(range)
                .map_err(|_source| ClientError::usage("read content", "the range is not valid"))?;
            call = call.header(RANGE.as_str(), value);
        }
        let response = self.send(call).await?;
        let headers = response.headers();
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_RANGE);
        Ok(Content {
            size_bytes: text(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()),
            media_type: text(headers, CONTENT_TYPE.as_str()).and_then(|text| MediaType::parse(text).ok()),
            etag: text(headers, ETAG.as_str()).map(str::to_owned),
            sha256: text(headers, "repr-digest").and_then(sha256_of),
            is_part,
            pieces: impatient(incoming(response, self.url().to_owned()), self.url().to_owned()),
        })
    }

    fn content_url(&self, file: &FileRef) -> Result<Url, ClientError> {
        match file {
            FileRef::Id(id) => self.base().by_id(id, Some("content")),
            FileRef::Key(bucket, key) => self.base().file(bucket, key),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `sha-256=:BASE64:` among the members of the field (RFC 9530).
fn sha256_of(field: &str) -> Option<ContentDigest> {
    field.split(',').find_map(|member| {
        let value = member.trim().strip_prefix("sha-256=:")?;
        let (value, _parameters) = value.split_once(':')?;
        ContentDigest::from_base64(DigestAlgorithm::Sha256, value).ok()
    })
}

fn impatient(
    pieces: impl Stream<Item = Result<Bytes, ClientError>> + Send + 'static,
    url: String,
) -> ContentStream {
    let pieces: ContentStream = Box::pin(pieces);
    Box::pin(futures::stream::unfold(Some(pieces), move |pieces| {
        let url = url.clone();
        async move {
            let mut pieces = pieces?;
            match tokio::time::timeout(SILENCE_MAX, pieces.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                Ok(Some(Err(error))) => Some((Err(error), None)),
                Err(_elapsed) => {
                    let reason = format!("nothing came for {} s", SILENCE_MAX.as_secs());
                    Some((Err(ClientError::Broken { url, reason }), None))
                }
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sha_256_is_found_among_other_digests() {
        let field = "sha-512=:AAAA:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
        let digest = sha256_of(field).unwrap();
        assert_eq!(digest.to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(sha256_of("md5=:AAAA:").is_none());
        assert!(sha256_of("sha-256=:AAAA:").is_none());
    }
}
