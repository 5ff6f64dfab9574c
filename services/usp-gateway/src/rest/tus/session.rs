//! One upload: its offset, appending to it, ending it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use usp_api::{AppendUpload, Caller};
use usp_model::{Error, ErrorKind, Result, Upload, UploadId, UploadShape, UploadState};

use super::checksum;
use super::headers::{self, Tus, UPLOAD_LENGTH, UPLOAD_OFFSET};
use super::receipt::{check_fits, check_size, finish_if_complete, receive, run_to_completion};
use crate::Gateway;
use crate::problem::Failure;
use crate::rest::headers::single;
use crate::rest::input::caller::By;
use crate::rest::input::path::At;

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Show the offset of an upload
///
/// The offset counts bytes that survive a power cut; continue from there. When offset and length are equal, the file
/// exists, and its id is in the answer.
#[utoipa::path(
    head,
    path = "/uploads/{upload_id}",
    tag = "uploads",
    params(("upload_id" = String, Path), ("Tus-Resumable" = String, Header, example = "1.0.0")),
    responses(
        (status = 200, description = "It stands at Upload-Offset.", headers(
            ("Upload-Offset" = u64),
            ("Upload-Length" = u64, description = "Absent, with `Upload-Defer-Length: 1`, while it was not told."),
            ("Upload-Concat" = String, description = "`partial`, or `final;` and the addresses of the parts."),
            ("Upload-Expires" = String),
            ("Upload-Metadata" = String, description = "What is known of the file, in canonical form."),
            ("Usp-File-Id" = String, description = "Once the file stands."),
        )),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 410, description = "It expired or was ended; begin a new one."),
        (status = 412, description = "Not tus 1.0.0."),
        (status = 423, description = "Another request is making the file right now."),
        (status = 507, description = "All of it is there, and the quota or the disk has no room for the file; ask \
            again when there is."),
    )
)]
pub(crate) async fn show_upload(
    State(gateway): State<Gateway>,
    By(caller): By,
    _: Tus,
    At(id): At<String>,
) -> Result<Response, Failure> {
    show(&gateway, caller, &id).await
}

async fn show(gateway: &Gateway, caller: Caller, id: &str) -> Result<Response, Failure> {
    let upload = gateway.storage.get_upload(&caller, UploadId::parse(id)?).await?;
    let receipt = finish_if_complete(gateway.storage.as_ref(), &caller, upload).await?;
    Ok((StatusCode::OK, receipt.confirmation(), headers::description(&receipt)).into_response())
}

/// Append to an upload
///
/// The body is written at Upload-Offset, which must be the current offset. When the connection breaks, what is durable by
/// then counts: ask with HEAD and continue from there. The request that brings the last byte makes the file. With
/// `Upload-Checksum` the body, of at most 8 MiB, is checked before any of it counts.
#[utoipa::path(
    patch,
    path = "/uploads/{upload_id}",
    tag = "uploads",
    params(
        ("upload_id" = String, Path),
        ("Tus-Resumable" = String, Header, example = "1.0.0"),
        ("Upload-Offset" = u64, Header),
        ("Upload-Length" = Option<u64>, Header, description = "Bytes of the whole, once, for an upload that deferred it."),
        ("Upload-Checksum" = Option<String>, Header, description = "Algorithm and base64; sha1, sha256, md5, crc32c, \
            blake3.", example = "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ),
    request_body(
        content = inline(crate::rest::json::words::Bytes),
        content_type = "application/offset+octet-stream"
    ),
    responses(
        (status = 204, description = "All of it is durable.", headers(
            ("Upload-Offset" = u64), ("Upload-Expires" = String),
            ("Usp-File-Id" = String, description = "When these were the last bytes."),
        )),
        (status = 400, description = "A header will not do."),
        (status = 403, description = "It was joined of parts and takes no bytes."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 409, description = "The upload has another offset; ask with HEAD."),
        (status = 410, description = "It expired or was ended; begin a new one."),
        (status = 412, description = "Not tus 1.0.0."),
        (status = 413, description = "More than was announced, or too much for Upload-Checksum."),
        (status = 415, description = "Not application/offset+octet-stream, or a file that the bucket does not take."),
        (status = 422, description = "The whole content is not what `sha256` promised; the upload is ended."),
        (status = 423, description = "Another request is writing to this upload."),
        (status = 460, description = "The body is not what Upload-Checksum promised; none of it counts."),
        (status = 507, description = "No space, or the bucket's quota is used up."),
    )
)]
pub(crate) async fn append_to_upload(
    State(gateway): State<Gateway>,
    By(caller): By,
    _: Tus,
    At(id): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    append(&gateway, caller, &id, &headers, body).await
}

async fn append(
    gateway: &Gateway,
    caller: Caller,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    headers::check_content(headers)?;
    let offset = headers::needed_count(headers, &UPLOAD_OFFSET)?;
    let size_bytes = headers::count(headers, &UPLOAD_LENGTH)?.map(check_size).transpose()?;
    let upload = gateway.storage.get_upload(&caller, UploadId::parse(id)?).await?;
    if let UploadShape::Joined(_) = upload.shape {
        return Err(Error::new(ErrorKind::Denied, "append to upload")
            .because("the upload was joined of parts and takes no bytes of its own")
            .into());
    }
    check_offset(&upload, offset)?;
    check_fits(headers, offset, upload.size_bytes.or(size_bytes))?;
    let changes_nothing = body.is_end_stream() && (size_bytes.is_none() || size_bytes == upload.size_bytes);
    let receipt = if changes_nothing {
        finish_if_complete(gateway.storage.as_ref(), &caller, upload).await?
    } else if upload.state == UploadState::Completed {
        return Err(other_offset(&upload).into());
    } else {
        let content = checksum::content(gateway, headers, body).await?;
        let storage = Arc::clone(&gateway.storage);
        let append = AppendUpload { id: upload.id, offset, size_bytes };
        run_to_completion(async move { receive(storage.as_ref(), &caller, append, content).await }).await?
    };
    Ok((StatusCode::NO_CONTENT, receipt.confirmation(), headers::progress(&receipt)).into_response())
}

/// Storage decides this again under its lock; here it spares the client a body that would be refused.
fn check_offset(upload: &Upload, offset: u64) -> Result<()> {
    if upload.received_bytes == offset { Ok(()) } else { Err(other_offset(upload)) }
}

fn other_offset(upload: &Upload) -> Error {
    let what = if upload.state == UploadState::Completed { "is complete with" } else { "has received" };
    Error::new(ErrorKind::Conflict, "append to upload")
        .because(format!("the upload {what} {} bytes; HEAD says where to go on", upload.received_bytes))
}

/// End an upload
///
/// What it received is dropped. An upload that has become a file is 409: delete the file.
#[utoipa::path(
    delete,
    path = "/uploads/{upload_id}",
    tag = "uploads",
    params(("upload_id" = String, Path), ("Tus-Resumable" = String, Header, example = "1.0.0")),
    responses(
        (status = 204, description = "Gone; 410 from now on."),
        (status = 404, description = "Absent, or not the caller's to see."),
        (status = 409, description = "It is a file by now."),
        (status = 410, description = "It ended before."),
        (status = 412, description = "Not tus 1.0.0."),
        (status = 423, description = "Another request is writing to this upload."),
    )
)]
pub(crate) async fn terminate_upload(
    State(gateway): State<Gateway>,
    By(caller): By,
    _: Tus,
    At(id): At<String>,
) -> Result<StatusCode, Failure> {
    terminate(&gateway, &caller, &id).await
}

async fn terminate(gateway: &Gateway, caller: &Caller, id: &str) -> Result<StatusCode, Failure> {
    gateway.storage.terminate_upload(caller, UploadId::parse(id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// HEAD, PATCH or DELETE for clients that cannot send them
///
/// `X-HTTP-Method-Override` says which one is meant; all else is as there.
#[utoipa::path(
    post,
    path = "/uploads/{upload_id}",
    tag = "uploads",
    params(
        ("upload_id" = String, Path),
        ("Tus-Resumable" = String, Header, example = "1.0.0"),
        ("X-HTTP-Method-Override" = String, Header, example = "PATCH"),
    ),
    request_body(
        content = inline(Option<crate::rest::json::words::Bytes>),
        content_type = "application/offset+octet-stream"
    ),
    responses(
        (status = 200, description = "As HEAD."),
        (status = 204, description = "As PATCH or DELETE."),
        (status = 405, description = "No override, or one to another method."),
    )
)]
pub(crate) async fn override_method(
    State(gateway): State<Gateway>,
    By(caller): By,
    _: Tus,
    At(id): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    match single(&headers, &METHOD_OVERRIDE)?.and_then(|name| name.parse().ok()) {
        Some(Method::HEAD) => show(&gateway, caller, &id).await,
        Some(Method::PATCH) => append(&gateway, caller, &id, &headers, body).await,
        Some(Method::DELETE) => terminate(&gateway, &caller, &id).await.map(IntoResponse::into_response),
        _ => {
            Err(Failure::method_not_allowed()
                .with_header(ALLOW, HeaderValue::from_static("HEAD, PATCH, DELETE")))
        }
    }
}
