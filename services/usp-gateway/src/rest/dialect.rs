//! The HTTP door as its layers see it: REST, server-sent events and tus, which share it.

use axum::response::Response;
use http::Method;
use usp_model::Error;

use super::tus;
use crate::dialect::{CorsRules, Dialect, RateKey};
use crate::problem::Failure;
use crate::request::Head;

const SIGN_IN: &str = "/api/v1/auth/token";
/// What answers with tokens stands below it.
const SECRETS: &str = "/api/v1/auth/";

/// What web pages need for REST, events and tus; metadata and labels have names of their own.
#[rustfmt::skip]
static CORS: CorsRules = CorsRules {
    methods: "GET, HEAD, POST, PUT, PATCH, DELETE",
    request_headers: &[
        "accept", "accept-encoding", "authorization", "cache-control", "content-digest", "content-encoding",
        "content-type", "idempotency-key", "if-match", "if-modified-since", "if-none-match", "if-range",
        "last-event-id", "range", "repr-digest", "traceparent", "tracestate", "tus-resumable", "upload-checksum", "upload-complete",
        "upload-concat", "upload-defer-length", "upload-draft-interop-version", "upload-length", "upload-metadata",
        "upload-offset", "x-http-method-override", "x-request-id", "x-requested-with",
    ],
    request_header_prefixes: &["x-usp-meta-", "x-usp-label-"],
    response_headers:
        "accept-ranges, content-disposition, content-length, content-range, etag, last-modified, location, \
         repr-digest, retry-after, tus-checksum-algorithm, tus-extension, tus-max-size, tus-resumable, tus-version, \
         upload-concat, upload-defer-length, upload-expires, upload-length, upload-metadata, upload-offset, \
         usp-file-id, x-request-id, x-usp-file-id, x-usp-version",
};

/// Problem documents, bearer tokens, HTTP status codes.
#[derive(Debug)]
pub(crate) struct RestDialect;

impl Dialect for RestDialect {
    fn door(&self) -> &'static str {
        "http"
    }

    fn refuse(&self, error: Error, request_id: &str) -> Response {
        Failure::from(error).respond(request_id)
    }

    fn rate_key(&self, head: Head<'_>) -> RateKey {
        if *head.method == Method::POST && head.uri.path() == SIGN_IN {
            return RateKey::SignIn;
        }
        tus::continued_upload(head).map_or(RateKey::Caller, RateKey::Upload)
    }

    fn cors(&self) -> Option<&'static CorsRules> {
        Some(&CORS)
    }

    fn is_secret(&self, head: Head<'_>) -> bool {
        head.uri.path().starts_with(SECRETS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::Request;
    use usp_model::UploadId;

    fn key(method: Method, path: &str) -> RateKey {
        let request: Request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        RestDialect.rate_key(Head::of(&request))
    }

    #[test]
    fn a_path_says_which_limits_count_it() {
        let id = UploadId::from_bytes([7; 32]);
        let upload = format!("/api/v1/uploads/{id}");
        let table = [
            (Method::POST, SIGN_IN, RateKey::SignIn),
            (Method::GET, SIGN_IN, RateKey::Caller),
            (Method::PATCH, &upload, RateKey::Upload(id)),
            (Method::HEAD, &upload, RateKey::Upload(id)),
            (Method::DELETE, &upload, RateKey::Caller),
            (Method::POST, &upload, RateKey::Caller),
            (Method::PATCH, "/api/v1/uploads/nonsense", RateKey::Caller),
            (Method::PATCH, "/api/v1/uploads", RateKey::Caller),
            (Method::PATCH, "/api/v1/files/x", RateKey::Caller),
        ];
        for (method, path, expected) in table {
            assert_eq!(key(method.clone(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_list_of_headers_can_be_searched() {
        assert!(CORS.request_headers.is_sorted());
        assert!(CORS.takes_header("authorization") && CORS.takes_header("x-usp-meta-author"));
        assert!(!CORS.takes_header("cookie") && !CORS.takes_header(""));
    }
}
