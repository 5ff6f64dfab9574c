//! One run under one lease. The steps of it are numbered in lib.rs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{Fuse, FusedFuture};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};
use usp_api::trace::Span;
use usp_api::{Caller, ReadFile, StorageApi};
use usp_model::{
    Error, ErrorKind, FileRef, LabelKey, LeasedRun, ReportOutcome, Result, RuleStep, RunOutcome, RunReport,
    StepReport, StepState,
};
use usp_rt::{Shutdown, jittered};
use usp_steps::{FileFacts, StepError, StepOutput};

use crate::bench::{Bench, Content, Order};
use crate::content::Gauge;
use crate::metrics::ProcessorMetrics;
use crate::processor::Slot;
use crate::spans;
use crate::step_reports::StepReports;

/// A content of up to this much is read once for all steps of its run.
const WHOLE_BYTES_MAX: u64 = 256 << 10;

/// What it takes to work on a run.
pub(crate) struct Job {
    pub(crate) storage: Arc<dyn StorageApi>,
    pub(crate) caller: Caller,
    pub(crate) heartbeat: Duration,
    pub(crate) bench: Bench,
    pub(crate) metrics: ProcessorMetrics,
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

impl Ended {
    fn word(&self) -> (&'static str, Option<&StepError>) {
        match self {
            Self::Output(_) => ("succeeded", None),
            Self::Failed(error) => ("failed", Some(error)),
            Self::HandedBack => ("handed_back", None),
            Self::LetGo => ("let_go", None),
        }
    }
}

impl Job {
    /// Works on the run in `slot`, which is free for the next one once the last step has ended; gives how long the steps
    /// took.
    pub(crate) async fn run(&self, leased: LeasedRun, slot: Slot<'_>, note: impl FnOnce(Duration)) {
        let begun = Instant::now();
        let mut reports = StepReports::new(&leased);
        let span = spans::of_run(&leased);
        let end = self.work(&leased, &mut reports, &span).await;
        match &end {
            End::Outcome(outcome) => spans::run_ended(span, word_of(outcome), Some(outcome)),
            End::LetGo => spans::run_ended(span, "let_go", None),
        }
        note(begun.elapsed());
        drop(slot);
        match end {
            End::Outcome(outcome) => self.report_the_end(&leased, reports, outcome).await,
            End::LetGo => {
                self.metrics.run_ended("let_go");
                tracing::debug!(run.id = %leased.run.id, "run let go");
            }
        }
    }

    /// Gives back a run that was not begun.
    pub(crate) async fn give_back(&self, leased: LeasedRun) {
        let reports = StepReports::new(&leased);
        self.report_the_end(&leased, reports, RunOutcome::Released).await;
    }

    async fn work(&self, leased: &LeasedRun, reports: &mut StepReports, run: &Span) -> End {
        let deadline = Instant::now() + Duration::from_secs(leased.rule.timeout_s);
        let mut whole = None;
        for step in &leased.rule.steps {
            let before = leased.run.steps.iter().find(|known| known.name == step.name);
            if before.is_some_and(|known| known.state == StepState::Succeeded) {
                continue;
            }
            reports.began(&step.name);
            let span = spans::of_step(run, leased, step);
            let ended = self.run_step(leased, step, deadline, reports, &mut whole).await;
            let (word, error) = ended.word();
            spans::step_ended(span, word, error);
            match ended {
                Ended::Output(output) => reports.succeeded(&step.name, *output),
                Ended::Failed(error) => return End::Outcome(reports.failed(&step.name, error)),
                Ended::HandedBack => {
                    reports.waits(&step.name);
                    return End::Outcome(RunOutcome::Released);
                }
                Ended::LetGo => return End::LetGo,
            }
        }
        End::Outcome(RunOutcome::Succeeded)
    }

    /// Runs one step while keeping the lease alive.
    async fn run_step(
        &self,
        leased: &LeasedRun,
        step: &RuleStep,
        deadline: Instant,
        reports: &mut StepReports,
        whole: &mut Option<Bytes>,
    ) -> Ended {
        let timeout_s = step.timeout_s.min(leased.rule.timeout_s);
        let step_deadline = deadline.min(Instant::now() + Duration::from_secs(step.timeout_s));
        let gauge = Arc::new(Gauge::default());
        let running = self.perform(leased, step, Arc::clone(&gauge), whole);
        let mut running = std::pin::pin!(running);
        let mut beat = interval(self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.tick().await;
        // The step goes on while storage is asked.
        let mut asked = std::pin::pin!(Fuse::terminated());
        // Once set, the step is waited for and this is how it ended, whatever it says.
        let mut verdict = None;
        loop {
            tokio::select! {
                ended = &mut running => {
                    return verdict.unwrap_or_else(|| match ended {
                        Ok(output) => Ended::Output(Box::new(output)),
                        Err(error) => Ended::Failed(error),
                    });
                }
                () = sleep_until(step_deadline), if verdict.is_none() => {
                    gauge.cancel();
                    let reason = format!("the step took longer than its {timeout_s} s");
                    verdict = Some(Ended::Failed(StepError::Temporary(reason)));
                }
                () = self.hand_back.cancelled(), if verdict.is_none() => {
                    gauge.cancel();
                    verdict = Some(Ended::HandedBack);
                }
                _ = beat.tick(), if verdict.is_none() && asked.is_terminated() => {
                    reports.percent(&step.name, gauge.percent_of(leased.file.size_bytes));
                    asked.set(self.keep(report(leased, reports.steps(), None)).fuse());
                }
                kept = &mut asked, if verdict.is_none() && !asked.is_terminated() => {
                    verdict = self.verdict(leased, reports, kept);
                    if verdict.is_some() {
                        gauge.cancel();
                    }
                }
            }
        }
    }

    /// Opens the content and runs the step over it. Ends soon after the gauge was cancelled.
    async fn perform(
        &self,
        leased: &LeasedRun,
        step: &RuleStep,
        gauge: Arc<Gauge>,
        whole: &mut Option<Bytes>,
    ) -> Result<StepOutput, StepError> {
        let stop = gauge.stop();
        let content = tokio::select! {
            content = self.content(leased, whole) => content?,
            () = stop.cancelled() => return Err(StepError::Cancelled),
        };
        let order = Order {
            uses: step.uses.clone(),
            with: step.with.clone(),
            facts: facts_of(leased),
            timeout_s: step.timeout_s.min(leased.rule.timeout_s),
        };
        let begun = Instant::now();
        let ended = self.bench.run(order, content, gauge).await;
        self.metrics.step_ended(&step.uses, begun.elapsed(), ended.is_ok());
        ended
    }

    async fn content(&self, leased: &LeasedRun, whole: &mut Option<Bytes>) -> Result<Content, StepError> {
        if let Some(whole) = whole {
            return Ok(Content::Whole(whole.clone()));
        }
        let read = ReadFile {
            file: FileRef::Id(leased.file.id),
            version: Some(leased.run.version),
            range: None,
            coding: usp_api::Coding::Plain,
        };
        let opened = self.storage.read(&self.caller, read).await;
        let mut reading = opened.map_err(|error| StepError::Temporary(error.detail()))?;
        if leased.file.size_bytes > WHOLE_BYTES_MAX {
            return Ok(Content::Stream(reading.content));
        }
        let mut bytes = BytesMut::new();
        while let Some(piece) = reading.content.next().await {
            let failed = |error: Error| {
                let at = bytes.len();
                StepError::Temporary(format!("reading the content failed at byte {at}: {}", error.detail()))
            };
            bytes.extend_from_slice(&piece.map_err(failed)?);
        }
        Ok(Content::Whole(whole.insert(bytes.freeze()).clone()))
    }

    /// Extends the lease. An answer that does not come in time is not waited for: the next report must leave well before
    /// the lease is over, and three heartbeats fit into it.
    async fn keep(&self, report: RunReport) -> Result<ReportOutcome> {
        const WAIT_MIN: Duration = Duration::from_secs(1);
        let wait_max = self.heartbeat.mul_f64(1.5).max(WAIT_MIN);
        timeout(wait_max, self.storage.report_run(&self.caller, report)).await.unwrap_or_else(|_late| {
            Err(Error::new(ErrorKind::Unavailable, "extend lease").because("storage did not answer in time"))
        })
    }

    /// How the step ends, if it does. Storage that does not answer is no reason: the lease number protects the run.
    fn verdict(
        &self,
        leased: &LeasedRun,
        reports: &mut StepReports,
        kept: Result<ReportOutcome>,
    ) -> Option<Ended> {
        match kept {
            Ok(ReportOutcome::Held { run_cancelled: false }) => {
                reports.forget_ended();
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
    async fn report_the_end(&self, leased: &LeasedRun, reports: StepReports, outcome: RunOutcome) {
        let Err(error) = self.send_outcome(leased, || reports.steps(), outcome).await else { return };
        tracing::error!(run.id = %leased.run.id, error = %error.chain(), "the report was refused");
        let refused = RunOutcome::Failed {
            reason: format!("storage did not take the report: {}", error.detail()),
            is_permanent: error.kind() == ErrorKind::InvalidInput,
        };
        if let Err(error) = self.send_outcome(leased, Vec::new, refused).await {
            tracing::error!(run.id = %leased.run.id, error = %error.chain(), "the run will be tried again");
        }
    }

    /// Tries until storage answers, or until the lease is over anyway. Errors: what storage refuses for good.
    async fn send_outcome(
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
                    // It says the same again under the same lease: a report that was taken before writes nothing.
                    Err(error) if error.kind().is_temporary() || error.kind() == ErrorKind::OutcomeUnknown => {
                        tracing::warn!(run.id = %leased.run.id, error = %error.chain(), "the report is tried again");
                        sleep(jittered(PAUSE)).await;
                    }
                    answered => return answered,
                }
            }
        })
        .await;
        match sent {
            Ok(Ok(ReportOutcome::Held { .. })) => self.metrics.run_ended(word_of(&outcome)),
            Ok(Ok(ReportOutcome::Lost)) => {
                self.metrics.run_ended("lease_lost");
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

fn word_of(outcome: &RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Succeeded => "succeeded",
        RunOutcome::Failed { .. } => "failed",
        RunOutcome::Released => "handed_back",
    }
}

fn report(leased: &LeasedRun, steps: Vec<StepReport>, outcome: Option<RunOutcome>) -> RunReport {
    RunReport { run: leased.run.id, lease_no: leased.lease_no, steps, outcome }
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
