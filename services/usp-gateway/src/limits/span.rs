//! The span of a request, after the semantic conventions for HTTP and gRPC servers. It says which route was taken and
//! what became of it; paths, queries and headers are the client's words and stay out.

use http::{HeaderMap, HeaderValue, StatusCode};
use usp_api::trace::{self, Attribute, Span, SpanKind};

use crate::metrics::Door;
use crate::rest::input::labels;

/// Begins the span of a request. Whatever the request leads to belongs to it from here on, so its name takes the place
/// of what the client sent.
pub(super) fn begin(door: Door, method: &'static str, route: &str, headers: &mut HeaderMap) -> Span {
    if !trace::is_on() {
        return Span::default();
    }
    let span = Span::begin(SpanKind::Server, labels::trace(headers).as_deref(), || match door {
        Door::Http => http(method, route),
        Door::Grpc => grpc(route),
    });
    if let Some(Ok(name)) = span.traceparent().map(HeaderValue::try_from) {
        headers.insert(labels::TRACEPARENT, name);
    }
    span
}

fn http(method: &'static str, route: &str) -> (String, Vec<Attribute>) {
    let (word, method) = if method == "OTHER" { ("HTTP", "_OTHER") } else { (method, method) };
    let mut attributes = vec![Attribute::new("http.request.method", method)];
    if !route.starts_with('/') {
        return (word.to_owned(), attributes);
    }
    attributes.push(Attribute::new("http.route", route.to_owned()));
    (format!("{word} {route}"), attributes)
}

fn grpc(route: &str) -> (String, Vec<Attribute>) {
    let procedure = route.strip_prefix('/').unwrap_or("_OTHER").to_owned();
    let name = if procedure == "_OTHER" { "grpc".to_owned() } else { procedure.clone() };
    (name, vec![Attribute::new("rpc.system.name", "grpc"), Attribute::new("rpc.method", procedure)])
}

/// Says how the request ended. Without a status the client went first.
pub(super) fn end(
    span: &mut Span,
    door: Door,
    status: Option<StatusCode>,
    grpc_status: Option<&'static str>,
) {
    if !trace::is_on() {
        return;
    }
    match (door, status) {
        (Door::Http, Some(status)) => {
            span.set("http.response.status_code", i64::from(status.as_u16()));
            if status.is_server_error() {
                span.fail(status.as_str().to_owned());
            }
        }
        (Door::Http, None) => {}
        (Door::Grpc, _) => {
            let code = grpc_status.unwrap_or("cancelled").to_ascii_uppercase();
            if is_our_fault(&code) {
                span.fail(code.clone());
            }
            span.set("rpc.response.status_code", code);
        }
    }
}

/// The statuses that a server has to answer for.
fn is_our_fault(code: &str) -> bool {
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_named_after_its_route_and_never_after_a_path() {
        let names = |(name, attributes): (String, Vec<Attribute>)| {
            let value = |attribute: Attribute| attribute.value.to_string();
            (name, attributes.into_iter().map(value).collect::<Vec<_>>())
        };
        let (name, values) = names(http("PUT", "/api/v1/buckets/{bucket}"));
        assert_eq!(name, "PUT /api/v1/buckets/{bucket}");
        assert_eq!(values, ["PUT", "/api/v1/buckets/{bucket}"]);
        assert_eq!(names(http("OTHER", "none")), ("HTTP".to_owned(), vec!["_OTHER".to_owned()]));
        let (name, values) = names(grpc("/usp.storage.v1.FileStorageService/Upload"));
        assert_eq!(name, "usp.storage.v1.FileStorageService/Upload");
        assert_eq!(values, ["grpc", "usp.storage.v1.FileStorageService/Upload"]);
        assert_eq!(names(grpc("other")).1, ["grpc", "_OTHER"]);
    }
}
