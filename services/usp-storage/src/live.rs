//! Events as they happen: the kept ones from the catalogue, progress straight from where it is made.

use std::collections::{HashSet, VecDeque};

use futures::stream;
use tokio::sync::{broadcast, mpsc, watch};
use usp_api::{Caller, EventStream};
use usp_auth::Permission;
use usp_decide::event::{of_run, of_upload};
use usp_model::{
    BucketName, Error, ErrorKind, Event, EventKind, EventQuery, EventSeq, FileId, FileKey, FileRef, Result,
    Run, RunChange, Timestamp, Upload, UploadChange,
};

use crate::access::absent_file;
use crate::storage::Storage;

/// Progress that a slow watcher may fall behind; the oldest is dropped, the next one says more.
const PROGRESS_COUNT_MAX: usize = 1_024;
/// Events on their way to one watcher.
const BUFFER_COUNT_MAX: usize = 64;
/// Events read from the catalogue at once.
const PAGE_COUNT: u32 = 500;

/// Progress for whoever watches. Not kept: a watcher that comes later sees the state instead.
#[derive(Debug)]
pub(crate) struct Live {
    progress: broadcast::Sender<Progress>,
    kept: watch::Receiver<EventSeq>,
}

/// Progress and its place among the kept events.
#[derive(Debug, Clone)]
struct Progress {
    /// The newest kept event when this was told.
    after: EventSeq,
    event: Event,
}

impl Live {
    pub(crate) fn new(kept: watch::Receiver<EventSeq>) -> Self {
        Self { progress: broadcast::channel(PROGRESS_COUNT_MAX).0, kept }
    }

    pub(crate) fn has_watchers(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    pub(crate) fn run_progress(&self, run: &Run, key: FileKey, at: Timestamp) {
        let body = of_run(run, RunChange::Progress(run.steps.clone()), None);
        self.send(Event { seq: 0, at, bucket: run.bucket.clone(), file_id: run.file_id, key, body });
    }

    pub(crate) fn upload_progress(&self, upload: &Upload, at: Timestamp) {
        let Some(body) = of_upload(upload, UploadChange::Progress) else { return };
        let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
        self.send(Event { seq: 0, at, bucket, file_id: upload.file_id, key, body });
    }

    fn send(&self, event: Event) {
        // An error says that nobody watches.
        let _unseen = self.progress.send(Progress { after: *self.kept.borrow(), event });
    }
}

impl Storage {
    /// Kept events after `query.after`, then whatever comes, until the stream is dropped or the catalogue fails.
    pub(crate) async fn follow(&self, caller: &Caller, mut query: EventQuery) -> Result<EventStream> {
        if let Some(bucket) = &query.bucket {
            self.bucket_for(caller, Permission::EventRead, bucket).await?;
        }
        if let Some(id) = query.file {
            query.file = Some(self.file_to_follow(caller, id).await?);
        }
        query.buckets = Self::scope(caller, Permission::EventRead);
        query.limit = PAGE_COUNT;
        let (sender, receiver) = mpsc::channel(BUFFER_COUNT_MAX);
        let follower = Follower {
            storage: self.clone(),
            caller: caller.clone(),
            progress: self.live.progress.subscribe(),
            filter: Filter::new(&query),
            query,
            sender,
        };
        tokio::spawn(follower.run());
        Ok(Box::pin(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|event| (event, receiver))
        })))
    }

    /// A file may be watched from its first byte on, by its preliminary id. Once that led to a file, it stands for it.
    async fn file_to_follow(&self, caller: &Caller, id: FileId) -> Result<FileId> {
        let found = match self.file_for(caller, Permission::EventRead, &FileRef::Id(id), None).await {
            Ok(record) => return Ok(record.file.id),
            Err(error) if error.kind() == ErrorKind::NotFound => self.catalog.upload_of_file(&id).await,
            Err(error) => return Err(error),
        };
        let gone = || absent_file(&FileRef::Id(id));
        let upload =
            found.map_err(|error: Error| if error.kind() == ErrorKind::NotFound { gone() } else { error })?;
        self.bucket_for(caller, Permission::EventRead, &upload.bucket).await.map_err(|_| gone())?;
        Ok(id)
    }
}

/// Which progress a watcher may and wants to see; kept events are filtered by the catalogue.
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

struct Follower {
    storage: Storage,
    caller: Caller,
    progress: broadcast::Receiver<Progress>,
    filter: Filter,
    query: EventQuery,
    sender: mpsc::Sender<Result<Event>>,
}

/// Why a follower stops: nobody listens any more, or the catalogue failed.
struct Ended;

impl Follower {
    async fn run(mut self) {
        let mut signal = self.storage.catalog.event_signal();
        loop {
            // Marked as seen before the look, so that what is committed meanwhile wakes us again.
            let newest = *signal.borrow_and_update();
            let mut told = self.waiting_progress();
            if self.send_in_order(newest, &mut told).await.is_err() {
                return;
            }
            tokio::select! {
                changed = signal.changed() => if changed.is_err() { return },
                progress = self.progress.recv() => match progress {
                    Ok(progress) => {
                        let mut told = VecDeque::from([progress]);
                        told.append(&mut self.waiting_progress());
                        if self.send_in_order(newest, &mut told).await.is_err() {
                            return;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = self.sender.closed() => return,
            }
        }
    }

    /// What was told since the last look; never more than the channel holds.
    fn waiting_progress(&mut self) -> VecDeque<Progress> {
        let mut waiting = VecDeque::new();
        while waiting.len() < PROGRESS_COUNT_MAX {
            match self.progress.try_recv() {
                Ok(progress) => waiting.push_back(progress),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => break,
            }
        }
        waiting
    }

    /// Sends every kept event there is, with the progress that was told between them in its place. `newest` was kept before
    /// the look: whatever does not match up to it is not looked at again.
    async fn send_in_order(&mut self, newest: EventSeq, told: &mut VecDeque<Progress>) -> Result<(), Ended> {
        loop {
            let page = match self.storage.catalog.events(self.query.clone()).await {
                Ok(page) => page,
                Err(error) => {
                    let _unheard = self.sender.send(Err(error)).await;
                    return Err(Ended);
                }
            };
            let is_last = page.len() < PAGE_COUNT as usize;
            for event in page {
                while let Some(progress) = told.pop_front_if(|progress| progress.after < event.seq) {
                    self.send_progress(progress).await?;
                }
                self.query.after = event.seq;
                self.send(event).await?;
            }
            if is_last {
                self.query.after = self.query.after.max(newest);
                break;
            }
        }
        // All of it was told before the last look at the kept events.
        while let Some(progress) = told.pop_front() {
            self.send_progress(progress).await?;
        }
        Ok(())
    }

    async fn send_progress(&self, progress: Progress) -> Result<(), Ended> {
        if self.filter.takes(&progress.event) { self.send(progress.event).await } else { Ok(()) }
    }

    /// Sends what the caller may know of. Where that cannot be decided the stream ends: to go on would skip the event.
    async fn send(&self, event: Event) -> Result<(), Ended> {
        match self.storage.shows_event(&self.caller, &event).await {
            Ok(true) => self.sender.send(Ok(event)).await.map_err(|_closed| Ended),
            Ok(false) => Ok(()),
            Err(error) => {
                let _unheard = self.sender.send(Err(error)).await;
                Err(Ended)
            }
        }
    }
}
