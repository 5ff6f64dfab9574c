//! The span of a request, described by its door's dialect: which route was taken and how it ended. Paths, queries and
//! headers are the client's words and stay out.

use http::{HeaderMap, HeaderValue};
use usp_api::trace::{self, Span, SpanKind};

use crate::dialect::{Dialect, Ended};
use crate::request::trace_context;

/// Begins the span of a request. Whatever the request leads to belongs to it from here on, so its name takes the place
/// of what the client sent.
pub(super) fn begin(
    dialect: &dyn Dialect,
    method: &'static str,
    route: &str,
    headers: &mut HeaderMap,
) -> Span {
    if !trace::is_on() {
        return Span::default();
    }
    let parent = trace_context::of(headers);
    let span = Span::begin(SpanKind::Server, parent.as_deref(), || dialect.span(method, route));
    if let Some(Ok(name)) = span.traceparent().map(HeaderValue::try_from) {
        headers.insert(trace_context::TRACEPARENT, name);
    }
    span
}

/// Notes how the request ended.
pub(super) fn end(span: &mut Span, dialect: &dyn Dialect, ended: Ended) {
    if trace::is_on() {
        dialect.end_span(span, ended);
    }
}
