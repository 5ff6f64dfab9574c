//! The REST dialect: parses, calls storage, prints. The contract is in `/openapi.json`.

pub(crate) mod admin;
pub(crate) mod auth;
pub(crate) mod buckets;
pub(crate) mod content;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod headers;
pub(crate) mod health;
pub(crate) mod input;
pub(crate) mod json;
pub(crate) mod multipart;
mod parameters;
pub(crate) mod queue;
pub(crate) mod request_id;
pub(crate) mod rules;
pub(crate) mod runs;
pub(crate) mod store;
pub(crate) mod tus;
mod unread;
pub(crate) mod upload;

use axum::Router;
use axum::middleware::{from_fn, map_request};
use usp_model::{Error, ErrorKind};

use crate::problem::{Failure, write_problems};
use crate::{Gateway, routes};

/// The routes of REST and the documentation, ready to be served or called.
///
/// Shape: every failure, also of unknown paths and methods, is a problem document.
pub fn router(gateway: Gateway) -> Router {
    let (router, _document) = routes::build(Some(&gateway)).split_for_parts();
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn(tus::mark))
        .layer(from_fn(write_problems))
        .layer(map_request(unread::keep))
        .with_state(gateway)
}

async fn unknown_path() -> Failure {
    Error::new(ErrorKind::NotFound, "route request")
        .because("there is nothing under this path; /docs shows what there is")
        .into()
}

async fn unknown_method() -> Failure {
    Failure::method_not_allowed()
}
