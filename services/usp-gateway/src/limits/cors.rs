//! Which web pages may ask: those of the origins that the operator names, and no other.
//!
//! Tokens travel in a header that the page sets itself, so no answer ever allows ambient credentials. Only real
//! preflights end here: a plain `OPTIONS` is how tus clients ask what the server can do.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use usp_model::{Error, ErrorKind};

use super::{Entrance, request_id};

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_AGE_S_MAX: HeaderValue = HeaderValue::from_static("600");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// Request headers that pages may set, besides metadata and labels. A preflight names them in lower case.
#[rustfmt::skip]
const ALLOWED: [&str; 29] = [
    "accept", "accept-encoding", "authorization", "cache-control", "content-digest", "content-encoding",
    "content-type", "idempotency-key", "if-match", "if-modified-since", "if-none-match", "if-range",
    "last-event-id", "range", "repr-digest", "traceparent", "tracestate", "tus-resumable", "upload-checksum", "upload-complete",
    "upload-concat", "upload-defer-length", "upload-draft-interop-version", "upload-length", "upload-metadata",
    "upload-offset", "x-http-method-override", "x-request-id", "x-requested-with",
];
const ALLOWED_PREFIXES: [&str; 2] = ["x-usp-meta-", "x-usp-label-"];
/// Answer headers that pages may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "accept-ranges, content-disposition, content-length, content-range, etag, last-modified, location, \
     repr-digest, retry-after, tus-checksum-algorithm, tus-extension, tus-max-size, tus-resumable, tus-version, \
     upload-concat, upload-defer-length, upload-expires, upload-length, upload-metadata, upload-offset, \
     usp-file-id, x-request-id, x-usp-file-id, x-usp-version",
);

pub(super) async fn apply(State(entrance): State<Entrance>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return vary(next.run(request).await);
    };
    let origins = &entrance.gateway.config.cors_origins;
    let is_allowed = origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight && !is_allowed {
        let error = Error::new(ErrorKind::Denied, "answer preflight")
            .because("pages of this origin may not ask; an operator can name it in gateway.cors_origins");
        return vary(entrance.refuse(error, &request_id::of(request.extensions())));
    }
    let mut response = if is_preflight { preflight(request.headers()) } else { next.run(request).await };
    if is_allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !is_preflight {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
    vary(response)
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S_MAX);
    let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|names| names.to_str().ok());
    let granted: Vec<String> = names
        .unwrap_or_default()
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| is_allowed_header(name))
        .collect();
    if let Ok(granted) = HeaderValue::from_str(&granted.join(", "))
        && !granted.is_empty()
    {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, granted);
    }
    response
}

fn is_allowed_header(name: &str) -> bool {
    ALLOWED.binary_search(&name).is_ok() || ALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A cache must not hand one origin's answer to another.
fn vary(mut response: Response) -> Response {
    response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_headers_can_be_searched() {
        assert!(ALLOWED.is_sorted());
        assert!(is_allowed_header("authorization") && is_allowed_header("x-usp-meta-author"));
        assert!(!is_allowed_header("cookie") && !is_allowed_header(""));
    }
}
