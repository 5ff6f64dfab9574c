//! Knows of one connection whether something is asked of it, whether its answers are taken, and since when not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::head::HeadScan;

/// What is asked of a connection, and how long it may stay so.
#[derive(Debug)]
pub(super) struct Pulse {
    state: Mutex<State>,
    header_timeout: Duration,
    idle_timeout: Duration,
}

#[derive(Debug)]
struct State {
    /// Requests whose answer has not ended.
    busy_count: u32,
    /// Those of them whose next piece the peer has not made room for.
    untaken_count: u32,
    /// When a piece was last taken.
    moved_at: Instant,
    /// HTTP/2 peers also send pings and window updates while they ask nothing.
    is_multiplexed: bool,
    quiet: Quiet,
    /// What of a head has come since the last answer ended.
    head: HeadScan,
}

#[derive(Debug, Clone, Copy)]
enum Quiet {
    /// A request has begun to arrive; at first, the connection has just been accepted.
    Header { since: Instant },
    /// The last answer has ended, and no byte came after it.
    Idle { since: Instant },
}

impl Pulse {
    pub(super) fn new(header_timeout: Duration, idle_timeout: Duration) -> Self {
        let now = Instant::now();
        let state = State {
            busy_count: 0,
            untaken_count: 0,
            moved_at: now,
            is_multiplexed: false,
            quiet: Quiet::Header { since: now },
            head: HeadScan::default(),
        };
        Self { state: Mutex::new(state), header_timeout, idle_timeout }
    }

    /// Notes that a request has arrived; it lasts until the returned mark is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Busy {
        let mut state = self.state.lock();
        state.busy_count += 1;
        state.is_multiplexed = version >= Version::HTTP_2;
        let is_ambiguous = !state.is_multiplexed && std::mem::take(&mut state.head).is_ambiguous();
        Busy { pulse: Arc::clone(self), is_ambiguous }
    }

    /// Notes that bytes came in.
    pub(super) fn received(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.busy_count > 0 || state.is_multiplexed {
            return;
        }
        state.head.push(bytes);
        if matches!(state.quiet, Quiet::Idle { .. }) {
            state.quiet = Quiet::Header { since: Instant::now() };
        }
    }

    /// Notes that the socket took bytes. On HTTP/2 that may have been an answer to a ping.
    pub(super) fn sent(&self) {
        let mut state = self.state.lock();
        if state.is_multiplexed {
            return;
        }
        let now = Instant::now();
        state.moved_at = now;
        if let Quiet::Idle { since } = &mut state.quiet {
            *since = now;
        }
    }

    /// Returns once the peer has used up its time. Cancel: safe.
    pub(super) async fn overdue(&self) {
        // What happens in between may move the deadline either way, so it is looked at several times.
        let glance = self.header_timeout.min(self.idle_timeout) / 4;
        loop {
            match self.deadline() {
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep(glance.min(deadline - Instant::now())).await,
                None => sleep(glance).await,
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        match state.quiet {
            _ if state.busy_count > state.untaken_count => None,
            _ if state.busy_count > 0 => Some(state.moved_at + self.idle_timeout),
            Quiet::Header { since } => Some(since + self.header_timeout),
            Quiet::Idle { since } => Some(since + self.idle_timeout),
        }
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub(super) struct Busy {
    pulse: Arc<Pulse>,
    is_ambiguous: bool,
}

impl Busy {
    /// Whether the request's head can be read in two ways.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.pulse.state.lock();
        state.busy_count -= 1;
        state.quiet = Quiet::Idle { since: Instant::now() };
        state.head = HeadScan::default();
    }
}

/// An answer's body that keeps its connection busy until it has gone out.
#[derive(Debug)]
pub(super) struct BusyBody {
    body: Body,
    busy: Busy,
    /// A piece was handed out, and nobody has asked for the next one.
    is_untaken: bool,
}

impl BusyBody {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self { body, busy, is_untaken: false }
    }

    fn note(&mut self, is_untaken: bool) {
        if self.is_untaken != is_untaken {
            self.is_untaken = is_untaken;
            let mut state = self.busy.pulse.state.lock();
            state.moved_at = Instant::now();
            if is_untaken {
                state.untaken_count += 1;
            } else {
                state.untaken_count -= 1;
            }
        }
    }
}

impl Drop for BusyBody {
    fn drop(&mut self) {
        self.note(false);
    }
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.note(false);
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.note(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
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
    use http_body_util::BodyExt;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    async fn waited(pulse: &Pulse) -> Duration {
        let begun = Instant::now();
        pulse.overdue().await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_header_has_its_time_from_the_accept() {
        let pulse = Pulse::new(HEADER, IDLE);
        pulse.received(b"G");
        let waited = waited(&pulse).await;
        assert!(waited >= HEADER && waited < HEADER + HEADER / 2, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_may_rest_longer_than_a_header_may_take() {
        let pulse = Arc::new(Pulse::new(HEADER, IDLE));
        drop(pulse.begin(Version::HTTP_11));
        assert!(waited(&pulse).await >= IDLE);
        drop(pulse.begin(Version::HTTP_11));
        pulse.received(b"G");
        assert!(waited(&pulse).await < HEADER * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_do_not_look_like_a_header() {
        let pulse = Arc::new(Pulse::new(HEADER, IDLE));
        drop(pulse.begin(Version::HTTP_2));
        pulse.received(b"G");
        assert!(waited(&pulse).await >= IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_at_work_is_never_overdue() {
        let pulse = Arc::new(Pulse::new(HEADER, IDLE));
        let busy = pulse.begin(Version::HTTP_11);
        assert!(tokio::time::timeout(IDLE * 10, pulse.overdue()).await.is_err());
        drop(busy);
        pulse.overdue().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let pulse = Arc::new(Pulse::new(HEADER, IDLE));
        let pieces = || {
            let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x")));
            BusyBody::new(Body::from_stream(pieces), pulse.begin(Version::HTTP_2))
        };
        let (mut stuck, mut silent) = (pieces(), BusyBody::new(Body::empty(), pulse.begin(Version::HTTP_2)));
        stuck.frame().await.unwrap().unwrap();
        // The other one is still being thought about.
        assert!(tokio::time::timeout(IDLE * 10, pulse.overdue()).await.is_err());
        assert!(silent.frame().await.is_none());
        drop(silent);
        stuck.frame().await.unwrap().unwrap();
        assert!(waited(&pulse).await >= IDLE);
        stuck.frame().await.unwrap().unwrap();
        assert!(waited(&pulse).await >= IDLE, "asking for the next piece gives new time");
    }
}
