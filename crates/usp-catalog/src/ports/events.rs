//! The log of events, in order of commit.

use async_trait::async_trait;
use usp_model::{Act, Event, EventQuery, EventSeq, Result, Timestamp};

#[async_trait]
pub trait EventFacts: Send + Sync + 'static {
    /// Kept events after a point, oldest first.
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>>;
    /// The newest kept event's number; 0 if there is none.
    async fn last_event(&self) -> Result<EventSeq>;
    /// Rises whenever events were committed, so that a follower knows when to look.
    fn event_signal(&self) -> tokio::sync::watch::Receiver<EventSeq>;
    /// Forgets events older than `before`, about `limit` at most; gives their number. Those that a clock which was ahead
    /// dated after `now` go with the ones behind them.
    async fn prune_events(&self, act: Act, before: Timestamp, limit: u32) -> Result<u64>;
}
