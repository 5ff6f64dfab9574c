//! What workers say of their runs.

use usp_api::Caller;
use usp_auth::{Permission, authorize};
use usp_catalog::records::ReportRun;
use usp_model::{Act, Error, ErrorKind, ReportOutcome, Result, RunId, RunReport, StepState};
use usp_rt::jitter;

use super::Runs;
use crate::core::ms;
use crate::events::Announcement;

impl Runs {
    /// Writes what a worker says, all of it in one transaction. Its progress is shown before the events that follow from it.
    pub(crate) async fn report_run(
        &self,
        caller: &Caller,
        act: Act,
        report: RunReport,
    ) -> Result<ReportOutcome> {
        authorize(&caller.principal, Permission::WorkLease, None)?;
        let lease_until = act.at.plus_ms(ms(self.core.config.lease_time));
        // Counts also when the caller goes away meanwhile.
        let _ending = report.outcome.is_some().then(|| self.offers.ending());
        self.core.metrics.reported(report.outcome.as_ref());
        let id = report.run;
        let moves_steps = report.steps.iter().any(|step| step.state != StepState::Pending);
        let announcement = if moves_steps { self.progress.announce() } else { None };
        let outcome = self.facts.report_run(act, ReportRun { report, lease_until, jitter: jitter() }).await?;
        match (outcome, announcement) {
            (ReportOutcome::Lost, _) => self.core.metrics.lease_lost(),
            (ReportOutcome::Held { run_cancelled: false }, Some(announcement)) => {
                self.show_progress(id, announcement).await;
            }
            (ReportOutcome::Held { .. }, _) => {}
        }
        Ok(outcome)
    }

    /// The report is written by now: what fails here is no business of the worker.
    async fn show_progress(&self, id: RunId, announcement: Announcement<'_>) {
        let shown = async {
            let run = self.facts.run(&id).await?;
            let key = self.files.key_of(run.file_id, run.version).await?;
            announcement.send_run(&run, key, self.core.now());
            Ok::<_, Error>(())
        };
        if let Err(error) = shown.await {
            tracing::debug!(run.id = %id, error = %error.chain(), "progress was not shown");
        }
    }
}
