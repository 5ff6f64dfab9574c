//! The spans of a run and its steps. What a step says about a content is the user's and stays out.

use usp_api::trace::{Attribute, Span, SpanKind};
use usp_model::{LeasedRun, RuleStep, RunOutcome};
use usp_steps::StepError;

/// One attempt at a run, below the request that asked for it.
pub(crate) fn of_run(leased: &LeasedRun) -> Span {
    Span::begin(SpanKind::Consumer, leased.trace.as_deref(), || {
        let run = &leased.run;
        let attributes = vec![
            Attribute::new("usp.run.id", run.id.to_string()),
            Attribute::new("usp.run.rule", leased.rule.name.to_string()),
            Attribute::new("usp.run.attempt", i64::from(run.attempt)),
            Attribute::new("usp.file.id", leased.file.id.to_string()),
        ];
        ("run", attributes)
    })
}

/// `word` as metrics have it.
pub(crate) fn run_ended(mut span: Span, word: &'static str, outcome: Option<&RunOutcome>) {
    span.set("usp.run.outcome", word);
    if let Some(RunOutcome::Failed { is_permanent, .. }) = outcome {
        span.fail(if *is_permanent { "permanent" } else { "temporary" });
    }
}

pub(crate) fn of_step(run: &Span, leased: &LeasedRun, step: &RuleStep) -> Span {
    run.part(|| {
        let attributes = vec![
            Attribute::new("usp.step.name", step.name.clone()),
            Attribute::new("usp.step.uses", step.uses.clone()),
            Attribute::new("usp.run.attempt", i64::from(leased.run.attempt)),
        ];
        (format!("step {}", step.uses), attributes)
    })
}

pub(crate) fn step_ended(mut span: Span, word: &'static str, error: Option<&StepError>) {
    span.set("usp.step.outcome", word);
    match error {
        None => {}
        Some(StepError::Invalid { .. }) => span.fail("invalid"),
        Some(StepError::Permanent(_)) => span.fail("permanent"),
        Some(StepError::Temporary(_)) => span.fail("temporary"),
        Some(StepError::Cancelled) => span.fail("cancelled"),
    }
}
