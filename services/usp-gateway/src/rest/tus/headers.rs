//! The headers of tus.

use axum::extract::FromRequestParts;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use usp_model::{Error, ErrorKind, MediaType, Result, Upload, UploadState};

use super::receipt::Receipt;
use super::{concat, metadata};
use crate::problem::Failure;
use crate::rest::headers::{date, refused, single};
use crate::rest::input::content;

pub(super) const VERSION: &str = "1.0.0";
const CONTENT: &str = "application/offset+octet-stream";

pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(super) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(super) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub(super) const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(super) const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
pub(super) const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
pub(super) const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub(super) const FILE_ID: HeaderName = HeaderName::from_static("usp-file-id");

/// A request that speaks our version of tus; any other is 412 with the version that we speak.
#[derive(Debug)]
pub(crate) struct Tus;

impl<S: Send + Sync> FromRequestParts<S> for Tus {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        if let Ok(Some(VERSION)) = single(&parts.headers, &TUS_RESUMABLE) {
            return Ok(Self);
        }
        let error = Error::new(ErrorKind::PreconditionFailed, "read Tus-Resumable")
            .because("send 'Tus-Resumable: 1.0.0'; this is the one version of tus that is spoken here");
        Err(Failure::from(error).with_header(TUS_VERSION, HeaderValue::from_static(VERSION)))
    }
}

/// A number of bytes. Errors: `InvalidInput` unless it is written in digits alone.
pub(super) fn count(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>> {
    let Some(text) = single(headers, name)? else { return Ok(None) };
    let digits = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or_else(|| refused(name, "is not a number of bytes"))
}

/// The same for a header that must stand.
pub(super) fn needed_count(headers: &HeaderMap, name: &HeaderName) -> Result<u64> {
    count(headers, name)?.ok_or_else(|| refused(name, "is missing"))
}

/// Errors: `UnsupportedMedia` unless the body says that it is part of an upload, as it is.
pub(super) fn check_content(headers: &HeaderMap) -> Result<()> {
    content::check_coding(headers)?;
    let media_type = single(headers, &CONTENT_TYPE)?.and_then(|text| MediaType::parse(text).ok());
    match media_type {
        Some(media_type) if media_type.as_str() == CONTENT => Ok(()),
        _ => Err(Error::new(ErrorKind::UnsupportedMedia, "read content")
            .because(format!("the content of an upload is sent as {CONTENT}"))),
    }
}

/// Where an upload stands, for the answer to a request that changed it.
pub(super) fn progress(receipt: &Receipt) -> HeaderMap {
    let upload = &receipt.upload;
    let mut headers = HeaderMap::new();
    headers.insert(UPLOAD_OFFSET, upload.received_bytes.into());
    if upload.state == UploadState::Open {
        insert(&mut headers, UPLOAD_EXPIRES, &date::print(upload.expires_at));
    }
    if let Some(id) = receipt.file {
        insert(&mut headers, FILE_ID, &id.to_string());
    }
    headers
}

/// All that is to be said of an upload.
pub(super) fn description(receipt: &Receipt) -> HeaderMap {
    let mut headers = progress(receipt);
    let Upload { size_bytes, .. } = receipt.upload;
    match size_bytes {
        Some(size_bytes) => headers.insert(UPLOAD_LENGTH, size_bytes.into()),
        None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    if let Some(text) = concat::print(&receipt.upload.shape) {
        insert(&mut headers, UPLOAD_CONCAT, &text);
    }
    if let Some(text) = metadata::print(&receipt.upload) {
        insert(&mut headers, UPLOAD_METADATA, &text);
    }
    headers
}

pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
