//! Runs: made, claimed, reported on, ended.

use async_trait::async_trait;
use usp_model::{Act, FileId, LeasedRun, Result, Run, RunId, RunPage, RunQuery, Timestamp};

use crate::records::{ClaimRuns, ClaimedRuns, DueRun, NewRun, ReportRun, ReportedRun};

#[async_trait]
pub trait RunFacts: Send + Sync + 'static {
    /// Adds a run to a file's current version. Errors: `NotFound`.
    async fn create_run(&self, act: Act, file: &FileId, run: NewRun) -> Result<Run>;
    /// Errors: `NotFound`.
    async fn run(&self, id: &RunId) -> Result<Run>;
    async fn runs_of_file(&self, id: &FileId) -> Result<Vec<Run>>;
    /// Newest first; pages may be short as in `list_files`. Errors: `NotFound` (file), `InvalidInput` (cursor).
    async fn list_runs(&self, query: RunQuery) -> Result<RunPage>;
    /// Takes due runs, the highest priority first and among equals every rule and bucket in turn; for each the lease
    /// number and the attempt rise by one. A lease that is over ends first: that attempt counts, and a run without
    /// attempts left is `dead` instead of due. What was taken carries its file without reports.
    async fn claim_runs(&self, act: Act, asked: ClaimRuns) -> Result<ClaimedRuns>;
    /// Takes this run, whoever's turn it is, if it is due. `None`: ended, cancelled, not due yet, or held.
    async fn claim_run(&self, act: Act, id: &RunId, lease_until: Timestamp) -> Result<Option<LeasedRun>>;
    /// Writes what a worker says, if its lease holds; rolls the file's state up when the run ends: a required run that is
    /// dead or cancelled makes the file `failed`; else it is `processing` until all have ended, then `ready`. Runs of a
    /// superseded version change that version only. A cancelled run takes nothing more, and its worker is told.
    /// Errors: `InvalidInput` when a step is not the run's, a report is too large, or too many labels result; nothing of
    /// the whole report is written then.
    async fn report_run(&self, act: Act, report: ReportRun) -> Result<ReportedRun>;
    /// Errors: `NotFound`, `Conflict` unless dead or cancelled. The file goes back to `processing`; attempts begin anew.
    async fn retry_run(&self, act: Act, id: &RunId) -> Result<Run>;
    /// The same for many; gives how many were dead or cancelled. The others stay as they are.
    async fn retry_runs(&self, act: Act, ids: Vec<RunId>) -> Result<u64>;
    /// Errors: `NotFound`, `Conflict` once ended.
    async fn cancel_run(&self, act: Act, id: &RunId) -> Result<Run>;
    /// Runs that are due by `until`, some of each rule and bucket, and those whose lease is over by then; the sweeper
    /// offers them to the queue again.
    async fn due_runs(&self, until: Timestamp, limit: u32) -> Result<Vec<DueRun>>;
    /// Makes runs due that a clock which was ahead put off: queued ones, and what waits longer than any run has to.
    /// Gives their number.
    async fn pull_up_runs(&self, act: Act) -> Result<u64>;
}
