//! The one connection that writes, on a thread of its own.
//!
//! What a failure leaves of a step stands in brackets. "Refused" means that nothing was written and that callers hear so;
//! "open" that a write may be there or come to be there, and that callers hear `OutcomeUnknown`.
//!
//! 1. A job is handed over. [The writer is closing: refused.]
//! 2. The thread takes every job that waits, up to a bound, and begins one transaction. [All of them are refused.]
//! 3. Each job runs in a savepoint. A job that ends with an error takes back its own changes and no others. For that SQLite
//!    keeps every page as it was in memory, so a job that may change many has a transaction to itself and no savepoint.
//!    [The disk is full, or fails: the jobs so far are refused. Pages of theirs that are in the log already have no mark of
//!    a commit behind them, so that no start finds them.]
//! 4. One COMMIT makes all of them durable (`synchronous = FULL`). While it runs, the next jobs gather: the slower the disk,
//!    the larger the groups. [Where `Fail::leaves_commit_open`, open for each job that had succeeded: the mark of the
//!    commit may be in the log, though no reader of this process sees it, and a start after a crash would find it. Else
//!    refused.]
//! 5. What is left of a transaction that was not committed is rolled back, before anyone is answered. [A fault; the answers
//!    stay what they are. The rollback cannot decide any more: pages without a mark never count, and only this connection,
//!    which does nothing more, could still set one.]
//! 6. The callers are answered. [The thread died: open for each job that was handed over, whether or not it was begun.]
//! 7. The log is checkpointed if it grew enough. [A fault, if the disk failed; nobody waits for it. What was committed stands
//!    in the log.]
//!
//! An I/O error or a damaged page is a fault: what is on the disk is unknown from then on, so the fault hook is called
//! once and every later job is refused. The next start looks at the file afresh.

mod job;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};
use usp_model::{Act, Error, ErrorKind, EventSeq, Result};

use super::FaultHook;
use super::ask::Ask;
use super::fail::{Fail, Outcome};
use super::tx::Tx;
use crate::CatalogMetrics;
use job::{Job, JobEnd, LOOK_FIRST, Refusal, TypedJob};

/// Jobs that may wait. Beyond it callers wait in line without taking memory for their work here.
const JOB_COUNT_MAX: usize = 1_024;
/// Jobs of one transaction: bounds how long the first of a group waits for the last.
const GROUP_JOB_COUNT_MAX: usize = 256;
/// 4 MiB of pages of 4 KiB that are not in the database file yet.
const CHECKPOINT_PAGE_COUNT: i64 = 1_024;
/// 64 MiB of log: time to cut the file back, which needs a moment without readers.
const TRUNCATE_PAGE_COUNT: i64 = 16_384;
/// How long that moment is waited for, with writes held up meanwhile.
const TRUNCATE_TIMEOUT: Duration = Duration::from_millis(250);

/// Hands work to the writer thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    events: watch::Receiver<EventSeq>,
}

impl Writer {
    pub(super) fn start(
        mut conn: Connection,
        last_event: EventSeq,
        fault: FaultHook,
        metrics: CatalogMetrics,
    ) -> Result<Self> {
        let logged = note_log_of(&mut conn)?;
        Self::over(conn, logged, last_event, fault, metrics)
    }

    /// `logged`: pages in the log after the last commit, as the connection notes them.
    fn over(
        conn: Connection,
        logged: Arc<AtomicI64>,
        last_event: EventSeq,
        fault: FaultHook,
        metrics: CatalogMetrics,
    ) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel(JOB_COUNT_MAX);
        let (signal, events) = watch::channel(last_event);
        let thread = Thread {
            conn,
            signal,
            fault,
            metrics,
            is_faulted: AtomicBool::new(false),
            truncate_at: TRUNCATE_PAGE_COUNT,
            logged,
            looked_at: 0,
        };
        let thread = std::thread::Builder::new()
            .name("catalog-writer".to_owned())
            .spawn(move || thread.serve(waiting))
            .map_err(|source| Error::new(ErrorKind::Internal, "start catalogue writer").caused_by(source))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), events })
    }

    /// Runs `work` in a transaction that is durable before this returns.
    ///
    /// Cancel: while the line is full nothing happened; after that the work is done and its answer goes unheard.
    pub(super) async fn write<T, F>(&self, action: &'static str, act: Act, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Outcome<T> + Send + 'static,
    {
        self.hand_over(action, act, false, work).await
    }

    /// As `write`, for work that may change any number of pages.
    pub(super) async fn write_alone<T, F>(&self, action: &'static str, act: Act, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Outcome<T> + Send + 'static,
    {
        self.hand_over(action, act, true, work).await
    }

    async fn hand_over<T, F>(&self, action: &'static str, act: Act, is_alone: bool, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Outcome<T> + Send + 'static,
    {
        let closed =
            || Error::new(ErrorKind::Unavailable, action).because("the catalogue is closing; try again");
        let unanswered = || {
            let reason = format!("the catalogue ended before it answered; {LOOK_FIRST}");
            Error::new(ErrorKind::OutcomeUnknown, action).because(reason)
        };
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(TypedJob::new(action, act, is_alone, work, reply));
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(job).await.map_err(|_closed| closed())?;
        answer.await.map_err(|_dropped| unanswered())?
    }

    pub(super) fn events(&self) -> watch::Receiver<EventSeq> {
        self.events.clone()
    }
}

impl Drop for Writer {
    /// Waits for the jobs that were taken, so that whoever opens the file next finds it at rest. The thread needs no
    /// runtime, so this cannot wait for itself.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the catalogue writer panicked");
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("last_event", &*self.events.borrow()).finish_non_exhaustive()
    }
}

/// Has SQLite say after each commit how many pages the log holds, so that nobody has to ask after each commit.
fn note_log_of(conn: &mut Connection) -> Result<Arc<AtomicI64>> {
    let logged = Arc::new(AtomicI64::new(0));
    let noted = Arc::clone(&logged);
    conn.wal_hook(Some(move |_log: &mut Wal, pages| {
        noted.store(i64::from(pages), Ordering::Relaxed);
        Ok(())
    }))
    .map_err(|source| Error::new(ErrorKind::Internal, "watch the catalogue's log").caused_by(source))?;
    Ok(logged)
}

struct Thread {
    conn: Connection,
    signal: watch::Sender<EventSeq>,
    fault: FaultHook,
    metrics: CatalogMetrics,
    is_faulted: AtomicBool,
    /// Pages of log at which the next truncation is tried.
    truncate_at: i64,
    /// Pages in the log after the last commit, as SQLite tells.
    logged: Arc<AtomicI64>,
    /// As many pages were in the log when it was last looked at.
    looked_at: i64,
}

impl Thread {
    fn serve(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut group = VecDeque::new();
        while let Some(first) = waiting.blocking_recv() {
            group.push_back(first);
            while group.len() < GROUP_JOB_COUNT_MAX
                && let Ok(job) = waiting.try_recv()
            {
                group.push_back(job);
            }
            while !group.is_empty() {
                self.commit_group(&mut group);
            }
            self.checkpoint();
        }
        if !self.has_faulted()
            && let Err(fail) = self.checkpoint_now("TRUNCATE")
            && fail.is_fault()
        {
            // Before the connection closes: it would ask the failed descriptor to sync again.
            self.report_fault(&fail.into_error("checkpoint catalogue"));
        }
    }

    /// Commits jobs from the front until the group is empty or its transaction ends early; always takes at least one.
    fn commit_group(&mut self, group: &mut VecDeque<Box<dyn Job>>) {
        let mut done = Vec::with_capacity(group.len());
        let refusal = if self.has_faulted() {
            done.extend(group.drain(..));
            Some(Refusal::faulted())
        } else {
            self.run_group(group, &mut done).err()
        };
        for job in done {
            job.answer(refusal.as_ref());
        }
    }

    fn run_group(
        &mut self,
        group: &mut VecDeque<Box<dyn Job>>,
        done: &mut Vec<Box<dyn Job>>,
    ) -> Result<(), Refusal> {
        if let Err(error) = self.conn.run("BEGIN IMMEDIATE", []) {
            done.extend(group.drain(..));
            return Err(self.refuse(error.into()));
        }
        let mut last_event = None;
        while let Some(mut job) = group.pop_front_if(|job| !job.is_alone() || done.is_empty()) {
            let is_alone = job.is_alone();
            let end = match is_alone {
                true => self.run_alone(job.as_mut(), &mut last_event),
                false => self.run_job(job.as_mut(), &mut last_event),
            };
            done.push(job);
            if let Err(fail) = end {
                return Err(self.refuse(fail));
            }
            if is_alone {
                break;
            }
        }
        if usp_rt::is_planted("answer-before-commit") {
            done.drain(..).for_each(|job| job.answer(None));
        }
        let begun = Instant::now();
        self.commit()?;
        self.metrics.committed(begun.elapsed(), done.len());
        if let Some(seq) = last_event {
            self.signal.send_if_modified(|last| {
                let has_risen = seq > *last;
                *last = (*last).max(seq);
                has_risen
            });
        }
        Ok(())
    }

    fn commit(&self) -> Result<(), Refusal> {
        let mut commit = self.conn.prepare_cached("COMMIT").map_err(|error| self.refuse(error.into()))?;
        let Err(error) = commit.execute([]) else { return Ok(()) };
        let fail = Fail::Sql(error);
        let is_open = fail.leaves_commit_open();
        let refusal = self.refuse(fail);
        Err(if is_open { Refusal::open() } else { refusal })
    }

    /// An error here is one that the whole group shares.
    fn run_job(&self, job: &mut dyn Job, last_event: &mut Option<EventSeq>) -> Outcome<()> {
        self.conn.run("SAVEPOINT job", [])?;
        match job.run(&self.conn) {
            JobEnd::Keep(wrote) => {
                *last_event = wrote.or(*last_event);
                self.conn.run("RELEASE job", [])?;
            }
            JobEnd::RollBack if self.conn.is_autocommit() => {
                // SQLite took back the whole transaction (disk full, out of memory): the savepoints went with it.
                return Err(Fail::Answer(
                    Error::new(ErrorKind::StorageFull, "write catalogue")
                        .because("the transaction was taken back, most likely for want of space; try again"),
                ));
            }
            JobEnd::RollBack => {
                self.conn.run("ROLLBACK TO job", [])?;
                self.conn.run("RELEASE job", [])?;
            }
            JobEnd::Fault(error) => {
                self.report_fault(&error);
                return Err(Fail::Answer(error));
            }
        }
        Ok(())
    }

    fn run_alone(&self, job: &mut dyn Job, last_event: &mut Option<EventSeq>) -> Outcome<()> {
        match job.run(&self.conn) {
            JobEnd::Keep(wrote) => *last_event = wrote,
            // What is committed then is nothing.
            JobEnd::RollBack => {
                if !self.conn.is_autocommit() {
                    self.conn.run("ROLLBACK", [])?;
                }
                self.conn.run("BEGIN IMMEDIATE", [])?;
            }
            JobEnd::Fault(error) => {
                self.report_fault(&error);
                return Err(Fail::Answer(error));
            }
        }
        Ok(())
    }

    /// Ends what is left of the transaction and says why the group was refused.
    fn refuse(&self, fail: Fail) -> Refusal {
        let is_fault = fail.is_fault();
        let error = fail.into_error("commit catalogue changes");
        self.metrics.refused();
        warn!(error = %error.chain(), "catalogue transaction refused");
        if is_fault {
            self.report_fault(&error);
        }
        if !self.conn.is_autocommit()
            && let Err(again) = self.conn.run("ROLLBACK", [])
        {
            let error = Fail::Sql(again).into_error("roll back catalogue changes");
            self.report_fault(&error);
        }
        if self.has_faulted() {
            return Refusal::faulted();
        }
        Refusal { kind: error.kind(), reason: error.detail() }
    }

    fn has_faulted(&self) -> bool {
        self.is_faulted.load(Ordering::Relaxed)
    }

    fn report_fault(&self, fault: &Error) {
        if !self.is_faulted.swap(true, Ordering::Relaxed) {
            error!(error = %fault.chain(), "catalogue fault: no more writes");
            (self.fault)(fault);
        }
    }

    fn checkpoint(&mut self) {
        let logged = self.logged.load(Ordering::Relaxed);
        // Shorter than before: the log began anew.
        self.looked_at = if logged < self.looked_at { 0 } else { self.looked_at };
        if self.has_faulted() || logged - self.looked_at < CHECKPOINT_PAGE_COUNT {
            return;
        }
        self.looked_at = logged;
        if let Err(fail) = self.checkpoint_if_grown() {
            let is_fault = fail.is_fault();
            let error = fail.into_error("checkpoint catalogue");
            if is_fault {
                self.report_fault(&error);
            } else {
                warn!(error = %error.chain(), "catalogue checkpoint postponed");
            }
        }
    }

    fn checkpoint_if_grown(&mut self) -> Outcome<()> {
        // NOOP only counts: pages in the log, and how many of them are in the database file already.
        let (_, logged, moved) = self.checkpoint_now("NOOP")?;
        if logged >= self.truncate_at {
            self.conn.busy_timeout(TRUNCATE_TIMEOUT)?;
            let outcome = self.checkpoint_now("TRUNCATE");
            self.conn.busy_timeout(super::schema::BUSY_TIMEOUT)?;
            let (is_busy, ..) = outcome?;
            // With a long reader in the way the log must grow once more before writes are held up again.
            self.truncate_at = if is_busy { logged + TRUNCATE_PAGE_COUNT } else { TRUNCATE_PAGE_COUNT };
        } else if logged - moved >= CHECKPOINT_PAGE_COUNT {
            self.checkpoint_now("PASSIVE")?;
        }
        Ok(())
    }

    /// Whether it was kept from its end, pages in the log, and pages moved.
    fn checkpoint_now(&self, mode: &str) -> Outcome<(bool, i64, i64)> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let counts = self.conn.one(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(counts.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
