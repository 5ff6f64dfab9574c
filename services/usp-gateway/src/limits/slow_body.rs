//! A body must keep coming: a client that trickles bytes cannot hold a request open for ever.
//!
//! Only time spent waiting for the client counts. While storage is slow nobody asks for the next piece, and the clock
//! is stopped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use usp_model::{Error, ErrorKind};

use super::Door;

pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let config = &door.config;
    let (rate, grace) = (config.body_rate_bytes_per_s_min, config.body_grace);
    let request = if request.body().is_end_stream() {
        request
    } else {
        request.map(|body| Body::new(TimedBody::new(body, rate, grace)))
    };
    next.run(request).await
}

/// Fails once the client has kept us waiting for too long.
#[derive(Debug)]
struct TimedBody {
    body: Body,
    rate_bytes_per_s_min: u64,
    grace: Duration,
    received_bytes: u64,
    /// Time spent waiting so far, without the current wait.
    waited: Duration,
    waiting_since: Option<Instant>,
    deadline: Pin<Box<Sleep>>,
}

impl TimedBody {
    fn new(body: Body, rate_bytes_per_s_min: u64, grace: Duration) -> Self {
        Self {
            body,
            rate_bytes_per_s_min,
            grace,
            received_bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            deadline: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// How long the wait for the next piece may last: until the average falls too low, and never longer than a stall.
    fn time_left(&self) -> Duration {
        let earned = Duration::from_secs(self.received_bytes / self.rate_bytes_per_s_min.max(1));
        earned.max(self.grace).saturating_sub(self.waited).min(self.grace)
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(since) = this.waiting_since.take() {
                this.waited += since.elapsed();
            }
            if let Some(Ok(frame)) = &frame
                && let Some(piece) = frame.data_ref()
            {
                this.received_bytes = this.received_bytes.saturating_add(piece.len() as u64);
            }
            return Poll::Ready(frame);
        }
        if this.waiting_since.is_none() {
            let now = Instant::now();
            this.waiting_since = Some(now);
            let time_left = this.time_left();
            this.deadline.as_mut().reset(now + time_left);
        }
        ready!(this.deadline.as_mut().poll(cx));
        let error = Error::new(ErrorKind::Unavailable, "receive body").because(format!(
            "the body came in too slowly: after {} s at least {} bytes a second are needed",
            this.grace.as_secs(),
            this.rate_bytes_per_s_min
        ));
        Poll::Ready(Some(Err(axum::Error::new(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;

    const RATE: u64 = 1024;
    const GRACE: Duration = Duration::from_secs(30);

    /// Pieces of `size` bytes with `pause` before each.
    fn body(count: usize, size: usize, pause: Duration) -> TimedBody {
        let pieces = stream::iter(0..count).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; size]))
        });
        TimedBody::new(Body::from_stream(pieces), RATE, GRACE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_after_the_grace() {
        let begun = Instant::now();
        let error = body(1_000, 100, Duration::from_secs(1)).collect().await.unwrap_err();
        assert!(error.to_string().contains("too slowly"), "{error}");
        assert!(begun.elapsed() >= GRACE && begun.elapsed() < GRACE + Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_sufficient_body_arrives() {
        let received = body(300, 1_100, Duration::from_secs(1)).collect().await.unwrap();
        assert_eq!(received.to_bytes().len(), 300 * 1_100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_cut_however_much_came_before() {
        let flood = stream::once(async { Ok(Bytes::from(vec![0; 64 << 20])) });
        let silence = stream::pending::<Result<Bytes, std::io::Error>>();
        let body = TimedBody::new(Body::from_stream(flood.chain(silence)), RATE, GRACE);
        let begun = Instant::now();
        assert!(body.collect().await.is_err());
        assert!(begun.elapsed() < GRACE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_we_take_ourselves_does_not_count() {
        let mut body = body(3, 10, Duration::from_secs(9));
        for _ in 0..3 {
            assert!(body.frame().await.unwrap().is_ok());
            sleep(GRACE * 10).await;
        }
        assert!(body.frame().await.is_none());
    }
}
