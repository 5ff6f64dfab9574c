//! Bodies that nobody reads to their end.
//!
//! A request that is refused early (401, 404, 413) leaves the client sending. If the server closed the connection
//! now, the kernel would answer the bytes still under way with a reset, and the client might never see the answer.
//! So the answer goes out at once and what still arrives is thrown away in the background, within bounds.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::EXPECT;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// More than stands in the socket buffers of both ends; a client that goes on after that is cut off.
const DRAINED_BYTES_MAX: u64 = 4 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Wraps the body of a request, so that its rest is drained once it is dropped.
pub(crate) async fn drain_rest(request: Request) -> Request {
    let waits_for_continue = request.headers().contains_key(EXPECT);
    request.map(|body| Body::new(DrainedBody { body: Some(body), is_begun: false, waits_for_continue }))
}

struct DrainedBody {
    /// `None` once it ended.
    body: Option<Body>,
    is_begun: bool,
    /// The client sends nothing before it is asked to, and reading would ask.
    waits_for_continue: bool,
}

impl http_body::Body for DrainedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_begun = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let is_silent = self.waits_for_continue && !self.is_begun;
        if let Some(body) = self.body.take()
            && !http_body::Body::is_end_stream(&body)
            && !is_silent
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(DRAIN_TIMEOUT, drain(body)));
        }
    }
}

async fn drain(mut body: Body) {
    let mut drained_bytes = 0_u64;
    while let Some(Ok(frame)) = body.frame().await {
        drained_bytes += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
        if drained_bytes > DRAINED_BYTES_MAX {
            return;
        }
    }
}
