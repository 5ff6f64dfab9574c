//! `multipart/form-data`: one request, one or many files, one after another.
//!
//! Fields change what is said of the files that follow them: `prefix`, `rule`, `meta.KEY` and `label.KEY` of all of
//! them, `key` of the next one. A part with a file name, or named `file`, is a file.
//!
//! Each file is stored whole or not at all, but the request is not: when a part is refused, the files before it stay
//! stored, and the problem names the part (`part`) and them (`items`). Parts after it are not looked at.

use axum::Json;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use serde_json::json;
use usp_api::{Caller, NewFile, PutOutcome};
use usp_model::error::printable;
use usp_model::{BucketName, Error, ErrorKind, MediaType, Result};

use super::headers::digest;
use super::input::caller::By;
use super::input::content::broken_body;
use super::input::labels;
use super::input::path::At;
use super::json::Items;
use super::json::file::FileJson;
use crate::Gateway;
use crate::problem::Failure;
use crate::request::trace_context;

mod form;

use form::Form;

/// Files of one request. More belong in several requests: an answer lists every file.
const FILE_COUNT_MAX: usize = 1_000;
/// Fields between files, all together.
const FIELD_COUNT_MAX: usize = 10_000;

/// The form that a browser or `curl -F` sends.
#[derive(Debug, utoipa::ToSchema)]
#[schema(as = FileForm)]
#[expect(dead_code, reason = "only its schema is used: the form is read part by part")]
pub(crate) struct FileFormJson {
    /// One or many parts; the file name of a part is its key unless a field `key` stands before it.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<Vec<u8>>,
    /// Key of the next file.
    key: Option<String>,
    /// Stands before the keys of the files that follow.
    #[schema(example = "2026/")]
    prefix: Option<String>,
    /// A rule to apply to the files that follow even if its condition does not hold.
    rule: Option<String>,
}

/// Store files from a form
///
/// Each file is stored whole or not at all, one after another. When a part is refused, the files before it stay
/// stored: the problem names the part in `part` and them in `items`; parts after it are not looked at. Fields
/// `meta.KEY` and `label.KEY` set metadata and labels of the files that follow. With an `Idempotency-Key` the request
/// may be sent again: file number N has the key followed by `.N`.
#[utoipa::path(
    post,
    path = "/buckets/{bucket}/files",
    tag = "files",
    params(
        ("bucket" = String, Path, example = "default"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request again stores nothing new."),
    ),
    request_body(content = FileFormJson, content_type = "multipart/form-data"),
    responses(
        (status = 201, body = Items<FileJson>),
        (status = 400, description = "No form, no file in it, a field that will not do, or a header that only a PUT \
            takes: a condition, a digest, a label."),
        (status = 404, description = "No such bucket, or not the caller's to see."),
        (status = 413, description = "A file is larger than the bucket takes."),
        (status = 415, description = "Not multipart/form-data, or a media type that the bucket does not take."),
        (status = 507, description = "No space, or the bucket's quota is used up."),
    )
)]
pub(crate) async fn post_files(
    State(gateway): State<Gateway>,
    By(caller): By,
    At(bucket): At<String>,
    request: Request,
) -> Result<(StatusCode, Json<Items<FileJson>>), Failure> {
    let bucket = BucketName::parse(&bucket)?;
    refuse_headers_of_one_file(request.headers())?;
    let idempotency_key = labels::idempotency_key(request.headers())?;
    let trace = trace_context::of(request.headers());
    let mut parts = parts(request).await?;
    let mut form = Form::new(bucket, idempotency_key);
    form.trace = trace;
    let mut items: Vec<FileJson> = Vec::new();
    loop {
        match store_next(&gateway, &caller, &mut form, &mut parts, items.len()).await {
            Ok(Some(outcome)) => items.push(outcome.file.into()),
            Ok(None) => return Ok((StatusCode::CREATED, Json(Items { items }))),
            Err(error) => return Err(refused(error, &form, &items)),
        }
    }
}

/// What a PUT says in headers about its one file would be ignored here, which nobody wants of a condition or a digest.
fn refuse_headers_of_one_file(headers: &HeaderMap) -> Result<()> {
    let of_one_file = |name: &&HeaderName| {
        labels::is_of_one_file(name) || [&IF_MATCH, &IF_NONE_MATCH].contains(name) || digest::is_digest(name)
    };
    match headers.keys().find(of_one_file) {
        None => Ok(()),
        Some(name) => Err(Error::new(ErrorKind::InvalidInput, "read form").because(format!(
            "{name} says something of one file, and a form may hold many: set metadata and labels by fields, and PUT a \
             file that has a condition or a digest"
        ))),
    }
}

async fn parts(request: Request) -> Result<Multipart> {
    check_media_type(request.headers())?;
    Multipart::from_request(request, &()).await.map_err(|rejection| {
        Error::new(ErrorKind::InvalidInput, "read form")
            .because("the Content-Type names no boundary")
            .caused_by(rejection)
    })
}

fn check_media_type(headers: &HeaderMap) -> Result<()> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| MediaType::parse(value.to_str().ok()?).ok());
    match media_type {
        Some(media_type) if media_type.as_str() == "multipart/form-data" => Ok(()),
        _ => Err(Error::new(ErrorKind::UnsupportedMedia, "read form")
            .because("this takes multipart/form-data; PUT with a key takes the content itself")),
    }
}

/// Takes fields up to the next file and stores that; `None` at the end of the form.
async fn store_next(
    gateway: &Gateway,
    caller: &Caller,
    form: &mut Form,
    parts: &mut Multipart,
    stored_count: usize,
) -> Result<Option<PutOutcome>> {
    while let Some(part) = parts.next_field().await.map_err(|error| broken_body(Box::new(error)))? {
        if form.begin_part(part.name(), part.file_name()) > FIELD_COUNT_MAX + FILE_COUNT_MAX {
            return Err(too_many("parts", FIELD_COUNT_MAX + FILE_COUNT_MAX));
        }
        if form.is_unfilled(&part) {
            form::pass_over(part).await?;
        } else if !form::is_file(&part) {
            form.take_field(part).await?;
        } else if stored_count == FILE_COUNT_MAX {
            return Err(too_many("files", FILE_COUNT_MAX));
        } else {
            let file = form.file(&part)?;
            return put(gateway, caller, file, part).await.map(Some);
        }
    }
    if stored_count == 0 {
        return Err(Error::new(ErrorKind::InvalidInput, "read form")
            .because("the form holds no file: send at least one part with a file name"));
    }
    Ok(None)
}

/// A part borrows the form it comes from, but storage takes a stream of its own: the bytes go through a channel that
/// holds one piece, so that a slow disk still slows the socket.
async fn put(gateway: &Gateway, caller: &Caller, file: NewFile, mut part: Field<'_>) -> Result<PutOutcome> {
    let (mut sender, receiver) = mpsc::channel(0);
    let pump = async move {
        while let Some(piece) = part.next().await {
            let piece = piece.map_err(|error| broken_body(Box::new(error)));
            let is_broken = piece.is_err();
            // A closed channel: storage has answered already.
            if sender.send(piece).await.is_err() || is_broken {
                break;
            }
        }
    };
    let store = gateway.storage.put(caller, file, Box::pin(receiver));
    let (outcome, ()) = futures::join!(store, pump);
    outcome
}

fn too_many(what: &str, count_max: usize) -> Error {
    Error::new(ErrorKind::TooLarge, "read form")
        .because(format!("a form holds at most {count_max} {what}; send the rest in another request"))
}

/// Says which part was refused and what was stored before it.
fn refused(error: Error, form: &Form, items: &[FileJson]) -> Failure {
    let part = json!({
        "index": form.part_index(),
        "name": form.part_name().map(printable),
        "file_name": form.part_file_name().map(printable),
    });
    let stored = serde_json::to_value(items).unwrap_or_default();
    Failure::from(error).with_member("part", part).with_member("items", stored)
}
