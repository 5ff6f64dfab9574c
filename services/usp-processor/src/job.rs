//! One run under one lease. The steps of it are numbered in lib.rs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};
use usp_api::{Caller, ReadFile, StorageApi};
use usp_model::{
    Error, ErrorKind, FileRef, LabelKey, LeasedRun, ReportOutcome, Result, RuleStep, RunOutcome, RunReport,
    StepReport, StepState,
};
use usp_rt::{Pool, Shutdown, jittered};
use usp_steps::{FileFacts, StepError, StepOutput};

use crate::feed::{Feed, Gauge};

/// What it takes to work on a run.
pub(crate) struct Job {
    pub(crate) storage: Arc<dyn StorageApi>,
    pub(crate) caller: Caller,
    pub(crate) heartbeat: Duration,
    pub(crate) steps: Pool,
    /// Running steps are to be handed back now.
    pub(crate) hand_back: Shutdown,
}

/// Why the work on a run ended.
enum End {
    Outcome(RunOutcome),
    /// Another worker holds the run, or it was cancelled: nothing is ours to write.
    LetGo,
}

/// How a step came to its end.
enum Ended {
    Output(Box<StepOutput>),
    Failed(StepError),
    HandedBack,
    LetGo,
}

impl Job {
    pub(crate) async fn run(&self, leased: LeasedRun) {
        let mut told = Told::new(&leased);
        match self.work(&leased, &mut told).await {
            End::Outcome(outcome) => self.report_the_end(&leased, told, outcome).await,
            End::LetGo => tracing::debug!(run.id = %leased.run.id, "run let go"),
        }
    }

    async fn work(&self, leased: &LeasedRun, told: &mut Told) -> End {
        let deadline = Instant::now() + Duration::from_secs(leased.rule.timeout_s);
        for step in &leased.rule.steps {
            let before = leased.run.steps.iter().find(|known| known.name == step.name);
            if before.is_some_and(|known| known.state == StepState::Succeeded) {
                continue;
            }
            told.began(&step.name);
            match self.run_step(leased, step, deadline, told).await {
                Ended::Output(output) => told.succeeded(&step.name, *output),
                Ended::Failed(error) => return End::Outcome(told.failed(&step.name, error)),
                Ended::HandedBack => {
                    told.waits(&step.name);
                    return End::Outcome(RunOutcome::Released);
                }
                Ended::LetGo => return End::LetGo,
            }
        }
        End::Outcome(RunOutcome::Succeeded)
    }

    /// Runs one step on a blocking thread while keeping the lease alive.
    async fn run_step(
        &self,
        leased: &LeasedRun,
        step: &RuleStep,
        deadline: Instant,
        told: &mut Told,
    ) -> Ended {
        let built = match usp_steps::build(&step.uses, &step.with) {
            Ok(built) => built,
            Err(error) => return Ended::Failed(StepError::Permanent(error.detail())),
        };
        let timeout_s = step.timeout_s.min(leased.rule.timeout_s);
        let too_long =
            || Ended::Failed(StepError::Temporary(format!("the step took longer than its {timeout_s} s")));
        let step_deadline = deadline.min(Instant::now() + Duration::from_secs(step.timeout_s));
        let read = ReadFile {
            file: FileRef::Id(leased.file.id),
            version: Some(leased.run.version),
            range: None,
            coding: usp_api::Coding::Plain,
        };
        let opened = tokio::select! {
            opened = self.storage.read(&self.caller, read) => opened,
            () = sleep_until(step_deadline) => return too_long(),
            () = self.hand_back.cancelled() => return Ended::HandedBack,
        };
        let content = match opened {
            Ok(reading) => reading.content,
            Err(error) => return Ended::Failed(StepError::Temporary(error.detail())),
        };
        let gauge = Arc::new(Gauge::default());
        let (facts, seen) = (facts_of(leased), Arc::clone(&gauge));
        let mut feed = Feed::start(content, gauge.stop());
        let running = self.steps.run(move || built.run(&facts, &mut feed, seen.as_ref()));
        let mut running = std::pin::pin!(running);
        let mut beat = interval(self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.tick().await;
        // Once set, the step is waited for and this is how it ended, whatever it says.
        let mut verdict = None;
        loop {
            tokio::select! {
                ended = &mut running => {
                    return verdict.unwrap_or_else(|| match ended {
                        Ok(Ok(output)) => Ended::Output(Box::new(output)),
                        Ok(Err(error)) => Ended::Failed(error),
                        Err(error) => Ended::Failed(StepError::Temporary(format!("the step did not end: {error}"))),
                    });
                }
                () = sleep_until(step_deadline), if verdict.is_none() => {
                    gauge.cancel();
                    verdict = Some(too_long());
                }
                () = self.hand_back.cancelled(), if verdict.is_none() => {
                    gauge.cancel();
                    verdict = Some(Ended::HandedBack);
                }
                _ = beat.tick(), if verdict.is_none() => {
                    told.percent(&step.name, gauge.percent_of(leased.file.size_bytes));
                    verdict = self.keep(leased, told).await;
                    if verdict.is_some() {
                        gauge.cancel();
                    }
                }
            }
        }
    }

    /// Extends the lease, or says how the step ends. Storage that does not answer is no reason to stop: the lease number
    /// protects the run.
    async fn keep(&self, leased: &LeasedRun, told: &mut Told) -> Option<Ended> {
        match self.storage.report_run(&self.caller, report(leased, told.steps(), None)).await {
            Ok(ReportOutcome::Held { run_cancelled: false }) => {
                told.forget_ended();
                None
            }
            Ok(ReportOutcome::Held { run_cancelled: true } | ReportOutcome::Lost) => Some(Ended::LetGo),
            // What an earlier step made will not be taken later either.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                Some(Ended::Failed(StepError::Permanent(error.detail())))
            }
            Err(error) => {
                tracing::warn!(run.id = %leased.run.id, error = %error.chain(), "the lease was not extended");
                None
            }
        }
    }

    /// Says how the run ended. A report that storage refuses is followed by one that says so: a run must not wait for
    /// its lease to end, nor end without a reason.
    async fn report_the_end(&self, leased: &LeasedRun, told: Told, outcome: RunOutcome) {
        let Err(error) = self.tell(leased, || told.steps(), outcome).await else { return };
        tracing::error!(run.id = %leased.run.id, error = %error.chain(), "the report was refused");
        let refused = RunOutcome::Failed {
            reason: format!("storage did not take the report: {}", error.detail()),
            is_permanent: error.kind() == ErrorKind::InvalidInput,
        };
        if let Err(error) = self.tell(leased, Vec::new, refused).await {
            tracing::error!(run.id = %leased.run.id, error = %error.chain(), "the run will be tried again");
        }
    }

    /// Tries until storage answers, or until the lease is over anyway. Errors: what storage refuses for good.
    async fn tell(
        &self,
        leased: &LeasedRun,
        steps: impl Fn() -> Vec<StepReport>,
        outcome: RunOutcome,
    ) -> Result<()> {
        const TRY_FOR: Duration = Duration::from_secs(30);
        const PAUSE: Duration = Duration::from_millis(250);
        let until = Instant::now() + TRY_FOR;
        let sent = timeout_at(until, async {
            loop {
                let report = report(leased, steps(), Some(outcome.clone()));
                match self.storage.report_run(&self.caller, report).await {
                    Err(error) if error.kind().is_temporary() => {
                        tracing::warn!(run.id = %leased.run.id, error = %error.chain(), "the report is tried again");
                        sleep(jittered(PAUSE)).await;
                    }
                    answered => return answered,
                }
            }
        })
        .await;
        match sent {
            Ok(Ok(ReportOutcome::Held { .. })) => {}
            Ok(Ok(ReportOutcome::Lost)) => {
                tracing::warn!(run.id = %leased.run.id, "the lease was lost before the report")
            }
            Ok(Err(error)) => return Err(error),
            Err(_late) => {
                tracing::warn!(run.id = %leased.run.id, "storage took no report; the run will be tried again")
            }
        }
        Ok(())
    }
}

fn report(leased: &LeasedRun, steps: Vec<StepReport>, outcome: Option<RunOutcome>) -> RunReport {
    let wait = jittered(leased.rule.retry.backoff(leased.run.attempt));
    RunReport {
        run: leased.run.id,
        lease_no: leased.lease_no,
        steps,
        outcome,
        // Storage sets the times.
        lease_until: leased.expires_at,
        at: leased.expires_at,
        retry_wait_ms: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
    }
}

fn facts_of(leased: &LeasedRun) -> FileFacts {
    let file = &leased.file;
    let plain =
        |map: &BTreeMap<LabelKey, String>| map.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
    FileFacts {
        key: file.key.to_string(),
        media_type: file.media_type.to_string(),
        declared_media_type: file.declared_media_type.as_ref().map(ToString::to_string),
        size_bytes: file.size_bytes,
        metadata: plain(&file.metadata),
        labels: plain(&file.labels),
    }
}

/// What storage is still to be told about the steps.
struct Told(BTreeMap<String, ToldStep>);

struct ToldStep {
    report: StepReport,
    began: Option<Instant>,
    ended: Option<Instant>,
}

impl Told {
    fn new(leased: &LeasedRun) -> Self {
        // A step that failed in an earlier attempt waits again.
        let again = leased.run.steps.iter().filter(|step| step.state != StepState::Succeeded);
        let waiting =
            |name: &str| ToldStep { report: blank(name, StepState::Pending), began: None, ended: None };
        Self(again.map(|step| (step.name.clone(), waiting(&step.name))).collect())
    }

    fn began(&mut self, name: &str) {
        let step =
            ToldStep { report: blank(name, StepState::Running), began: Some(Instant::now()), ended: None };
        self.0.insert(name.to_owned(), step);
    }

    /// The step has not begun after all.
    fn waits(&mut self, name: &str) {
        let step = ToldStep { report: blank(name, StepState::Pending), began: None, ended: None };
        self.0.insert(name.to_owned(), step);
    }

    fn percent(&mut self, name: &str, percent: u8) {
        if let Some(step) = self.0.get_mut(name) {
            step.report.percent = percent;
        }
    }

    fn ended(&mut self, report: StepReport) {
        let began = self.0.get(&report.name).and_then(|step| step.began);
        self.0.insert(report.name.clone(), ToldStep { report, began, ended: Some(Instant::now()) });
    }

    fn succeeded(&mut self, name: &str, output: StepOutput) {
        self.ended(StepReport {
            percent: 100,
            report: output.report,
            labels: checked(output.labels),
            metadata: checked(output.metadata),
            ..blank(name, StepState::Succeeded)
        });
    }

    /// The step and what follows from its failure. Later steps are skipped for good if it is permanent.
    fn failed(&mut self, name: &str, error: StepError) -> RunOutcome {
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

    fn steps(&self) -> Vec<StepReport> {
        let ms_since = |at: Instant| u32::try_from(at.elapsed().as_millis()).unwrap_or(u32::MAX);
        let told = self.0.values().map(|step| StepReport {
            began_ms_ago: step.began.map(ms_since),
            ended_ms_ago: step.ended.map(ms_since),
            ..step.report.clone()
        });
        told.collect()
    }

    /// What ended was told and need not be told again.
    fn forget_ended(&mut self) {
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
