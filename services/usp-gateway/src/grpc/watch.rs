//! Streams of events, from a place in the log or from now on.

use futures::StreamExt;
use tonic::Status;
use usp_api::StorageApi;
use usp_model::{BucketName, EventKind, EventQuery, FileId, PageLimit, Result};
use usp_proto::shared::Event;

use super::admission::Session;
use super::allowed::{Guarded, while_allowed};
use super::encode;

/// Which events a client wants to follow.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) bucket: Option<BucketName>,
    pub(super) file: Option<FileId>,
    pub(super) kinds: Vec<EventKind>,
    /// `None`: only what happens from now on.
    pub(super) after: Option<i64>,
}

pub(super) async fn watch<T: Send + 'static>(
    storage: &dyn StorageApi,
    session: Session,
    watched: Watched,
    reply: fn(Event) -> T,
) -> Result<Guarded<T, Status>> {
    let after = match watched.after {
        Some(seq) => seq.max(0),
        None => storage.last_event(&session.caller).await?,
    };
    let query = EventQuery {
        after,
        bucket: watched.bucket,
        file: watched.file,
        buckets: None,
        kinds: watched.kinds,
        limit: PageLimit::MAX.get(),
    };
    let events = storage.watch(&session.caller, query).await?;
    let open = session.gateway_metrics().open_event_stream();
    let failing = session.clone();
    let stopping = session.stopping().cancelled_owned();
    let replies = events.take_until(stopping).map(move |event| {
        let _counted = &open;
        event.map(|event| reply(encode::event(event))).map_err(|error| failing.status(&error))
    });
    Ok(while_allowed(session, replies, |session, error| session.status(&error)))
}

/// Every kind of event that is about a run.
pub(super) fn run_kinds() -> Vec<EventKind> {
    EventKind::ALL.iter().copied().filter(|kind| kind.as_str().starts_with("usp.run.")).collect()
}
