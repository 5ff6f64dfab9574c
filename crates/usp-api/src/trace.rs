//! Spans: what a process tells about its part in a trace (<https://www.w3.org/TR/trace-context/>).
//!
//! The binary says once where spans go ([`install`]). Until then nothing is made: [`Span::begin`] looks at one pointer
//! and does not call the closure that describes the span.
//!
//! A trace goes from role to role as the text that is kept with a file and its runs (`NewFile::trace`,
//! `LeasedRun::trace`), so a parent is named the same way whether it lives in this process or in another.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use opentelemetry::global::{BoxedSpan, BoxedTracer, ObjectSafeTracer};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{Context, Value};

pub use opentelemetry::KeyValue as Attribute;
pub use opentelemetry::trace::SpanKind;

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// Has every span from now on go to `tracer`. The first one stays for the life of the process.
pub fn install(tracer: impl ObjectSafeTracer + Send + Sync + 'static) {
    let _already_there = TRACER.set(BoxedTracer::new(Box::new(tracer)));
}

/// Whether spans go anywhere.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// A piece of work that is going on; it has ended when this is dropped. Nothing while spans go nowhere.
#[derive(Default)]
pub struct Span(Option<BoxedSpan>);

impl Span {
    /// Begins a span below the one that `parent` names, or a trace of its own where it names none.
    ///
    /// `describe` gives name and attributes: words of closed sets, ids and figures, never what a user wrote.
    pub fn begin<N: Into<Cow<'static, str>>>(
        kind: SpanKind,
        parent: Option<&str>,
        describe: impl FnOnce() -> (N, Vec<Attribute>),
    ) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        Self::below(tracer, kind, parent.and_then(parse), describe())
    }

    /// Begins a part of this span.
    #[must_use]
    pub fn part<N: Into<Cow<'static, str>>>(&self, describe: impl FnOnce() -> (N, Vec<Attribute>)) -> Self {
        let (Some(span), Some(tracer)) = (&self.0, TRACER.get()) else { return Self(None) };
        Self::below(tracer, SpanKind::Internal, Some(span.span_context().clone()), describe())
    }

    fn below<N: Into<Cow<'static, str>>>(
        tracer: &BoxedTracer,
        kind: SpanKind,
        parent: Option<SpanContext>,
        (name, attributes): (N, Vec<Attribute>),
    ) -> Self {
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        let above = Context::new();
        let above = match parent {
            Some(parent) => above.with_remote_span_context(parent),
            None => above,
        };
        Self(Some(tracer.build_with_context(builder, &above)))
    }

    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(Attribute::new(key, value));
        }
    }

    /// It failed, for a reason of a closed set.
    pub fn fail(&mut self, error_type: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(Attribute::new("error.type", error_type.into()));
            span.set_status(Status::error(""));
        }
    }

    /// The span as others name it who do something because of it. `None` while spans go nowhere.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        let is_named = context.is_valid();
        is_named.then(|| format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.traceparent()).finish()
    }
}

/// Reads what a door has checked already.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_spans_go_nowhere_nobody_is_asked_to_describe_one() {
        let mut span = Span::begin(SpanKind::Server, None, || -> (String, Vec<Attribute>) { unreachable!() });
        let part = span.part(|| -> (String, Vec<Attribute>) { unreachable!() });
        span.set("a", 1_i64);
        span.fail("b");
        assert_eq!((span.traceparent(), part.traceparent(), is_on()), (None, None, false));
    }

    #[test]
    fn a_parent_is_read_as_it_was_kept() {
        let context = parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff").unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_remote() && context.is_sampled());
        for text in ["", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "00-x-y-z"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
