//! What a door says about its dialect, so that the layers around every door need to know none.
//!
//! A dialect is a value: a unit struct beside the handlers that speak it, handed to
//! [`with_layers`](crate::limits::with_layers). The provided methods speak plain HTTP; a dialect over HTTP overrides little.

use std::fmt;

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use usp_api::trace::{Attribute, Span};
use usp_model::{Error, Result, UploadId};

use crate::presented::{self, Presented};
use crate::request::Head;

/// How one door speaks, as far as limits, log, metrics and spans must know.
pub(crate) trait Dialect: fmt::Debug + Send + Sync {
    /// The door's word in logs and metrics. Shape: lower case, one per door.
    fn door(&self) -> &'static str;

    /// Answers a request that goes no further, and logs why.
    fn refuse(&self, error: Error, request_id: &str) -> Response;

    /// Reads the credential of a request, unproven. Errors: `Unauthenticated` for one that cannot be read.
    fn present(&self, head: Head<'_>) -> Result<Presented> {
        presented::authorization(head.headers)
    }

    /// Says which limits count a request.
    fn rate_key(&self, head: Head<'_>) -> RateKey;

    /// Names the route for log, metrics and span. Shape: a word of a closed set, never what a client made up.
    ///
    /// `matched` is the router's template; requests that match none never come here.
    fn route(&self, _head: Head<'_>, matched: &str) -> String {
        matched.to_owned()
    }

    /// What web pages of other origins may do through this door; `None`: browsers get no say in it.
    fn cors(&self) -> Option<&'static CorsRules> {
        None
    }

    /// Whether the answer may hold a secret, so that nothing on its way may keep it.
    fn is_secret(&self, _head: Head<'_>) -> bool {
        false
    }

    /// Reads the dialect's own status from headers or trailers of an answer. Shape: a word of a closed set.
    fn own_status(&self, _fields: &HeaderMap) -> Option<&'static str> {
        None
    }

    /// Names how a request ended, for metrics. Shape: a word of a closed set.
    fn status_word(&self, ended: Ended) -> &'static str {
        ended.own.unwrap_or_else(|| ended.status.map_or("aborted", status_class))
    }

    /// Describes a request for its span: a name and attributes of closed sets.
    fn span(&self, method: &'static str, route: &str) -> (String, Vec<Attribute>) {
        http_span(method, route)
    }

    /// Notes in the span how its request ended.
    fn end_span(&self, span: &mut Span, ended: Ended) {
        end_http_span(span, ended.status);
    }
}

/// How an answer ended, as far as it went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ended {
    /// `None`: the client went before there was an answer.
    pub(crate) status: Option<StatusCode>,
    /// [`Dialect::own_status`] of its headers or trailers.
    pub(crate) own: Option<&'static str>,
}

/// Which limits count a request. Its address and its credential are counted for every door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateKey {
    /// Address and credential, no more.
    Caller,
    /// A try to sign in, which each address may make more rarely.
    SignIn,
    /// Continues an upload. One that is known counts against a budget of its own instead: it is one piece of work,
    /// however many requests carry it.
    Upload(UploadId),
}

/// What a page of an allowed origin may send and read.
#[derive(Debug)]
pub(crate) struct CorsRules {
    /// The value of `Access-Control-Allow-Methods`.
    pub(crate) methods: &'static str,
    /// Request headers that a page may set. Shape: lower case, sorted.
    pub(crate) request_headers: &'static [&'static str],
    /// The same, by their beginnings.
    pub(crate) request_header_prefixes: &'static [&'static str],
    /// The value of `Access-Control-Expose-Headers`.
    pub(crate) response_headers: &'static str,
}

impl CorsRules {
    /// Whether a page may set the header `name`, which is in lower case.
    pub(crate) fn takes_header(&self, name: &str) -> bool {
        self.request_headers.binary_search(&name).is_ok()
            || self.request_header_prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// The class of a status, for metrics.
pub(crate) fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// Source: semantic conventions of OpenTelemetry for HTTP servers.
fn http_span(method: &'static str, route: &str) -> (String, Vec<Attribute>) {
    let (word, method) = if method == "OTHER" { ("HTTP", "_OTHER") } else { (method, method) };
    let mut attributes = vec![Attribute::new("http.request.method", method)];
    if !route.starts_with('/') {
        return (word.to_owned(), attributes);
    }
    attributes.push(Attribute::new("http.route", route.to_owned()));
    (format!("{word} {route}"), attributes)
}

fn end_http_span(span: &mut Span, status: Option<StatusCode>) {
    let Some(status) = status else { return };
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_span_is_named_after_its_route_and_never_after_a_path() {
        let names = |(name, attributes): (String, Vec<Attribute>)| {
            let value = |attribute: Attribute| attribute.value.to_string();
            (name, attributes.into_iter().map(value).collect::<Vec<_>>())
        };
        let (name, values) = names(http_span("PUT", "/api/v1/buckets/{bucket}"));
        assert_eq!(name, "PUT /api/v1/buckets/{bucket}");
        assert_eq!(values, ["PUT", "/api/v1/buckets/{bucket}"]);
        assert_eq!(names(http_span("OTHER", "none")), ("HTTP".to_owned(), vec!["_OTHER".to_owned()]));
    }
}
