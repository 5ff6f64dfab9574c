//! A storage with faults between it and the processor.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;
use usp_api::{
    AppendUpload, ByteStream, Caller, EventStream, NewFile, PutOutcome, ReadFile, Readiness, Reading,
    StorageApi, TokenGrant, TokenPair,
};
use usp_model::{Error, ErrorKind, EventQuery, Principal, Result, RunReport, Upload};
use usp_storage::Storage;

use super::Point;
use super::doom::Doom;

/// Hands everything on, except for what a test wants to go wrong.
#[derive(Debug)]
pub(crate) struct Tampered {
    pub(crate) inner: Storage,
    /// Reads still to end in an error before their last byte.
    broken_reads: AtomicU32,
    /// Reads still to be refused before their first byte.
    refused_reads: AtomicU32,
    /// While held, no content comes to its end.
    held: watch::Sender<bool>,
    /// While held, no content is opened.
    doors_held: watch::Sender<bool>,
    /// Contents that are being opened.
    opening_reads: Arc<AtomicU32>,
    /// Contents that are open.
    open_reads: Arc<AtomicU32>,
    /// While away, nothing is leased, kept or reported.
    is_away: AtomicBool,
    /// Reports of a step that goes on have no answer any more.
    keeps_go_unanswered: AtomicBool,
    /// Those that had none.
    keeps_unanswered: AtomicU32,
    /// What the next reports of an end are answered with.
    refused_reports: Mutex<VecDeque<ErrorKind>>,
    ends_refused: AtomicU32,
    pub(crate) doom: Arc<Doom>,
    /// Contents opened since the doom was armed.
    opened_count: AtomicU32,
}

impl Tampered {
    pub(crate) fn new(inner: Storage) -> Self {
        Self {
            inner,
            broken_reads: AtomicU32::new(0),
            refused_reads: AtomicU32::new(0),
            held: watch::Sender::new(false),
            doors_held: watch::Sender::new(false),
            opening_reads: Arc::default(),
            open_reads: Arc::default(),
            is_away: AtomicBool::new(false),
            keeps_go_unanswered: AtomicBool::new(false),
            keeps_unanswered: AtomicU32::new(0),
            refused_reports: Mutex::default(),
            ends_refused: AtomicU32::new(0),
            doom: Arc::new(Doom::new()),
            opened_count: AtomicU32::new(0),
        }
    }

    /// The next processor that comes to `point` is gone.
    pub(crate) fn doom_at(&self, point: Point) {
        self.opened_count.store(0, Ordering::SeqCst);
        self.doom.arm(point);
    }

    pub(super) async fn pass(&self, point: Point) {
        self.doom.pass(point).await;
    }

    pub(crate) fn break_reads(&self, count: u32) {
        self.broken_reads.store(count, Ordering::SeqCst);
    }

    pub(crate) fn refuse_reads(&self, count: u32) {
        self.refused_reads.store(count, Ordering::SeqCst);
    }

    pub(crate) fn hold_contents(&self, hold: bool) {
        self.held.send_replace(hold);
    }

    pub(crate) fn hold_doors(&self, hold: bool) {
        self.doors_held.send_replace(hold);
    }

    pub(crate) fn opening_reads(&self) -> u32 {
        self.opening_reads.load(Ordering::SeqCst)
    }

    pub(crate) fn open_reads(&self) -> u32 {
        self.open_reads.load(Ordering::SeqCst)
    }

    pub(crate) fn go_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    pub(crate) fn leave_keeps_unanswered(&self) {
        self.keeps_go_unanswered.store(true, Ordering::SeqCst);
    }

    pub(crate) fn keeps_unanswered(&self) -> u32 {
        self.keeps_unanswered.load(Ordering::SeqCst)
    }

    /// Never comes back from a report that goes unanswered.
    pub(super) async fn answer(&self, report: &RunReport) {
        if report.outcome.is_none() && self.keeps_go_unanswered.load(Ordering::SeqCst) {
            self.keeps_unanswered.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    }

    pub(crate) fn refuse_next_end(&self, kind: ErrorKind) {
        self.refused_reports.lock().push_back(kind);
    }

    /// Reports of an end that did not get through.
    pub(crate) fn ends_refused(&self) -> u32 {
        self.ends_refused.load(Ordering::SeqCst)
    }

    pub(super) fn check_away(&self) -> Result<()> {
        if self.is_away.load(Ordering::SeqCst) { Err(fault(ErrorKind::Unavailable)) } else { Ok(()) }
    }

    pub(super) fn before_report(&self, report: &RunReport) -> Result<()> {
        let refused = self.check_away().and_then(|()| match &report.outcome {
            Some(_) => self.refused_reports.lock().pop_front().map_or(Ok(()), |kind| Err(fault(kind))),
            None => Ok(()),
        });
        if refused.is_err() && report.outcome.is_some() {
            self.ends_refused.fetch_add(1, Ordering::SeqCst);
        }
        refused
    }

    /// Lets the content pass up to its last piece, which waits while contents are held and may never come.
    fn tamper(&self, content: ByteStream) -> ByteStream {
        let breaks = take_one(&self.broken_reads);
        let held = self.held.subscribe();
        let open = Counted::new(&self.open_reads);
        let end = stream::once(async move {
            let _open = open;
            wait_while(held).await;
            breaks.then(|| Err(fault(ErrorKind::Unavailable)))
        });
        content.chain(end.filter_map(|end| async { end })).boxed()
    }
}

impl Tampered {
    /// A processor may be gone behind the first piece of the content, or behind the last.
    fn doomed(&self, content: ByteStream, is_first: bool) -> ByteStream {
        let (doom, at_end) = (Arc::clone(&self.doom), Arc::clone(&self.doom));
        let last = if is_first { Point::AfterLastPiece } else { Point::AfterLastPieceOfSecondStep };
        let mut is_fresh = is_first;
        let passed = content.then(move |piece| {
            let doom = std::mem::take(&mut is_fresh).then(|| Arc::clone(&doom));
            async move {
                if let Some(doom) = doom {
                    doom.pass(Point::AfterFirstPiece).await;
                }
                piece
            }
        });
        let end = stream::once(async move {
            at_end.pass(last).await;
            None
        });
        passed.chain(end.filter_map(|end| async move { end })).boxed()
    }
}

fn fault(kind: ErrorKind) -> Error {
    Error::new(kind, "pass the tampered storage").because("a fault was put here by the test")
}

async fn wait_while(mut held: watch::Receiver<bool>) {
    // The sender lives as long as the storage: without it the test is over.
    let _released = held.wait_for(|held| !held).await;
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// Counts itself while it lives.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl StorageApi for Tampered {
    async fn authenticate(&self, credential: usp_auth::Credential) -> Result<Principal> {
        self.inner.authenticate(credential).await
    }

    async fn issue_token(&self, grant: TokenGrant) -> Result<TokenPair> {
        self.inner.issue_token(grant).await
    }

    async fn readiness(&self) -> Result<Readiness> {
        self.inner.readiness().await
    }

    async fn put(&self, caller: &Caller, file: NewFile, content: ByteStream) -> Result<PutOutcome> {
        self.inner.put(caller, file, content).await
    }

    async fn append(&self, caller: &Caller, append: AppendUpload, content: ByteStream) -> Result<Upload> {
        self.inner.append(caller, append, content).await
    }

    async fn read(&self, caller: &Caller, read: ReadFile) -> Result<Reading> {
        let is_first = self.opened_count.fetch_add(1, Ordering::SeqCst) == 0;
        self.pass(if is_first { Point::BeforeOpen } else { Point::BeforeOpenOfSecondStep }).await;
        let opening = Counted::new(&self.opening_reads);
        wait_while(self.doors_held.subscribe()).await;
        if take_one(&self.refused_reads) {
            return Err(fault(ErrorKind::Unavailable));
        }
        let reading = self.inner.read(caller, read).await?;
        drop(opening);
        self.pass(Point::AfterOpen).await;
        let content = self.doomed(self.tamper(reading.content), is_first);
        Ok(Reading { content, ..reading })
    }

    async fn watch(&self, caller: &Caller, query: EventQuery) -> Result<EventStream> {
        self.inner.watch(caller, query).await
    }
}
