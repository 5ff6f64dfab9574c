//! Streams that stay open: events, and the check that their caller may still see them.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::Status;
use usp_api::StorageApi;
use usp_model::limits::LIST_COUNT_MAX;
use usp_model::{BucketName, EventKind, EventQuery, FileId, Result};
use usp_proto::shared::Event;

use super::admission::Session;
use super::show;

/// A credential that was withdrawn ends its streams within 5 s, the time of the check included.
const CONFIRM_EVERY: Duration = Duration::from_secs(4);

pub(super) type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

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
) -> Result<Replies<T>> {
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
        limit: LIST_COUNT_MAX,
    };
    let events = storage.watch(&session.caller, query).await?;
    let open = session.gateway_metrics().open_event_stream();
    let seen_by = session.clone();
    let replies = events.map(move |event| {
        let _counted = &open;
        event.map(|event| reply(show::event(event))).map_err(|error| seen_by.status(&error))
    });
    Ok(while_allowed(session, replies))
}

/// Every kind of event that is about a run.
pub(super) fn run_kinds() -> Vec<EventKind> {
    EventKind::ALL.iter().copied().filter(|kind| kind.as_str().starts_with("usp.run.")).collect()
}

/// Passes a stream on for as long as its caller may do what it does; the first error is its last item.
pub(super) fn while_allowed<T: Send + 'static>(
    session: Session,
    replies: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Replies<T> {
    let mut confirm = interval_at(Instant::now() + CONFIRM_EVERY, CONFIRM_EVERY);
    confirm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let open = Open { replies: Box::pin(replies), session, confirm };
    Box::pin(stream::unfold(Some(open), |open| async move {
        let mut open = open?;
        let item = open.next().await?;
        let rest = item.is_ok().then_some(open);
        Some((item, rest))
    }))
}

struct Open<T> {
    replies: Replies<T>,
    session: Session,
    confirm: Interval,
}

impl<T> Open<T> {
    async fn next(&mut self) -> Option<Result<T, Status>> {
        loop {
            tokio::select! {
                // A stream that always has something to say must not drown the question.
                biased;
                _ = self.confirm.tick() => {
                    if let Err(error) = self.session.confirm().await {
                        return Some(Err(self.session.status(&error)));
                    }
                }
                item = self.replies.next() => return item,
            }
        }
    }
}
