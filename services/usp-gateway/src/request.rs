//! What belongs to one request, whichever dialect it speaks. Nothing here knows a door, a route or a limit.

pub(crate) mod id;
pub(crate) mod principal;
pub(crate) mod trace_context;

use axum::extract::Request;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use usp_model::UploadId;

/// A request without its body: all that a dialect may read before the body is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        Self { method: request.method(), uri: request.uri(), headers: request.headers() }
    }
}

impl<'a> From<&'a Parts> for Head<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self { method: &parts.method, uri: &parts.uri, headers: &parts.headers }
    }
}

/// Marks a successful answer about an upload, in the extensions of the response: storage has confirmed that the upload
/// exists and is the caller's, so its requests may be counted as one piece of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConfirmedUpload(pub(crate) UploadId);
