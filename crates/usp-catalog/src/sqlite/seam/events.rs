use async_trait::async_trait;
use usp_model::{Act, Event, EventQuery, EventSeq, Result, Timestamp};

use crate::EventFacts;
use crate::sqlite::{SqliteCatalog, events};

#[async_trait]
impl EventFacts for SqliteCatalog {
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>> {
        self.readers.read("list events", move |conn| events::after(conn, &query)).await
    }

    async fn last_event(&self) -> Result<EventSeq> {
        self.readers.read("find last event", events::last).await
    }

    fn event_signal(&self) -> tokio::sync::watch::Receiver<EventSeq> {
        self.writer.events()
    }

    async fn prune_events(&self, act: Act, before: Timestamp, limit: u32) -> Result<u64> {
        self.writer.write("prune events", act, move |tx| events::prune(tx, tx.at(), before, limit)).await
    }
}
