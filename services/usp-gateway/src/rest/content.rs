//! Reading content: conditions, ranges, and headers that keep browsers from running it.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::TryStreamExt;
use tracing::error;
use usp_api::{Caller, Coding, ReadFile, Reading};
use usp_model::{BucketName, ByteRange, Error, ErrorKind, File, FileKey, FileRef};

use super::headers::conditions::{ReadConditions, Verdict, range_holds};
use super::headers::range::{Asked, asked};
use super::headers::{coding, date, digest, disposition, etag};
use super::input::caller::By;
use super::input::path::{At, file_id};
use super::input::query::Parameters;
use super::parameters::VersionParameters;
use crate::Gateway;
use crate::problem::Failure;

pub(crate) const FILE_ID: HeaderName = HeaderName::from_static("x-usp-file-id");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("x-usp-version");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Read content by key
///
/// Every byte was checked against its digest before it is sent. One range is served as 206; several in one request
/// are answered with all of the content, as RFC 9110 allows.
#[utoipa::path(
    method(get, head),
    path = "/buckets/{bucket}/files/{*key}",
    tag = "files",
    params(
        ("bucket" = String, Path, example = "default"),
        ("key" = String, Path, example = "2026/orders.csv"),
        VersionParameters,
        ("Range" = Option<String>, Header, example = "bytes=0-1023"),
        ("Accept-Encoding" = Option<String>, Header, description = "With `zstd`, all of a content is sent as it is \
            stored, under `Content-Encoding: zstd`, a weak ETag and without a length.", example = "zstd"),
        ("If-Range" = Option<String>, Header),
        ("If-None-Match" = Option<String>, Header),
        ("If-Match" = Option<String>, Header),
        ("If-Modified-Since" = Option<String>, Header),
        ("If-Unmodified-Since" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "All of it.", content_type = "application/octet-stream",
            body = inline(super::json::words::Bytes), headers(
            ("ETag" = String), ("Last-Modified" = String), ("Accept-Ranges" = String),
            ("Repr-Digest" = String, description = "SHA-256 of all of the content, once it is known."),
            ("X-Usp-File-Id" = String), ("X-Usp-Version" = u32),
        )),
        (status = 206, description = "The range.", content_type = "application/octet-stream",
            body = inline(super::json::words::Bytes), headers(("Content-Range" = String))),
        (status = 304, description = "The client holds it already."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 412, description = "A condition does not hold."),
        (status = 416, description = "The range lies outside the content.", headers(("Content-Range" = String))),
    )
)]
pub(crate) async fn read_by_key(
    State(gateway): State<Gateway>,
    By(caller): By,
    At((bucket, key)): At<(String, String)>,
    Parameters(query): Parameters<VersionParameters>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let file = FileRef::Key(BucketName::parse(&bucket)?, FileKey::parse(&key)?);
    read(&gateway, &caller, &method, &headers, (file, query.version)).await
}

/// Read content by id
///
/// As by key.
#[utoipa::path(
    method(get, head),
    path = "/files/{file_id}/content",
    tag = "files",
    params(
        ("file_id" = String, Path),
        VersionParameters,
        ("Range" = Option<String>, Header, example = "bytes=0-1023"),
        ("Accept-Encoding" = Option<String>, Header, description = "With `zstd`, all of a content is sent as it is \
            stored, under `Content-Encoding: zstd`, a weak ETag and without a length.", example = "zstd"),
        ("If-Range" = Option<String>, Header),
        ("If-None-Match" = Option<String>, Header),
        ("If-Match" = Option<String>, Header),
        ("If-Modified-Since" = Option<String>, Header),
        ("If-Unmodified-Since" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "All of it.", content_type = "application/octet-stream",
            body = inline(super::json::words::Bytes)),
        (status = 206, description = "The range.", content_type = "application/octet-stream",
            body = inline(super::json::words::Bytes)),
        (status = 304, description = "The client holds it already."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 412, description = "A condition does not hold."),
        (status = 416, description = "The range lies outside the content.", headers(("Content-Range" = String))),
    )
)]
pub(crate) async fn read_by_id(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(id): At<String>,
    Parameters(query): Parameters<VersionParameters>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let file = FileRef::Id(file_id(&id)?);
    read(&gateway, &caller, &method, &headers, (file, query.version)).await
}

async fn read(
    gateway: &Gateway,
    caller: &Caller,
    method: &Method,
    headers: &HeaderMap,
    (file, version): (FileRef, Option<u32>),
) -> Result<Response, Failure> {
    let is_head = method == Method::HEAD;
    if !is_head && !needs_file_first(headers) {
        let coding = coding::wanted(headers);
        let reading = gateway.storage.read(caller, ReadFile { file, version, range: None, coding }).await?;
        return Ok(whole(reading, coding, caller));
    }
    let file = gateway.storage.get_file(caller, file, version).await?;
    match ReadConditions::from_headers(headers)?.verdict(&file) {
        Verdict::Failed => return Err(condition_failed().into()),
        Verdict::NotModified => return Ok(not_modified(&file, coding::wanted(headers))),
        Verdict::Serve => {}
    }
    // From here on the version is fixed: a new one between the two calls must not mix with this one's headers.
    let pinned =
        |range, coding| ReadFile { file: FileRef::Id(file.id), version: Some(file.version), range, coding };
    if is_head {
        let reading = gateway.storage.read(caller, pinned(Some(ByteRange::at(0, 0)), Coding::Plain)).await?;
        return Ok(head(&reading.file, coding::wanted(headers)));
    }
    let wanted = if range_holds(headers, &file)? { asked(headers, file.size_bytes) } else { Asked::Whole };
    match wanted {
        Asked::Whole => {
            let coding = coding::wanted(headers);
            Ok(whole(gateway.storage.read(caller, pinned(None, coding)).await?, coding, caller))
        }
        Asked::Part(range) => {
            Ok(part(gateway.storage.read(caller, pinned(Some(range), Coding::Plain)).await?, caller))
        }
        Asked::Unsatisfiable => Err(out_of_range(&file)),
    }
}

/// Whether the answer may be anything but all of the content, so that the file must be looked at first.
fn needs_file_first(headers: &HeaderMap) -> bool {
    [RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name))
}

fn whole(reading: Reading, coding: Coding, caller: &Caller) -> Response {
    (StatusCode::OK, of_whole(&reading.file, coding), body(reading, caller)).into_response()
}

fn of_whole(file: &File, coding: Coding) -> HeaderMap {
    let mut headers = served(file);
    if is_coded(file, coding) {
        coding::mark_zstd(&mut headers);
    } else {
        headers.insert(CONTENT_LENGTH, file.size_bytes.into());
    }
    headers
}

fn is_coded(file: &File, coding: Coding) -> bool {
    coding == Coding::Zstd && file.size_bytes > 0
}

fn part(reading: Reading, caller: &Caller) -> Response {
    let (range, size_bytes) = (reading.range, reading.file.size_bytes);
    let mut headers = served(&reading.file);
    headers.insert(CONTENT_LENGTH, range.len().into());
    let last = range.end().saturating_sub(1);
    insert(&mut headers, CONTENT_RANGE, &format!("bytes {}-{last}/{size_bytes}", range.start()));
    (StatusCode::PARTIAL_CONTENT, headers, body(reading, caller)).into_response()
}

/// The headers of a GET without its body. The body has an unknown length, or its length of 0 would be sent.
fn head(file: &File, coding: Coding) -> Response {
    let nothing = Body::from_stream(futures::stream::empty::<usp_model::Result<Bytes>>());
    (StatusCode::OK, of_whole(file, coding), nothing).into_response()
}

/// With the tag that all of the content would have had.
fn not_modified(file: &File, coding: Coding) -> Response {
    let mut headers = HeaderMap::new();
    validators(&mut headers, file);
    if is_coded(file, coding) {
        coding::weaken_tag(&mut headers);
    }
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

fn condition_failed() -> Error {
    Error::new(ErrorKind::PreconditionFailed, "read content")
        .because("the file is not, or not any more, what If-Match or If-Unmodified-Since asks for")
}

fn out_of_range(file: &File) -> Failure {
    let failure: Failure = Error::new(ErrorKind::OutOfRange, "read content")
        .because(format!("the range lies outside a content of {} bytes", file.size_bytes))
        .into();
    match HeaderValue::from_str(&format!("bytes */{}", file.size_bytes)) {
        Ok(size) => failure.with_header(CONTENT_RANGE, size),
        Err(_) => failure,
    }
}

/// An error after the headers can only break the connection off; the log says why.
fn body(reading: Reading, caller: &Caller) -> Body {
    let (request_id, file_id) = (caller.request_id.clone(), reading.file.id);
    Body::from_stream(reading.content.inspect_err(move |failure| {
        error!(request_id, file.id = %file_id, error = %failure.chain().escape_debug(), "content broke off");
    }))
}

/// Headers of all content. What a user stored must not act as part of this origin: it is sniffed by nobody, runs
/// nothing, embeds nothing, and is a download unless its type, decided from its bytes, is known to be harmless.
fn served(file: &File) -> HeaderMap {
    let mut headers = HeaderMap::new();
    validators(&mut headers, file);
    insert(&mut headers, CONTENT_TYPE, file.media_type.as_str());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(
        CONTENT_DISPOSITION,
        disposition::content_disposition(&file.media_type, file.key.file_name()),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-site"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    insert(&mut headers, FILE_ID, &file.id.to_string());
    headers.insert(VERSION, file.version.into());
    if let Some(digest) = digest::repr_digest(&file.digests) {
        headers.insert(digest::REPR_DIGEST, digest);
    }
    headers
}

/// What a client keeps beside the content; also the headers of a 304.
fn validators(headers: &mut HeaderMap, file: &File) {
    if let Some(etag) = etag::print(&file.etag) {
        headers.insert(ETAG, etag);
    }
    insert(headers, LAST_MODIFIED, &date::print(file.created_at));
    // No shared cache, and no use of a kept copy without asking: permission may end at any time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
