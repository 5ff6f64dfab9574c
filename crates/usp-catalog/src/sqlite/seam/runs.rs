use async_trait::async_trait;
use usp_model::{Act, FileId, LeasedRun, Result, Run, RunId, RunPage, RunQuery, Timestamp};

use crate::RunFacts;
use crate::records::{ClaimRuns, ClaimedRuns, DueRun, NewRun, ReportRun, ReportedRun};
use crate::sqlite::{SqliteCatalog, claim, report, run_list, run_row, runs};

#[async_trait]
impl RunFacts for SqliteCatalog {
    async fn create_run(&self, act: Act, file: &FileId, run: NewRun) -> Result<Run> {
        let file = *file;
        self.writer.write("create run", act, move |tx| runs::create(tx, &file, &run, tx.at())).await
    }

    async fn run(&self, id: &RunId) -> Result<Run> {
        let id = *id;
        self.readers.read("find run", move |conn| Ok(run_row::get(conn, &id)?.record.run)).await
    }

    async fn runs_of_file(&self, id: &FileId) -> Result<Vec<Run>> {
        let id = *id;
        self.readers.read("list runs", move |conn| runs::of_file(conn, &id)).await
    }

    async fn list_runs(&self, query: RunQuery) -> Result<RunPage> {
        self.readers.read("list runs", move |conn| run_list::list(conn, &query)).await
    }

    async fn claim_runs(&self, act: Act, asked: ClaimRuns) -> Result<ClaimedRuns> {
        self.writer.write("claim runs", act, move |tx| claim::claim(tx, &asked)).await
    }

    async fn claim_run(&self, act: Act, id: &RunId, lease_until: Timestamp) -> Result<Option<LeasedRun>> {
        let id = *id;
        self.writer.write("claim run", act, move |tx| claim::claim_one(tx, &id, tx.at(), lease_until)).await
    }

    async fn report_run(&self, act: Act, report: ReportRun) -> Result<ReportedRun> {
        self.writer.write("report run", act, move |tx| report::report_run(tx, report)).await
    }

    async fn retry_run(&self, act: Act, id: &RunId) -> Result<Run> {
        let id = *id;
        self.writer.write("retry run", act, move |tx| runs::retry(tx, &id, tx.at())).await
    }

    async fn retry_runs(&self, act: Act, ids: Vec<RunId>) -> Result<u64> {
        self.writer.write("retry runs", act, move |tx| runs::retry_many(tx, &ids, tx.at())).await
    }

    async fn cancel_run(&self, act: Act, id: &RunId) -> Result<Run> {
        let id = *id;
        self.writer.write("cancel run", act, move |tx| runs::cancel(tx, &id, tx.at())).await
    }

    async fn due_runs(&self, until: Timestamp, limit: u32) -> Result<Vec<DueRun>> {
        self.readers.read("list due runs", move |conn| claim::due(conn, until, limit)).await
    }

    async fn pull_up_runs(&self, act: Act) -> Result<u64> {
        self.writer.write("pull up runs", act, move |tx| runs::pull_up(tx, tx.at())).await
    }
}
