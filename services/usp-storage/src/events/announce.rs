//! Events for those outside: every kept event is added to a log that others read, as a CloudEvent.
//!
//! The log itself says where to go on: its last event is looked up at the start, after every failure, and whenever it may
//! have lost something. So nothing is left out and nothing needs to be remembered here; what was added twice has the
//! same id both times.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use usp_api::event_json;
use usp_model::{Error, ErrorKind, Event, EventQuery, EventSeq, Result};
use usp_queue::{EventLog, EventMessage};
use usp_rt::{Shutdown, jittered};

use super::Events;
use crate::core::RepeatedWarning;

const PAGE_COUNT: u32 = 200;
/// Between two tries: short at first, and again after every success.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Events {
    /// Adds every kept event to `log`, until `shutdown`. A failure is logged and tried again; none ends the work.
    pub(crate) async fn announce(&self, log: Arc<dyn EventLog>, shutdown: Shutdown) {
        let mut pause = PAUSE_MIN;
        let mut warning = RepeatedWarning::default();
        loop {
            let followed = tokio::select! {
                followed = self.follow_into(log.as_ref(), &mut pause) => followed,
                () = shutdown.cancelled() => return,
            };
            if let Err(error) = followed {
                warning.log("the log of events", &error);
                tokio::select! {
                    () = tokio::time::sleep(jittered(pause)) => {}
                    () = shutdown.cancelled() => return,
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// Adds what `log` lacks, and then what comes, until it may have lost something.
    async fn follow_into(&self, log: &dyn EventLog, pause: &mut Duration) -> Result<()> {
        /// A loss is noticed by then even if nothing happens.
        const LOOK_INTERVAL: Duration = Duration::from_secs(2);
        let mut signal = self.facts.event_signal();
        let mut after = log.last().await?;
        let losses = log.loss_count();
        let newest = self.facts.last_event().await?;
        if after > newest {
            tracing::warn!(
                last = after,
                newest,
                "the broker knows events that the catalogue does not: it was restored from a backup"
            );
            after = newest;
        }
        while log.loss_count() == losses {
            // Marked as seen before the look, so that what is committed meanwhile wakes us again.
            signal.borrow_and_update();
            while let Some(last) = self.announce_page(log, after).await? {
                after = last;
                *pause = PAUSE_MIN;
            }
            if let Ok(Err(closed)) = tokio::time::timeout(LOOK_INTERVAL, signal.changed()).await {
                return Err(Error::new(ErrorKind::Unavailable, "follow events").caused_by(closed));
            }
        }
        Ok(())
    }

    /// Adds the next events after `after`; gives the last of them, or `None` if there are none.
    async fn announce_page(&self, log: &dyn EventLog, after: EventSeq) -> Result<Option<EventSeq>> {
        let query = EventQuery { after, limit: PAGE_COUNT, ..EventQuery::default() };
        let page = self.facts.events(query).await?;
        let Some(last) = page.last().map(|event| event.seq) else { return Ok(None) };
        log.append(page.into_iter().map(message).collect()).await?;
        Ok(Some(last))
    }
}

fn message(event: Event) -> EventMessage {
    let (seq, at, kind) = (event.seq, event.at, event.kind());
    EventMessage { seq, at, kind, body: Bytes::from(cloud_event(event).to_string()) }
}

/// The same form as the event streams of the gateway have.
fn cloud_event(event: Event) -> Value {
    let mut data = event_json(&event);
    data.insert("bucket".to_owned(), Value::String(event.bucket.to_string()));
    json!({
        "specversion": "1.0",
        "id": event.seq.to_string(),
        "source": "urn:usp",
        "type": event.kind(),
        "subject": event.file_id,
        "time": event.at,
        "datacontenttype": "application/json",
        "data": data,
    })
}
