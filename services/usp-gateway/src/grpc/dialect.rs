//! The gRPC door as its layers see it: statuses in headers and trailers, under HTTP 200.

use axum::response::Response;
use http::HeaderMap;
use usp_api::trace::{Attribute, Span};
use usp_model::Error;

use super::{admission, status};
use crate::dialect::{Dialect, Ended, RateKey, status_class};
use crate::request::Head;

const STATUS: &str = "grpc-status";

/// Statuses of gRPC, bearer tokens in the metadata entry `authorization`.
#[derive(Debug)]
pub(crate) struct GrpcDialect;

impl Dialect for GrpcDialect {
    fn door(&self) -> &'static str {
        "grpc"
    }

    fn refuse(&self, error: Error, request_id: &str) -> Response {
        status::of(&error, request_id).into_http()
    }

    fn rate_key(&self, _head: Head<'_>) -> RateKey {
        RateKey::Caller
    }

    /// The router matches services; procedures are known by the table.
    fn route(&self, head: Head<'_>, _matched: &str) -> String {
        admission::known_path(head.uri.path()).unwrap_or("other").to_owned()
    }

    fn own_status(&self, fields: &HeaderMap) -> Option<&'static str> {
        fields.get(STATUS).map(|code| code_word(code.as_bytes()))
    }

    /// An answer that began well and has no status broke off before its trailers.
    fn status_word(&self, ended: Ended) -> &'static str {
        match (ended.own, ended.status) {
            (Some(word), _) => word,
            (None, Some(status)) if !status.is_success() => status_class(status),
            (None, _) => "aborted",
        }
    }

    fn span(&self, _method: &'static str, route: &str) -> (String, Vec<Attribute>) {
        let procedure = route.strip_prefix('/').unwrap_or("_OTHER").to_owned();
        let name = if procedure == "_OTHER" { "grpc".to_owned() } else { procedure.clone() };
        (name, vec![Attribute::new("rpc.system.name", "grpc"), Attribute::new("rpc.method", procedure)])
    }

    fn end_span(&self, span: &mut Span, ended: Ended) {
        let code = ended.own.unwrap_or("cancelled").to_ascii_uppercase();
        if is_our_fault(&code) {
            span.fail(code.clone());
        }
        span.set("rpc.response.status_code", code);
    }
}

/// The statuses that a server has to answer for.
fn is_our_fault(code: &str) -> bool {
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"].contains(&code)
}

fn code_word(code: &[u8]) -> &'static str {
    match code {
        b"0" => "ok",
        b"1" => "cancelled",
        b"2" => "unknown",
        b"3" => "invalid_argument",
        b"4" => "deadline_exceeded",
        b"5" => "not_found",
        b"6" => "already_exists",
        b"7" => "permission_denied",
        b"8" => "resource_exhausted",
        b"9" => "failed_precondition",
        b"10" => "aborted",
        b"11" => "out_of_range",
        b"12" => "unimplemented",
        b"13" => "internal",
        b"14" => "unavailable",
        b"15" => "data_loss",
        b"16" => "unauthenticated",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_span_is_named_after_its_procedure_and_never_after_a_path() {
        let described = |route: &str| {
            let (name, attributes) = GrpcDialect.span("POST", route);
            let values: Vec<_> =
                attributes.into_iter().map(|attribute| attribute.value.to_string()).collect();
            (name, values)
        };
        let (name, values) = described("/usp.storage.v1.FileStorageService/Upload");
        assert_eq!(name, "usp.storage.v1.FileStorageService/Upload");
        assert_eq!(values, ["grpc", "usp.storage.v1.FileStorageService/Upload"]);
        assert_eq!(described("other").1, ["grpc", "_OTHER"]);
    }

    #[test]
    fn an_answer_without_a_status_was_broken_off() {
        let word = |status, own| GrpcDialect.status_word(Ended { status, own });
        assert_eq!(word(Some(StatusCode::OK), Some("not_found")), "not_found");
        assert_eq!(word(Some(StatusCode::OK), None), "aborted");
        assert_eq!(word(None, None), "aborted");
        assert_eq!(word(Some(StatusCode::NOT_FOUND), None), "4xx");
    }
}
