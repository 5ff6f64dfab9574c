//! What workers say of their runs.

use usp_api::Caller;
use usp_auth::{Permission, authorize};
use usp_catalog::records::{ReportRun, ReportedRun, RunProgress};
use usp_model::{Act, ReportOutcome, Result, RunReport, StepState};
use usp_rt::jitter;

use super::Runs;
use crate::core::ms;

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
        let moves_steps = report.steps.iter().any(|step| step.state != StepState::Pending);
        let announcement = if moves_steps { self.progress.announce() } else { None };
        let is_watched = announcement.is_some();
        let asked = ReportRun { report, lease_until, jitter: jitter(), is_watched };
        let ReportedRun { outcome, progress } = self.facts.report_run(act, asked).await?;
        if let Some((announcement, RunProgress { run, key })) = announcement.zip(progress) {
            announcement.send_run(&run, key, self.core.now());
        }
        if outcome == ReportOutcome::Lost {
            self.core.metrics.lease_lost();
        }
        Ok(outcome)
    }
}
