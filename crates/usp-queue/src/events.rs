//! The seam for those outside who want to know what happened.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use usp_model::{EventKind, EventSeq, Result, Timestamp};

/// A kept event on its way out.
#[derive(Debug, Clone)]
pub struct EventMessage {
    pub seq: EventSeq,
    pub at: Timestamp,
    pub kind: EventKind,
    /// A CloudEvent in JSON.
    pub body: Bytes,
}

/// A copy of the event log that others may read. It has each event at least once, in order, and no gaps.
#[async_trait]
pub trait EventLog: fmt::Debug + Send + Sync + 'static {
    /// The newest event that it has; 0 if it has none. Errors: `Unavailable`.
    async fn last(&self) -> Result<EventSeq>;

    /// Adds events behind those it has, all of them or a beginning.
    ///
    /// Errors: `Unavailable`; then [`Self::last`] tells where to go on.
    async fn append(&self, events: Vec<EventMessage>) -> Result<()>;

    /// Rises when it may have lost what it had.
    fn loss_count(&self) -> u64;
}
