//! Work for the writer: what runs in a savepoint or alone, and what its caller hears in the end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;
use usp_model::{Act, Error, ErrorKind, EventSeq, Result};

use super::super::fail::{Fail, Outcome};
use super::super::tx::Tx;

/// One caller's work, waiting for the writer.
pub(super) trait Job: Send {
    /// Whether it has a transaction to itself.
    fn is_alone(&self) -> bool;
    fn run(&mut self, conn: &Connection) -> JobEnd;
    /// Tells the caller: its own outcome after a commit, or the refusal of the whole group if it had succeeded.
    fn answer(self: Box<Self>, refused: Option<&Refusal>);
}

pub(super) enum JobEnd {
    /// With the last event that was written.
    Keep(Option<EventSeq>),
    RollBack,
    Fault(Error),
}

/// What to do about an outcome that is unknown.
pub(super) const LOOK_FIRST: &str =
    "the change may have been kept or not, so look whether it is there before you send it again";

/// Why a group was not committed, or may not have been. Errors are made from it for each caller.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) kind: ErrorKind,
    pub(super) reason: String,
}

/// A closure, its outcome until the group is committed, and whom to tell.
pub(super) struct TypedJob<T, F> {
    action: &'static str,
    act: Act,
    is_alone: bool,
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> TypedJob<T, F> {
    pub(super) fn new(
        action: &'static str,
        act: Act,
        is_alone: bool,
        work: F,
        reply: oneshot::Sender<Result<T>>,
    ) -> Self {
        Self { action, act, is_alone, work: Some(work), outcome: None, reply }
    }
}

impl<T, F> Job for TypedJob<T, F>
where
    T: Send,
    F: FnOnce(&Tx<'_>) -> Outcome<T> + Send,
{
    fn is_alone(&self) -> bool {
        self.is_alone
    }

    fn run(&mut self, conn: &Connection) -> JobEnd {
        let Some(work) = self.work.take() else { return JobEnd::RollBack };
        let tx = Tx::new(conn, &self.act);
        // A panic is a bug in this job alone; its savepoint is taken back and the others go on.
        let done = catch_unwind(AssertUnwindSafe(|| work(&tx))).unwrap_or_else(|_panic| {
            Err(Fail::Answer(Error::new(ErrorKind::Internal, self.action).because("the job panicked")))
        });
        match done {
            Ok(value) => {
                self.outcome = Some(Ok(value));
                JobEnd::Keep(tx.last_event())
            }
            Err(fail) => {
                let is_fault = fail.is_fault();
                let error = fail.into_error(self.action);
                if is_fault {
                    return JobEnd::Fault(error);
                }
                self.outcome = Some(Err(error));
                JobEnd::RollBack
            }
        }
    }

    fn answer(self: Box<Self>, refused: Option<&Refusal>) {
        let refusal = refused.map(|refusal| refusal.error(self.action));
        let outcome = match (self.outcome, refusal) {
            // A job that failed by itself was not part of what the group lost.
            (Some(Err(error)), _) => Err(error),
            (_, Some(error)) => Err(error),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(Error::new(ErrorKind::Internal, self.action)),
        };
        // A caller that went away does not need the answer; the change stands all the same.
        drop(self.reply.send(outcome));
    }
}

impl Refusal {
    fn error(&self, action: &'static str) -> Error {
        Error::new(self.kind, action).because(self.reason.clone())
    }

    /// Nobody knows whether it was committed.
    pub(super) fn open() -> Self {
        let reason = format!("the commit in the catalogue failed; {LOOK_FIRST}");
        Self { kind: ErrorKind::OutcomeUnknown, reason }
    }

    /// After a fault nothing is written any more.
    pub(super) fn faulted() -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            reason: "the catalogue met a disk fault and takes no more writes until usp is started again"
                .to_owned(),
        }
    }
}
