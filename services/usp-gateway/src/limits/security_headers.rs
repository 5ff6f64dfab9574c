//! Headers that restrict what browsers and caches may do with an answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue};

use super::Door;
use crate::presented::Presented;
use crate::request::Head;

const EVERYWHERE: [(HeaderName, HeaderValue); 3] = [
    // Stored bytes have the media type that is declared; browsers must not guess another.
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

pub(super) async fn add(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let is_secret = door.dialect.is_secret(Head::of(&request));
    // A malformed credential makes the answer personal, too.
    let is_personal = !matches!(door.dialect.present(Head::of(&request)), Ok(Presented::Nothing));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in EVERYWHERE {
        headers.entry(name).or_insert(value);
    }
    if is_secret {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else if is_personal {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    }
    response
}
