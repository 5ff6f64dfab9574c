//! Content on its way in.

use std::error::Error as StdError;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE};
use futures::StreamExt;
use usp_api::ByteStream;
use usp_model::{Error, ErrorKind, Result};

use crate::rest::headers::{refused, single};

/// The body as storage takes it: pieces as they come off the wire, nothing collected.
pub(crate) fn stream(body: Body) -> ByteStream {
    Box::pin(body.into_data_stream().map(|piece| piece.map_err(|error| broken_body(error.into_inner()))))
}

/// What the client announced. Errors: `InvalidInput`.
pub(crate) fn announced_size(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(text) = single(headers, &CONTENT_LENGTH)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| refused(&CONTENT_LENGTH, "is not a number of bytes"))
}

/// Refuses content codings: bytes are kept as they come, and nothing would decode them later.
pub(crate) fn check_coding(headers: &HeaderMap) -> Result<()> {
    match single(headers, &CONTENT_ENCODING)? {
        None => Ok(()),
        Some(coding) if coding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::UnsupportedMedia, "read content")
            .because("content codings are not undone: send the bytes themselves, without Content-Encoding")),
    }
}

/// Refuses a part of a file: it would replace the whole.
pub(crate) fn check_whole(headers: &HeaderMap) -> Result<()> {
    if !headers.contains_key(&CONTENT_RANGE) {
        return Ok(());
    }
    Err(refused(
        &CONTENT_RANGE,
        "is not taken: a PUT stores all of a file; uploads that go on are at /api/v1/uploads",
    ))
}

/// What ended the body early: an error of ours keeps its kind (a layer cut the body off), anything else is the
/// connection.
pub(crate) fn broken_body(error: Box<dyn StdError + Send + Sync>) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error.as_ref());
    while let Some(found) = cause {
        if let Some(own) = found.downcast_ref::<Error>() {
            return Error::new(own.kind(), own.action()).because(own.detail()).caused_by(error);
        }
        cause = found.source();
    }
    Error::new(ErrorKind::InvalidInput, "read request body")
        .because("the body ended before all of it arrived, or is not framed as its head says")
        .caused_by(error)
}
