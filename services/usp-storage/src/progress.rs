//! Progress of uploads and runs for whoever follows events. It is not kept: who comes later sees the state instead.
//!
//! Progress has a place among the kept events. That of an upload is sent once it is durable, behind what was kept by then.
//! That of a run is written with what follows from it, in one transaction, and stands before those events:
//!
//! 1. It is announced. From now on its place is fixed.
//! 2. The report is written. Followers may see its events now, and do not send them on while it is announced.
//! 3. The progress is sent, or there is none (the lease was lost, the write failed). The announcement ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{broadcast, watch};
use usp_decide::event::{of_run, of_upload};
use usp_model::{Event, EventBody, EventSeq, FileKey, Run, RunChange, Timestamp, Upload, UploadChange};

/// Progress that a slow follower may fall behind; the oldest is dropped, the next one says more.
pub(super) const PROGRESS_COUNT_MAX: usize = 1_024;

/// Where progress goes on its way to followers.
#[derive(Debug)]
pub(crate) struct ProgressChannel {
    sender: broadcast::Sender<Progress>,
    /// The newest kept event.
    kept: watch::Receiver<EventSeq>,
    /// Numbers of the announcements that have not ended.
    announced: watch::Sender<BTreeSet<u64>>,
    next_number: AtomicU64,
}

/// Progress and its place among the kept events.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// The kept event that it stands behind.
    pub(super) after: EventSeq,
    pub(super) event: Event,
}

impl ProgressChannel {
    pub(crate) fn new(kept: watch::Receiver<EventSeq>) -> Self {
        Self {
            sender: broadcast::channel(PROGRESS_COUNT_MAX).0,
            kept,
            announced: watch::Sender::new(BTreeSet::new()),
            next_number: AtomicU64::new(0),
        }
    }

    /// Shows how far an upload is. Nothing of a part, which is not shown by itself.
    pub(crate) fn send_upload(&self, upload: &Upload, at: Timestamp) {
        let Some(body) = of_upload(upload, UploadChange::Progress) else { return };
        let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
        let event = Event { seq: 0, at, bucket, file_id: upload.file_id, key, body };
        self.send(Progress { after: *self.kept.borrow(), event });
    }

    /// Fixes the place of progress whose report is about to be written. `None` while nobody follows.
    pub(crate) fn announce(&self) -> Option<Announcement<'_>> {
        if self.sender.receiver_count() == 0 {
            return None;
        }
        let number = self.next_number.fetch_add(1, Ordering::SeqCst);
        self.announced.send_modify(|announced| {
            announced.insert(number);
        });
        Some(Announcement { channel: self, number, after: *self.kept.borrow() })
    }

    /// Completes when every announcement that was made before this call has ended.
    pub(super) async fn settled(&self) {
        let next = self.next_number.load(Ordering::SeqCst);
        let mut announced = self.announced.subscribe();
        let is_settled = |announced: &BTreeSet<u64>| announced.first().is_none_or(|&number| number >= next);
        // The sender lives as long as this.
        let _settled = announced.wait_for(is_settled).await;
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Progress> {
        self.sender.subscribe()
    }

    fn send(&self, progress: Progress) {
        // An error says that nobody follows.
        let _unseen = self.sender.send(progress);
    }
}

/// Progress that will be sent, or not. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Announcement<'c> {
    channel: &'c ProgressChannel,
    number: u64,
    after: EventSeq,
}

impl Announcement<'_> {
    /// Shows where a run stands.
    pub(crate) fn send_run(self, run: &Run, key: FileKey, at: Timestamp) {
        let body: EventBody = of_run(run, RunChange::Progress(run.steps.clone()), None);
        let event = Event { seq: 0, at, bucket: run.bucket.clone(), file_id: run.file_id, key, body };
        self.channel.send(Progress { after: self.after, event });
    }
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        self.channel.announced.send_modify(|announced| {
            announced.remove(&self.number);
        });
    }
}
