//! One line and one count for each request, when its answer has gone out or the client has gone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tracing::info;
use usp_api::trace::Span;

use super::client::ClientAddress;
use super::{Door, span};
use crate::dialect::Ended;
use crate::metrics::RequestEnd;
use crate::request;
use crate::request::Head;
use crate::request::principal::PrincipalSlot;

/// Longer paths are cut in the log.
const PATH_CHARS_MAX: usize = 512;

pub(super) async fn observe(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let principal = PrincipalSlot::default();
    let bytes_in = Arc::new(AtomicU64::new(0));
    let (method, route) = (method_word(request.method()), route_of(&request, &door));
    let span = span::begin(door.dialect, method, &route, request.headers_mut());
    let mut ending = Ending {
        begun: Instant::now(),
        method,
        path: request.uri().path().chars().take(PATH_CHARS_MAX).collect(),
        route,
        request_id: request::id::of(request.extensions()),
        client: request.extensions().get::<ClientAddress>().map_or(peer.ip(), |client| client.0),
        principal: principal.clone(),
        bytes_in: Arc::clone(&bytes_in),
        bytes_out: 0,
        ended: Ended::default(),
        span,
        door,
    };
    let request = request.map(|body| Body::new(CountedBody { body, count: bytes_in }));
    let response = principal.scope(next.run(request)).await;
    ending.ended =
        Ended { status: Some(response.status()), own: ending.door.dialect.own_status(response.headers()) };
    response.map(|body| Body::new(ObservedBody { body, ending }))
}

/// Everything that is logged about a request; logged when it is dropped.
struct Ending {
    begun: Instant,
    method: &'static str,
    path: String,
    route: String,
    request_id: String,
    client: IpAddr,
    principal: PrincipalSlot,
    bytes_in: Arc<AtomicU64>,
    bytes_out: u64,
    ended: Ended,
    span: Span,
    door: Arc<Door>,
}

impl Ending {
    /// The status of the log line: the dialect's own, else the number of HTTP, 0 where there was no answer.
    fn logged_status(&self) -> String {
        let Ended { status, own } = self.ended;
        own.map_or_else(|| status.map_or(0, |status| status.as_u16()).to_string(), str::to_owned)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        let bytes_in = self.bytes_in.load(Ordering::Relaxed);
        let dialect = self.door.dialect;
        info!(
            target: "usp::access",
            door = dialect.door(),
            method = self.method,
            path = %self.path.escape_debug(),
            status = self.logged_status(),
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            bytes_in,
            bytes_out = self.bytes_out,
            principal = self.principal.name().unwrap_or("-"),
            request_id = self.request_id,
            client = %self.client,
            "request",
        );
        span::end(&mut self.span, dialect, self.ended);
        let end = RequestEnd {
            door: dialect.door(),
            method: self.method,
            route: std::mem::take(&mut self.route),
            status: dialect.status_word(self.ended),
            duration,
            bytes_in,
            bytes_out: self.bytes_out,
        };
        self.door.metrics.ended(end);
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
                let own = self.ending.door.dialect.own_status(trailers);
                self.ending.ended.own = own.or(self.ending.ended.own);
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

/// A word of a closed set: clients may invent methods, labels and logs do not.
fn method_word(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("OTHER")
}

/// The dialect's name of the route that the router matched; never what a client made up.
fn route_of(request: &Request, door: &Door) -> String {
    match request.extensions().get::<MatchedPath>() {
        Some(matched) => door.dialect.route(Head::of(request), matched.as_str()),
        None => "none".to_owned(),
    }
}
