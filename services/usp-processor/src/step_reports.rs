//! What storage does not know yet about the steps of a run.

use std::collections::BTreeMap;

use tokio::time::Instant;
use usp_model::{Error, LabelKey, LeasedRun, Result, RunOutcome, StepReport, StepState};
use usp_steps::{StepError, StepOutput};

pub(crate) struct StepReports(BTreeMap<String, StepEntry>);

struct StepEntry {
    report: StepReport,
    began: Option<Instant>,
    ended: Option<Instant>,
}

impl StepReports {
    pub(crate) fn new(leased: &LeasedRun) -> Self {
        // A step that failed in an earlier attempt waits again.
        let again = leased.run.steps.iter().filter(|step| step.state != StepState::Succeeded);
        let waiting =
            |name: &str| StepEntry { report: blank(name, StepState::Pending), began: None, ended: None };
        Self(again.map(|step| (step.name.clone(), waiting(&step.name))).collect())
    }

    pub(crate) fn began(&mut self, name: &str) {
        let step =
            StepEntry { report: blank(name, StepState::Running), began: Some(Instant::now()), ended: None };
        self.0.insert(name.to_owned(), step);
    }

    /// The step has not begun after all.
    pub(crate) fn waits(&mut self, name: &str) {
        let step = StepEntry { report: blank(name, StepState::Pending), began: None, ended: None };
        self.0.insert(name.to_owned(), step);
    }

    pub(crate) fn percent(&mut self, name: &str, percent: u8) {
        if let Some(step) = self.0.get_mut(name) {
            step.report.percent = percent;
        }
    }

    fn ended(&mut self, report: StepReport) {
        let began = self.0.get(&report.name).and_then(|step| step.began);
        self.0.insert(report.name.clone(), StepEntry { report, began, ended: Some(Instant::now()) });
    }

    pub(crate) fn succeeded(&mut self, name: &str, output: StepOutput) {
        self.ended(StepReport {
            percent: 100,
            report: output.report,
            labels: checked(output.labels),
            metadata: checked(output.metadata),
            ..blank(name, StepState::Succeeded)
        });
    }

    /// The step and what follows from its failure. Later steps are skipped for good if it is permanent.
    pub(crate) fn failed(&mut self, name: &str, error: StepError) -> RunOutcome {
        let reason = format!("step '{name}': {error}");
        let is_permanent = matches!(error, StepError::Permanent(_) | StepError::Invalid { .. });
        let report = match error {
            StepError::Invalid { report, .. } => Some(report),
            StepError::Permanent(_) | StepError::Temporary(_) | StepError::Cancelled => None,
        };
        self.ended(StepReport { report, error: Some(reason.clone()), ..blank(name, StepState::Failed) });
        if is_permanent {
            for step in self.0.values_mut().filter(|step| step.report.state == StepState::Pending) {
                step.report.state = StepState::Skipped;
            }
        }
        RunOutcome::Failed { reason, is_permanent }
    }

    pub(crate) fn steps(&self) -> Vec<StepReport> {
        let ms_since = |at: Instant| u32::try_from(at.elapsed().as_millis()).unwrap_or(u32::MAX);
        let told = self.0.values().map(|step| StepReport {
            began_ms_ago: step.began.map(ms_since),
            ended_ms_ago: step.ended.map(ms_since),
            ..step.report.clone()
        });
        told.collect()
    }

    /// What ended was told and need not be told again.
    pub(crate) fn forget_ended(&mut self) {
        self.0.retain(|_, step| matches!(step.report.state, StepState::Running | StepState::Pending));
    }
}

fn blank(name: &str, state: StepState) -> StepReport {
    StepReport {
        name: name.to_owned(),
        state,
        percent: 0,
        error: None,
        began_ms_ago: None,
        ended_ms_ago: None,
        report: None,
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
    }
}

/// Labels and metadata that usp can keep; a step that makes others has them left out.
fn checked(map: BTreeMap<String, String>) -> BTreeMap<LabelKey, String> {
    let key = |name: &str| -> Result<LabelKey, Error> { LabelKey::parse(name) };
    map.into_iter().filter_map(|(name, value)| key(&name).ok().map(|key| (key, value))).collect()
}
