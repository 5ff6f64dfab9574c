//! Tracks one connection: which requests are open, whether the peer reads its answers, and since when neither holds.
//! The timeouts of the connection follow from it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::Version;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::body::SharedBody;
use super::head::HeadScan;

/// The open requests of a connection and its timeouts.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Answers that share the connection (HTTP/2), by the number of their request.
    outgoing: Mutex<HashMap<u64, Weak<SharedBody>>>,
    header_timeout: Duration,
    idle_timeout: Duration,
}

#[derive(Debug)]
struct State {
    /// Requests that have arrived.
    request_count: u64,
    /// Requests whose answer has not ended.
    active_count: u32,
    /// Requests whose body is not known to have ended: incoming bytes may belong to it, even after the answer.
    unread_count: u32,
    /// Answers whose next piece the peer has not made room for.
    untaken_count: u32,
    /// When the peer last took a piece of an answer.
    moved_at: Instant,
    /// HTTP/2 peers also send pings and window updates while they ask nothing.
    is_multiplexed: bool,
    phase: Phase,
    /// The part of the next head that has arrived since the last answer ended.
    head: HeadScan,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// A request has begun to arrive; at first, the connection has just been accepted.
    Header { since: Instant },
    /// The last answer has ended, and no byte came after it.
    Idle { since: Instant },
}

impl Activity {
    pub(super) fn new(header_timeout: Duration, idle_timeout: Duration) -> Self {
        let now = Instant::now();
        let state = State {
            request_count: 0,
            active_count: 0,
            unread_count: 0,
            untaken_count: 0,
            moved_at: now,
            is_multiplexed: false,
            phase: Phase::Header { since: now },
            head: HeadScan::default(),
        };
        Self { state: Mutex::new(state), outgoing: Mutex::default(), header_timeout, idle_timeout }
    }

    /// Notes that a request has arrived; it is open until the returned guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> ActiveRequest {
        let mut state = self.state.lock();
        state.active_count += 1;
        state.request_count += 1;
        state.is_multiplexed = version >= Version::HTTP_2;
        let fault = std::mem::take(&mut state.head).fault().filter(|_| !state.is_multiplexed);
        ActiveRequest {
            activity: Arc::clone(self),
            fault,
            number: state.request_count,
            is_multiplexed: state.is_multiplexed,
        }
    }

    /// Notes that bytes came in.
    pub(super) fn received(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.active_count > 0 || state.unread_count > 0 || state.is_multiplexed {
            return;
        }
        state.head.push(bytes);
        if matches!(state.phase, Phase::Idle { .. }) {
            state.phase = Phase::Header { since: Instant::now() };
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
        if let Phase::Idle { since } = &mut state.phase {
            *since = now;
        }
    }

    /// Notes that a request's body has not ended, or that it has.
    pub(super) fn note_unread(&self, is_unread: bool) {
        let mut state = self.state.lock();
        state.unread_count = changed(state.unread_count, is_unread);
    }

    /// Notes that the peer has been handed a piece of an answer, or that it has room for the next one.
    pub(super) fn note_untaken(&self, is_untaken: bool) {
        let mut state = self.state.lock();
        state.moved_at = Instant::now();
        state.untaken_count = changed(state.untaken_count, is_untaken);
    }

    /// Returns once the peer has used up its time. Cancel: safe.
    pub(super) async fn overdue(&self) {
        // The deadline may move either way in between, so it is read several times.
        let recheck_after = (self.header_timeout.min(self.idle_timeout) / 4).max(Duration::from_millis(1));
        loop {
            self.give_up_untaken();
            match self.deadline() {
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep(recheck_after.min(deadline - Instant::now())).await,
                None => sleep(recheck_after).await,
            }
        }
    }

    /// Drops each answer that the peer does not read; the others of the connection go on.
    fn give_up_untaken(&self) {
        let outgoing: Vec<_> = self.outgoing.lock().values().filter_map(Weak::upgrade).collect();
        for answer in outgoing {
            answer.give_up_if_untaken_for(self.idle_timeout);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        match state.phase {
            _ if state.active_count > state.untaken_count => None,
            _ if state.active_count > 0 => Some(state.moved_at + self.idle_timeout),
            Phase::Header { since } => Some(since + self.header_timeout),
            Phase::Idle { since } => Some(since + self.idle_timeout),
        }
    }
}

fn changed(count: u32, is_more: bool) -> u32 {
    if is_more { count.saturating_add(1) } else { count.saturating_sub(1) }
}

/// One request that is being answered.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    activity: Arc<Activity>,
    fault: Option<&'static str>,
    number: u64,
    is_multiplexed: bool,
}

impl ActiveRequest {
    /// Notes the answer, if it shares the connection. On HTTP/1 it ends with its connection.
    pub(super) fn note_answer(&self, answer: &Arc<SharedBody>) {
        if self.is_multiplexed {
            self.activity.outgoing.lock().insert(self.number, Arc::downgrade(answer));
        }
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Why the request is refused before anything else, if it is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.is_multiplexed {
            self.activity.outgoing.lock().remove(&self.number);
        }
        let mut state = self.activity.state.lock();
        state.active_count -= 1;
        state.phase = Phase::Idle { since: Instant::now() };
        state.head = HeadScan::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    async fn waited(activity: &Activity) -> Duration {
        let begun = Instant::now();
        activity.overdue().await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_header_has_its_time_from_the_accept() {
        let activity = Activity::new(HEADER, IDLE);
        activity.received(b"G");
        let waited = waited(&activity).await;
        assert!(waited >= HEADER && waited < HEADER + HEADER / 2, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_may_rest_longer_than_a_header_may_take() {
        let activity = Arc::new(Activity::new(HEADER, IDLE));
        drop(activity.begin(Version::HTTP_11));
        assert!(waited(&activity).await >= IDLE);
        drop(activity.begin(Version::HTTP_11));
        activity.received(b"G");
        assert!(waited(&activity).await < HEADER * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_do_not_look_like_a_header() {
        let activity = Arc::new(Activity::new(HEADER, IDLE));
        drop(activity.begin(Version::HTTP_2));
        activity.received(b"G");
        assert!(waited(&activity).await >= IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_at_work_is_never_overdue() {
        let activity = Arc::new(Activity::new(HEADER, IDLE));
        let active = activity.begin(Version::HTTP_11);
        assert!(tokio::time::timeout(IDLE * 10, activity.overdue()).await.is_err());
        drop(active);
        activity.overdue().await;
    }
}
