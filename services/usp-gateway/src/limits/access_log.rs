//! One line and one count for each request, when its answer has gone out or the client has gone.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tracing::info;
use usp_api::trace::Span;
use usp_model::Principal;

use super::client::ClientAddress;
use super::{Entrance, request_id, span};
use crate::metrics::{Door, GaugeGuard, RequestEnd};

/// Longer paths are cut in the log.
const PATH_CHARS_MAX: usize = 512;

tokio::task_local! {
    /// Who asks, once that is known, in the task that answers.
    static PRINCIPAL: Arc<OnceLock<String>>;
}

/// Says in the log who made the request that is being answered. The first caller stays.
pub(crate) fn note_principal(principal: &Principal) {
    let _ = PRINCIPAL.try_with(|name| name.set(principal.name.to_string()));
}

pub(super) async fn observe(
    State(entrance): State<Entrance>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let principal = Arc::new(OnceLock::new());
    let bytes_in = Arc::new(AtomicU64::new(0));
    let (method, route) = (method_word(request.method()), route_of(&request, entrance.door));
    let span = span::begin(entrance.door, method, &route, request.headers_mut());
    let mut ending = Ending {
        begun: Instant::now(),
        method,
        path: request.uri().path().chars().take(PATH_CHARS_MAX).collect(),
        route,
        request_id: request_id::of(request.extensions()),
        client: request.extensions().get::<ClientAddress>().map_or(peer.ip(), |client| client.0),
        principal: Arc::clone(&principal),
        bytes_in: Arc::clone(&bytes_in),
        bytes_out: 0,
        status: None,
        grpc_status: None,
        event_stream: None,
        span,
        entrance,
    };
    let request = request.map(|body| Body::new(CountedBody { body, count: bytes_in }));
    let response = PRINCIPAL.scope(principal, next.run(request)).await;
    ending.event_stream =
        is_event_stream(&response).then(|| ending.entrance.gateway.metrics.open_event_stream());
    ending.status = Some(response.status());
    ending.note_grpc_status(response.headers());
    response.map(|body| Body::new(ObservedBody { body, ending }))
}

/// Everything that is said about a request; said when it is dropped.
struct Ending {
    begun: Instant,
    method: &'static str,
    path: String,
    route: String,
    request_id: String,
    client: std::net::IpAddr,
    principal: Arc<OnceLock<String>>,
    bytes_in: Arc<AtomicU64>,
    bytes_out: u64,
    /// `None`: the client went before there was an answer.
    status: Option<StatusCode>,
    grpc_status: Option<&'static str>,
    /// Counts server-sent events while they flow.
    event_stream: Option<GaugeGuard>,
    span: Span,
    entrance: Entrance,
}

impl Ending {
    fn note_grpc_status(&mut self, headers: &HeaderMap) {
        if self.entrance.door == Door::Grpc
            && let Some(code) = headers.get("grpc-status")
        {
            self.grpc_status = Some(grpc_word(code.as_bytes()));
        }
    }

    fn status_word(&self) -> &'static str {
        match (self.grpc_status, self.status.map(|status| status.as_u16() / 100)) {
            (Some(word), _) => word,
            (None, None) => "aborted",
            (None, Some(2)) if self.entrance.door == Door::Grpc => "aborted",
            (None, Some(1)) => "1xx",
            (None, Some(2)) => "2xx",
            (None, Some(3)) => "3xx",
            (None, Some(4)) => "4xx",
            (None, Some(_)) => "5xx",
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        let bytes_in = self.bytes_in.load(Ordering::Relaxed);
        let status = self.status_word();
        info!(
            target: "usp::access",
            door = self.entrance.door.as_str(),
            method = self.method,
            path = %self.path.escape_debug(),
            status = self.grpc_status.map_or_else(|| self.status.map_or(0, |status| status.as_u16()).to_string(), str::to_owned),
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            bytes_in,
            bytes_out = self.bytes_out,
            principal = self.principal.get().map_or("-", String::as_str),
            request_id = self.request_id,
            client = %self.client,
            "request",
        );
        span::end(&mut self.span, self.entrance.door, self.status, self.grpc_status);
        let end = RequestEnd {
            door: self.entrance.door,
            method: self.method,
            route: std::mem::take(&mut self.route),
            status,
            duration,
            bytes_in,
            bytes_out: self.bytes_out,
        };
        self.entrance.gateway.metrics.ended(end);
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

/// Counts what a handler read of a request.
#[derive(Debug)]
struct CountedBody {
    body: Body,
    count: Arc<AtomicU64>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(piece) = frame.data_ref()
        {
            self.count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Carries the ending of a request to the last byte of its answer.
#[derive(Debug)]
struct ObservedBody {
    body: Body,
    ending: Ending,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if let Some(piece) = frame.data_ref() {
                self.ending.bytes_out += piece.len() as u64;
            } else if let Some(trailers) = frame.trailers_ref() {
                self.ending.note_grpc_status(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn is_event_stream(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(b"text/event-stream"))
}

/// A word of a closed set: clients may invent methods, labels and logs do not.
fn method_word(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("OTHER")
}

/// The template of the route, or the name of the procedure; never what a client made up.
fn route_of(request: &Request, door: Door) -> String {
    match (door, request.extensions().get::<MatchedPath>()) {
        (Door::Http, Some(matched)) => matched.as_str().to_owned(),
        (Door::Grpc, Some(_)) => crate::grpc::known_path(request.uri().path()).unwrap_or("other").to_owned(),
        (_, None) => "none".to_owned(),
    }
}

fn grpc_word(code: &[u8]) -> &'static str {
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
