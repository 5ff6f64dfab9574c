//! Knows of one connection whether something is asked of it, and since when not.

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
        let quiet = Quiet::Header { since: Instant::now() };
        let state = State { busy_count: 0, is_multiplexed: false, quiet, head: HeadScan::default() };
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
            _ if state.busy_count > 0 => None,
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
    _busy: Busy,
}

impl BusyBody {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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
}
