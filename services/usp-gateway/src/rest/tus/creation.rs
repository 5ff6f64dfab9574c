//! POST: a new upload, with or without its first bytes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use usp_api::{AppendUpload, ByteStream, Caller, NewFile, StorageApi};
use usp_model::{BucketName, ErrorKind, FileId, Result, UploadId, UploadShape};

use super::headers::{self, FILE_ID, Tus, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH};
use super::receipt::{Receipt, check_fits, check_size, finish_if_complete, receive, run_to_completion};
use super::{PATH, checksum, concat, metadata};
use crate::Gateway;
use crate::problem::Failure;
use crate::rest::headers::{refused, single};
use crate::rest::input::caller::By;

/// Begin a resumable upload
///
/// tus 1.0.0: a body is the beginning of the content. The file id in the answer is preliminary until the upload is
/// complete, and works from the first byte on. An upload of zero bytes is a file at once. With `Upload-Concat: partial` it
/// is a part of a file and becomes no file by itself; with `final;` and the addresses of parts these are joined to one
/// file, in that order: no byte is copied, each is read once for the digest, and the parts are used up. Repeated with the
/// same parts and the same file, it returns the same upload.
#[utoipa::path(
    post,
    path = "/uploads",
    tag = "uploads",
    params(
        ("Tus-Resumable" = String, Header, example = "1.0.0"),
        ("Upload-Length" = Option<u64>, Header, description = "Bytes of the whole content; absent for a final one."),
        ("Upload-Defer-Length" = Option<u64>, Header, description = "1: the length comes with a later PATCH.", example = 1),
        ("Upload-Concat" = Option<String>, Header, description = "`partial`, or `final;` and 1 to 128 addresses of \
            partial uploads with a space between each two.", example = "partial"),
        ("Upload-Metadata" = Option<String>, Header, description = "Pairs of a name and base64, at most 8 KiB: \
            `bucket` (`default`), `key` or `filename`, `filetype` or `content_type`, `meta.*`, `label.*`, `sha256` of \
            the whole content in hex. Other names are ignored; of a part all but `bucket`.", example = "filename b3JkZXJzLmNzdg==,label.team c2FsZXM="),
        ("Upload-Checksum" = Option<String>, Header, description = "Of the body, if there is one."),
        ("Content-Type" = Option<String>, Header, description = "With a body: `application/offset+octet-stream`."),
    ),
    request_body(
        content = inline(Option<crate::rest::json::words::Bytes>),
        content_type = "application/offset+octet-stream"
    ),
    responses(
        (status = 201, description = "Goes on at Location.", headers(
            ("Location" = String, description = "The upload."),
            ("Upload-Offset" = u64, description = "Bytes that are durable."),
            ("Upload-Expires" = String, description = "When it ends if nothing comes. Every byte moves it."),
            ("Usp-File-Id" = String, description = "Not of a part."),
        )),
        (status = 400, description = "A header will not do."),
        (status = 404, description = "No such bucket, or not the caller's to see."),
        (status = 409, description = "A part is not complete, is no part, or was joined to something else."),
        (status = 410, description = "A part expired or was ended."),
        (status = 412, description = "Not tus 1.0.0."),
        (status = 413, description = "Larger than the bucket takes, or than was announced."),
        (status = 415, description = "A body of another media type, or a file that the bucket does not take."),
        (status = 422, description = "The whole content is not what `sha256` promised."),
        (status = 423, description = "Another request is writing to a part, or makes the file right now."),
        (status = 507, description = "No space, or more than the bucket's quota has room for."),
        (status = 460, description = "The body is not what Upload-Checksum promised; nothing was begun."),
    )
)]
pub(crate) async fn create_upload(
    State(gateway): State<Gateway>,
    By(caller): By,
    _: Tus,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let storage = Arc::clone(&gateway.storage);
    let receipt = match concat::shape(&headers)? {
        UploadShape::Joined(parts) => {
            let file = joined_file(&headers, &body, &parts)?;
            run_to_completion(async move { join(storage.as_ref(), &caller, file, parts).await }).await?
        }
        shape => {
            let size_bytes = announced(&headers)?;
            let wanted = match shape {
                UploadShape::Part => Wanted::Part(metadata::bucket(&headers)?, size_bytes),
                _ => {
                    let file = metadata::new_file(&headers, unnamed()?)?;
                    Wanted::File(Box::new(NewFile { size_bytes, ..file }))
                }
            };
            let content = first_content(&gateway, &headers, body, size_bytes).await?;
            run_to_completion(async move { create(storage.as_ref(), &caller, wanted, content).await }).await?
        }
    };
    Ok(created(&receipt))
}

/// What an upload is opened for.
enum Wanted {
    File(Box<NewFile>),
    Part(BucketName, Option<u64>),
}

async fn first_content(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
    size_bytes: Option<u64>,
) -> Result<Option<ByteStream>, Failure> {
    if body.is_end_stream() {
        return Ok(None);
    }
    headers::check_content(headers)?;
    check_fits(headers, 0, size_bytes)?;
    checksum::content(gateway, headers, body).await.map(Some)
}

async fn create(
    storage: &dyn StorageApi,
    caller: &Caller,
    wanted: Wanted,
    content: Option<ByteStream>,
) -> Result<Receipt> {
    let upload = match wanted {
        Wanted::File(file) => storage.start_upload(caller, *file).await?,
        Wanted::Part(bucket, size_bytes) => storage.start_part(caller, bucket, size_bytes).await?,
    };
    let id = upload.id;
    let append = AppendUpload { id, offset: 0, size_bytes: None };
    let begun = match content {
        Some(content) => receive(storage, caller, append, content).await,
        None => finish_if_complete(storage, caller, upload).await,
    };
    if begun.as_ref().is_err_and(|error| error.kind() != ErrorKind::OutcomeUnknown) {
        // The client never learns where the upload is. If it cannot be dropped now, it expires.
        let _dropped = storage.terminate_upload(caller, id).await;
    }
    begun
}

/// Unlike a new upload it is kept when the file cannot be made yet: it has all that the parts had, and the client may
/// ask again.
async fn join(
    storage: &dyn StorageApi,
    caller: &Caller,
    file: NewFile,
    parts: Vec<UploadId>,
) -> Result<Receipt> {
    let upload = storage.join_uploads(caller, file, parts).await?;
    finish_if_complete(storage, caller, upload).await
}

/// The announced length of the upload; `None` if a later PATCH announces it.
fn announced(headers: &HeaderMap) -> Result<Option<u64>> {
    let size_bytes = headers::count(headers, &UPLOAD_LENGTH)?;
    match (single(headers, &UPLOAD_DEFER_LENGTH)?, size_bytes) {
        (None, Some(size_bytes)) => check_size(size_bytes).map(Some),
        (Some("1"), None) => Ok(None),
        (Some("1"), Some(_)) => {
            Err(refused(&UPLOAD_DEFER_LENGTH, "stands beside Upload-Length; send one of them"))
        }
        (Some(_), _) => Err(refused(&UPLOAD_DEFER_LENGTH, "is 1 or absent")),
        (None, None) => Err(refused(&UPLOAD_LENGTH, "is missing; send it, or 'Upload-Defer-Length: 1'")),
    }
}

/// A file without a key is named after its first part, so that a repeated request names the same file.
fn joined_file(headers: &HeaderMap, body: &Body, parts: &[UploadId]) -> Result<NewFile> {
    if !body.is_end_stream() {
        return Err(refused(&UPLOAD_CONCAT, "is final: the content is that of the parts, send none"));
    }
    for name in [UPLOAD_LENGTH, UPLOAD_DEFER_LENGTH] {
        if headers.contains_key(&name) {
            return Err(refused(&name, "does not belong to a final upload, which is as long as its parts"));
        }
    }
    metadata::new_file(headers, parts.first().map(ToString::to_string).unwrap_or_default())
}

/// A name that no other file has.
fn unnamed() -> Result<String> {
    FileId::random().map(|id| id.to_string())
}

fn created(receipt: &Receipt) -> Response {
    let upload = &receipt.upload;
    let mut headers = headers::progress(receipt);
    headers::insert(&mut headers, LOCATION, &format!("{PATH}/{}", upload.id));
    if upload.shape != UploadShape::Part {
        let file_id = receipt.file.unwrap_or(upload.file_id);
        headers::insert(&mut headers, FILE_ID, &file_id.to_string());
    }
    (StatusCode::CREATED, receipt.confirmation(), headers).into_response()
}
