//! Ends open streams whose caller may not do any more what the stream does.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use usp_model::Error;

use super::admission::Session;

/// A credential that was withdrawn ends its streams within 5 s, the time of the check included.
const CONFIRM_EVERY: Duration = Duration::from_secs(4);

/// A stream that ends when its caller loses the permission for it.
pub(super) type Guarded<T, E> = Pin<Box<dyn Stream<Item = Result<T, E>> + Send>>;

/// Forwards a stream while its caller has the permission for it; the first error is its last item.
pub(super) fn while_allowed<T: Send + 'static, E: Send + 'static>(
    session: Session,
    items: impl Stream<Item = Result<T, E>> + Send + 'static,
    refuse: fn(&Session, Error) -> E,
) -> Guarded<T, E> {
    let mut confirm = interval_at(Instant::now() + CONFIRM_EVERY, CONFIRM_EVERY);
    confirm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let open = Open { items: Box::pin(items), session, confirm, refuse };
    Box::pin(stream::unfold(Some(open), |open| async move {
        let mut open = open?;
        let item = open.next().await?;
        let rest = item.is_ok().then_some(open);
        Some((item, rest))
    }))
}

struct Open<T, E> {
    items: Guarded<T, E>,
    session: Session,
    confirm: Interval,
    refuse: fn(&Session, Error) -> E,
}

impl<T, E> Open<T, E> {
    async fn next(&mut self) -> Option<Result<T, E>> {
        loop {
            tokio::select! {
                // A stream that always has an item ready must not starve the check.
                biased;
                _ = self.confirm.tick() => {
                    if let Err(error) = self.session.confirm().await {
                        return Some(Err((self.refuse)(&self.session, error)));
                    }
                }
                item = self.items.next() => return item,
            }
        }
    }
}
