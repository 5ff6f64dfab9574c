//! One follower: the kept events in their order, and progress in its place between them.

use std::collections::{HashSet, VecDeque};

use tokio::sync::{broadcast, mpsc};
use usp_api::Caller;
use usp_model::{BucketName, Event, EventKind, EventQuery, EventSeq, FileId, Result};

use super::Events;
use crate::progress::{PROGRESS_COUNT_MAX, Progress};

/// Events read from the catalogue at once.
pub(super) const PAGE_COUNT: u32 = 500;

/// Which progress a follower may and wants to see; kept events are filtered by the catalogue.
struct Filter {
    bucket: Option<BucketName>,
    file: Option<FileId>,
    visible: Option<HashSet<BucketName>>,
    kinds: Vec<EventKind>,
}

impl Filter {
    fn new(query: &EventQuery) -> Self {
        Self {
            bucket: query.bucket.clone(),
            file: query.file,
            visible: query.buckets.clone().map(|buckets| buckets.into_iter().collect()),
            kinds: query.kinds.clone(),
        }
    }

    fn takes(&self, event: &Event) -> bool {
        self.visible.as_ref().is_none_or(|visible| visible.contains(&event.bucket))
            && self.bucket.as_ref().is_none_or(|bucket| *bucket == event.bucket)
            && self.file.is_none_or(|file| file == event.file_id)
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind()))
    }
}

/// See the module.
pub(super) struct Follower {
    events: Events,
    caller: Caller,
    progress: broadcast::Receiver<Progress>,
    /// Progress whose place was not reached yet, in the order of places; never more than the channel holds.
    waiting: VecDeque<Progress>,
    filter: Filter,
    query: EventQuery,
    sender: mpsc::Sender<Result<Event>>,
}

/// Why a follower stops: nobody listens any more, or the catalogue failed.
struct Ended;

impl Follower {
    pub(super) fn new(
        events: Events,
        caller: Caller,
        query: EventQuery,
        sender: mpsc::Sender<Result<Event>>,
    ) -> Self {
        let (progress, filter) = (events.progress.subscribe(), Filter::new(&query));
        Self { events, caller, progress, waiting: VecDeque::new(), filter, query, sender }
    }

    /// Follows until nobody listens or the catalogue fails.
    pub(super) async fn run(mut self) {
        let mut signal = self.events.facts.event_signal();
        loop {
            // Marked as seen before the look, so that what is committed meanwhile wakes us again.
            let newest = *signal.borrow_and_update();
            self.take_progress();
            if self.send_in_order(newest).await.is_err() {
                return;
            }
            tokio::select! {
                changed = signal.changed() => if changed.is_err() { return },
                progress = self.progress.recv() => match progress {
                    Ok(progress) => self.keep(progress),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = self.sender.closed() => return,
            }
        }
    }

    /// Takes what was sent since the last look.
    fn take_progress(&mut self) {
        for _ in 0..PROGRESS_COUNT_MAX {
            match self.progress.try_recv() {
                Ok(progress) => self.keep(progress),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => break,
            }
        }
    }

    /// Keeps progress until its place is reached. It may have been announced long before it was sent.
    fn keep(&mut self, progress: Progress) {
        let place = self.waiting.partition_point(|waiting| waiting.after <= progress.after);
        self.waiting.insert(place, progress);
        if self.waiting.len() > PROGRESS_COUNT_MAX {
            self.waiting.pop_front();
        }
    }

    /// Sends every kept event there is, with the progress between them in its place. `newest` was kept before the look:
    /// whatever does not match up to it is not looked at again.
    async fn send_in_order(&mut self, newest: EventSeq) -> Result<(), Ended> {
        loop {
            let page = match self.events.facts.events(self.query.clone()).await {
                Ok(page) => page,
                Err(error) => {
                    let _unheard = self.sender.send(Err(error)).await;
                    return Err(Ended);
                }
            };
            if !page.is_empty() {
                // What was announced before these events were written stands before them.
                self.events.progress.settled().await;
                self.take_progress();
            }
            let is_last = page.len() < PAGE_COUNT as usize;
            for event in page {
                self.send_progress_before(event.seq).await?;
                self.query.after = event.seq;
                self.send(event).await?;
            }
            if is_last {
                self.query.after = self.query.after.max(newest);
                return self.send_progress_before(self.query.after.saturating_add(1)).await;
            }
        }
    }

    async fn send_progress_before(&mut self, seq: EventSeq) -> Result<(), Ended> {
        while let Some(progress) = self.waiting.pop_front_if(|progress| progress.after < seq) {
            if self.filter.takes(&progress.event) {
                self.send(progress.event).await?;
            }
        }
        Ok(())
    }

    /// Sends what the caller may know of. Where that cannot be decided the stream ends: to go on would skip the event.
    async fn send(&self, event: Event) -> Result<(), Ended> {
        match self.events.shows(&self.caller, &event).await {
            Ok(true) => self.sender.send(Ok(event)).await.map_err(|_closed| Ended),
            Ok(false) => Ok(()),
            Err(error) => {
                let _unheard = self.sender.send(Err(error)).await;
                Err(Ended)
            }
        }
    }
}
