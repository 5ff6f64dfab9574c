//! PUT: one request, one file.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use usp_api::PutOutcome;
use usp_model::{BucketName, FileKey};

use super::content::FILE_ID;
use super::headers::etag;
use super::input::caller::By;
use super::input::path::At;
use super::input::query::Parameters;
use super::input::{content, labels};
use super::json::file::FileJson;
use super::parameters::PutParameters;
use crate::Gateway;
use crate::problem::Failure;

/// Store a file
///
/// The body is the content, byte for byte. It is stored whole or not at all: after 201 or 200 it survives a power
/// cut, after anything else nothing of it is kept. `Content-Encoding` is refused, since it would not be
/// decoded; so is `Content-Range`: a PUT stores all of a file.
#[utoipa::path(
    put,
    path = "/buckets/{bucket}/files/{*key}",
    tag = "files",
    params(
        ("bucket" = String, Path, example = "default"),
        ("key" = String, Path, description = "1 to 1024 bytes; `/` stands as it is.", example = "2026/orders.csv"),
        PutParameters,
        ("Content-Type" = Option<String>, Header, description = "What the client says the content is.",
            example = "text/csv"),
        ("Content-Digest" = Option<String>, Header, description = "RFC 9530; sha-256, sha-512 and blake3 are \
            checked, others ignored. Content that differs is 422 and not stored.",
            example = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
        ("Repr-Digest" = Option<String>, Header, description = "The same as Content-Digest here."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such file."),
        ("If-Match" = Option<String>, Header, description = "Only if the file stands at one of these etags."),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable characters: the same \
            request again answers as the first time and stores nothing new."),
        ("X-Usp-Meta-*" = Option<String>, Header, description = "Metadata, one header per entry."),
        ("X-Usp-Label-*" = Option<String>, Header, description = "Labels, one header per entry."),
    ),
    request_body(content = inline(super::json::words::Bytes), content_type = "application/octet-stream"),
    responses(
        (status = 201, body = FileJson, description = "A new file.", headers(
            ("Location" = String, description = "The file by its id."),
            ("ETag" = String, description = "The version's entity tag."),
        )),
        (status = 200, body = FileJson, description = "A new version, or the answer of an earlier request with \
            the same Idempotency-Key."),
        (status = 400, description = "A header, the key or the query will not do."),
        (status = 404, description = "No such bucket, or not the caller's to see."),
        (status = 412, description = "If-Match or If-None-Match does not hold."),
        (status = 413, description = "Larger than the bucket takes."),
        (status = 415, description = "A media type that the bucket does not take, or a content coding."),
        (status = 422, description = "The bytes are not those that the digest promised."),
        (status = 507, description = "No space, or the bucket's quota is used up."),
    )
)]
pub(crate) async fn put_file(
    State(gateway): State<Gateway>,
    By(caller): By,
    At((bucket, key)): At<(String, String)>,
    Parameters(query): Parameters<PutParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let (bucket, key) = (BucketName::parse(&bucket)?, FileKey::parse(&key)?);
    let file = labels::new_file(&headers, bucket, key, query.rule)?;
    let outcome = gateway.storage.put(&caller, file, content::stream(body)).await?;
    Ok(stored(outcome))
}

fn stored(PutOutcome { file, is_new_file }: PutOutcome) -> Response {
    let status = if is_new_file { StatusCode::CREATED } else { StatusCode::OK };
    let id = file.id.to_string();
    let etag = etag::print(&file.etag);
    let location = [(LOCATION, format!("/api/v1/files/{id}"))];
    let mut response = (status, location, [(FILE_ID, id)], Json(FileJson::from(file))).into_response();
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}
