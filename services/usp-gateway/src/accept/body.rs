//! Bodies that report their progress to the [`Activity`] of their connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;
use usp_model::{Error, ErrorKind};

use super::activity::{ActiveRequest, Activity};

type Polled = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// The body of an answer: its connection is active until it has been sent.
#[derive(Debug)]
pub(super) struct OutgoingBody {
    outgoing: Arc<SharedBody>,
    active: ActiveRequest,
    /// A piece was handed out, and the next one has not been asked for.
    is_untaken: bool,
}

impl OutgoingBody {
    pub(super) fn new(body: Body, active: ActiveRequest) -> Self {
        // The time runs before the first piece, too: a peer may never make room for it.
        let state = State { body: Some(body), untaken_since: Some(Instant::now()) };
        let outgoing = Arc::new(SharedBody(Mutex::new(state)));
        active.note_answer(&outgoing);
        Self { outgoing, active, is_untaken: false }
    }

    fn note(&mut self, is_untaken: bool) {
        if self.is_untaken != is_untaken {
            self.is_untaken = is_untaken;
            self.active.activity().note_untaken(is_untaken);
        }
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        self.note(false);
    }
}

impl HttpBody for OutgoingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        self.note(false);
        let polled = self.outgoing.poll(cx);
        self.note(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.outgoing.0.lock().body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.outgoing.0.lock().body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

/// A body that can be dropped while its connection goes on: the file or stream behind it is released. Reading on after
/// that is an error.
#[derive(Debug)]
pub(super) struct SharedBody(Mutex<State>);

#[derive(Debug)]
struct State {
    /// `None`: given up.
    body: Option<Body>,
    untaken_since: Option<Instant>,
}

impl SharedBody {
    fn poll(&self, cx: &mut Context<'_>) -> Polled {
        let mut state = self.0.lock();
        state.untaken_since = None;
        let Some(body) = &mut state.body else {
            return Poll::Ready(Some(Err(axum::Error::new(given_up()))));
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            state.untaken_since = Some(Instant::now());
        }
        polled
    }

    pub(super) fn give_up_if_untaken_for(&self, time: Duration) {
        let mut state = self.0.lock();
        if state.untaken_since.is_some_and(|since| since.elapsed() >= time) {
            // Dropped outside the lock: that may take time.
            let body = state.body.take();
            drop(state);
            drop(body);
        }
    }
}

fn given_up() -> Error {
    Error::new(ErrorKind::Unavailable, "send answer").because("nobody took it for too long")
}

/// A request's body. When it is dropped before its end, the protocol drops the rest or the connection.
///
/// It ends only where its sender ended it. hyper takes an HTTP/2 stream that is reset without an error code for one that
/// ended, and tonic does so with one that is cancelled, if it finds that in the error: a file would be cut short silently.
#[derive(Debug)]
pub(super) struct IncomingBody {
    body: Body,
    activity: Arc<Activity>,
    is_multiplexed: bool,
    is_unread: bool,
}

impl IncomingBody {
    pub(super) fn new(version: Version, body: Body, activity: Arc<Activity>) -> Self {
        let is_unread = !body.is_end_stream();
        if is_unread {
            activity.note_unread(true);
        }
        Self { body, activity, is_multiplexed: version >= Version::HTTP_2, is_unread }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Polled {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) if self.is_multiplexed && self.is_unread && !self.body.is_end_stream() => {
                Poll::Ready(Some(Err(broken("the stream was reset"))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(error)))),
            polled => polled,
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_unread) {
            self.activity.note_unread(false);
        }
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        self.end();
    }
}

impl HttpBody for IncomingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let polled = self.poll_body(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The cause as text only, so that tonic finds no protocol error in the chain.
fn broken(cause: impl ToString) -> axum::Error {
    axum::Error::new(
        Error::new(ErrorKind::InvalidInput, "read request body")
            .because("the body ended before all of it arrived")
            .caused_by(cause.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use http_body_util::BodyExt;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    async fn waited(activity: &Activity) -> Duration {
        let begun = Instant::now();
        activity.overdue().await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let activity = Arc::new(Activity::new(HEADER, IDLE));
        let pieces = || {
            let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x")));
            OutgoingBody::new(Body::from_stream(pieces), activity.begin(Version::HTTP_2))
        };
        let (mut stuck, mut silent) =
            (pieces(), OutgoingBody::new(Body::empty(), activity.begin(Version::HTTP_2)));
        stuck.frame().await.unwrap().unwrap();
        // The other one is still being thought about.
        assert!(tokio::time::timeout(IDLE / 2, activity.overdue()).await.is_err());
        assert!(silent.frame().await.is_none());
        drop(silent);
        stuck.frame().await.unwrap().unwrap();
        assert!(tokio::time::timeout(IDLE / 2, activity.overdue()).await.is_err());
        stuck.frame().await.unwrap().unwrap();
        assert!(waited(&activity).await >= IDLE, "asking for the next piece gives new time");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up_beside_one_that_goes_on() {
        let activity = Arc::new(Activity::new(HEADER, IDLE));
        let pieces = || {
            let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x")));
            OutgoingBody::new(Body::from_stream(pieces), activity.begin(Version::HTTP_2))
        };
        let (mut stuck, mut taken) = (pieces(), pieces());
        // One without an end that has nothing to say keeps the connection active.
        let silent = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let mut silent = OutgoingBody::new(silent, activity.begin(Version::HTTP_2));
        assert!(silent.frame().now_or_never().is_none());
        let mut never_begun = pieces();
        stuck.frame().await.unwrap().unwrap();
        for _ in 0..5 {
            taken.frame().await.unwrap().unwrap();
            assert!(tokio::time::timeout(IDLE / 2, activity.overdue()).await.is_err());
        }
        assert!(taken.frame().await.unwrap().is_ok());
        assert!(stuck.frame().await.unwrap().is_err());
        assert!(never_begun.frame().await.unwrap().is_err());
        assert!(silent.frame().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_body_after_its_answer_is_no_head() {
        let activity = Arc::new(Activity::new(HEADER, IDLE));
        let active = activity.begin(Version::HTTP_11);
        let unread = IncomingBody::new(Version::HTTP_11, Body::from("rest"), Arc::clone(&activity));
        drop(active);
        activity.received(b"content-length: 1\ntransfer-encoding: chunked\n");
        drop(unread);
        activity.received(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(activity.begin(Version::HTTP_11).fault(), None);
    }
}
