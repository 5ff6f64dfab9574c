//! What browsers must not do with our answers.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue};

const EVERYWHERE: [(HeaderName, HeaderValue); 3] = [
    // Stored bytes are what we say they are, not what a browser makes of them.
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

pub(super) async fn add(request: Request, next: Next) -> Response {
    let signs_in = request.uri().path().starts_with("/api/v1/auth/");
    let is_personal = request.headers().contains_key(AUTHORIZATION);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in EVERYWHERE {
        headers.entry(name).or_insert(value);
    }
    if signs_in {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else if is_personal {
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    }
    response
}
