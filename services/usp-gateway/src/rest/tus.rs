//! tus 1.0.0: resumable uploads.
//!
//! 1. POST opens an upload and returns its address. A body is its first piece; if storing that fails, so does the
//!    whole request, and nothing is left.
//! 2. PATCH appends at the current offset of the upload. When the connection breaks, what is durable by then counts.
//!    One request appends at a time; others are 423.
//! 3. The request that brings the last byte makes the file and returns its id. It runs to its end even if its client
//!    is gone.
//! 4. HEAD returns the durable offset. It never reports a complete upload before the file exists: if the request that
//!    should have made the file died in between, HEAD makes it.
//! 5. Parts of a file may be sent in parallel, each as an upload of its own that becomes no file; one more POST joins
//!    them. Repeated because its answer was lost, it returns the upload that they were joined to.
//! 6. An upload that can never become a file (its digest differs, its media type is not taken) ends at once: 410 from
//!    then on. So does one that receives nothing for too long.
//!
//! Source: <https://tus.io/protocols/resumable-upload>, version 1.0.0.

mod checksum;
mod concat;
pub(crate) mod creation;
mod headers;
mod metadata;
mod receipt;
pub(crate) mod session;

use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use usp_model::UploadId;
use usp_model::limits::FILE_SIZE_BYTES_MAX;

use crate::request::Head;

use headers::{TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE, TUS_RESUMABLE, TUS_VERSION, VERSION};

const PATH: &str = "/api/v1/uploads";

/// The extensions that are implemented.
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,\
                          concatenation";

type Described = (StatusCode, [(HeaderName, String); 4]);

/// Show version and extensions of tus
///
/// Version, extensions, checksum algorithms and largest upload of tus, in headers.
#[utoipa::path(
    options,
    path = "/uploads",
    tag = "uploads",
    responses((status = 204, description = "tus 1.0.0.", headers(
        ("Tus-Version" = String), ("Tus-Extension" = String), ("Tus-Max-Size" = u64),
        ("Tus-Checksum-Algorithm" = String),
    )))
)]
pub(crate) async fn describe_uploads() -> Described {
    described()
}

/// Show version and extensions of tus, at the address of an upload
#[utoipa::path(
    options,
    path = "/uploads/{upload_id}",
    tag = "uploads",
    params(("upload_id" = String, Path)),
    responses((status = 204, description = "As of /uploads; it says nothing about the upload."))
)]
pub(crate) async fn describe_upload() -> Described {
    described()
}

fn described() -> Described {
    let headers = [
        (TUS_VERSION, VERSION.to_owned()),
        (TUS_EXTENSION, EXTENSIONS.to_owned()),
        (TUS_MAX_SIZE, FILE_SIZE_BYTES_MAX.to_string()),
        (TUS_CHECKSUM_ALGORITHM, checksum::ALGORITHMS.to_owned()),
    ];
    (StatusCode::NO_CONTENT, headers)
}

/// The upload that a request continues, for its rate limit: PATCH and HEAD, of which one upload may take many.
pub(super) fn continued_upload(head: Head<'_>) -> Option<UploadId> {
    let continues = *head.method == Method::PATCH || *head.method == Method::HEAD;
    let id = head.uri.path().strip_prefix(PATH)?.strip_prefix('/').filter(|_| continues)?;
    UploadId::parse(id).ok()
}

/// Adds the headers that every answer of tus carries, refusals included.
pub(crate) async fn add_headers(request: Request, next: Next) -> Response {
    let below = request.uri().path().strip_prefix(PATH);
    let is_tus = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut response = next.run(request).await;
    if is_tus {
        let headers = response.headers_mut();
        headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
        // An offset is outdated as soon as it is sent.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
