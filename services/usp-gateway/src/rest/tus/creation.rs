//! POST: a new upload, with or without its first bytes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use usp_api::{AppendUpload, ByteStream, Caller, NewFile, StorageApi};
use usp_model::limits::FILE_SIZE_BYTES_MAX;
use usp_model::{Error, ErrorKind, Result};

use super::headers::{self, FILE_ID, Tus, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH};
use super::receipt::{Receipt, check_fits, receive, settle, to_the_end};
use super::{PATH, checksum, metadata};
use crate::Gateway;
use crate::problem::Failure;
use crate::rest::headers::refused;
use crate::rest::input::caller::By;

/// Begin a resumable upload
///
/// tus 1.0.0, with the extensions creation and creation-with-upload: a body is the first part. The file id in the
/// answer is preliminary until all bytes are there, and works from the first byte on. An upload of zero bytes is a file
/// at once.
#[utoipa::path(
    post,
    path = "/uploads",
    tag = "uploads",
    params(
        ("Tus-Resumable" = String, Header, example = "1.0.0"),
        ("Upload-Length" = u64, Header, description = "Bytes of the whole content."),
        ("Upload-Metadata" = Option<String>, Header, description = "Pairs of a name and base64, at most 8 KiB: \
            `bucket` (`default`), `key` or `filename`, `filetype` or `content_type`, `meta.*`, `label.*`, `sha256` of \
            the whole content in hex. Other names are ignored.", example = "filename b3JkZXJzLmNzdg==,label.team c2FsZXM="),
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
            ("Usp-File-Id" = String),
        )),
        (status = 400, description = "A header will not do."),
        (status = 404, description = "No such bucket, or not the caller's to see."),
        (status = 412, description = "Not tus 1.0.0."),
        (status = 413, description = "Larger than the bucket takes, or than was announced."),
        (status = 415, description = "A body of another media type, or a file that the bucket does not take."),
        (status = 422, description = "The whole content is not what `sha256` promised."),
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
    let file = new_file(&headers)?;
    let content = if body.is_end_stream() {
        None
    } else {
        headers::check_content(&headers)?;
        check_fits(&headers, 0, file.size_bytes)?;
        Some(checksum::content(&gateway, &headers, body).await?)
    };
    let storage = Arc::clone(&gateway.storage);
    let receipt = to_the_end(async move { create(storage.as_ref(), &caller, file, content).await }).await?;
    Ok(created(&receipt))
}

async fn create(
    storage: &dyn StorageApi,
    caller: &Caller,
    file: NewFile,
    content: Option<ByteStream>,
) -> Result<Receipt> {
    let upload = storage.start_upload(caller, file).await?;
    let id = upload.id;
    let begun = match content {
        Some(content) => receive(storage, caller, AppendUpload { id, offset: 0 }, content).await,
        None => settle(storage, caller, upload).await,
    };
    if begun.is_err() {
        // The client never learns where the upload is. If it cannot be dropped now, it expires.
        let _dropped = storage.terminate_upload(caller, id).await;
    }
    begun
}

fn new_file(headers: &HeaderMap) -> Result<NewFile> {
    for name in [UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH] {
        if headers.contains_key(&name) {
            return Err(refused(&name, "belongs to an extension that this server does not announce"));
        }
    }
    let size_bytes = headers::needed_count(headers, &UPLOAD_LENGTH)?;
    if size_bytes > FILE_SIZE_BYTES_MAX {
        return Err(Error::new(ErrorKind::TooLarge, "open upload")
            .because(format!("a file has at most {FILE_SIZE_BYTES_MAX} bytes")));
    }
    Ok(NewFile { size_bytes: Some(size_bytes), ..metadata::new_file(headers)? })
}

fn created(receipt: &Receipt) -> Response {
    let upload = &receipt.upload;
    let mut headers = headers::progress(receipt);
    headers::insert(&mut headers, LOCATION, &format!("{PATH}/{}", upload.id));
    let file_id = receipt.file.unwrap_or(upload.file_id);
    headers::insert(&mut headers, FILE_ID, &file_id.to_string());
    (StatusCode::CREATED, headers).into_response()
}
