use std::collections::BTreeMap;

use usp_model::{FileId, FileState};

use super::*;

pub(super) const NOW: i64 = 50_000;
pub(super) const LEASE: i64 = 80_000;

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn file() -> File {
    File { version: 3, state: FileState::Processing, ..crate::testing::file("a", 7) }
}

fn rule() -> Rule {
    Rule {
        name: RuleName::parse("profile").unwrap(),
        description: String::new(),
        version: 2,
        when: String::new(),
        steps: Vec::new(),
        retry: RetryPolicy::default(),
        timeout_s: 60,
        priority: 4,
        concurrency: None,
        release: None,
        required: true,
    }
}

fn new_run() -> NewRun {
    let steps = ["first", "second", "third"].map(|name| (name.to_owned(), "sniff".to_owned()));
    NewRun {
        id: RunId::from_bytes([9; 32]),
        rule: RuleName::parse("profile").unwrap(),
        rule_version: 2,
        retry: RetryPolicy { attempts_max: 3, ..RetryPolicy::default() },
        priority: 4,
        required: true,
        steps: steps.to_vec(),
    }
}

/// A run in that state in its second of three attempts, with these steps.
pub(super) fn record(state: RunState, steps: [StepState; 3]) -> RunRecord {
    let mut record = new_run().queued(&file(), Some("trace".to_owned()), at(1_000)).record;
    record.lease_no = 5;
    record.run.state = state;
    record.run.attempt = 2;
    record.run.started_at = Some(at(2_000));
    record.run.error = Some("before".to_owned());
    record.due_at = (!state.is_final()).then(|| at(NOW));
    record.run.ended_at = state.is_final().then(|| at(9_000));
    record.run.next_attempt_at = (state == RunState::Retrying).then(|| at(NOW));
    for (step, state) in record.run.steps.iter_mut().zip(steps) {
        let has_begun = matches!(state, StepState::Running | StepState::Succeeded | StepState::Failed);
        let has_ended = matches!(state, StepState::Succeeded | StepState::Failed);
        step.state = state;
        step.attempt = u32::from(has_begun) * 2;
        step.percent = if has_begun { 40 } else { 0 };
        step.started_at = has_begun.then(|| at(3_000));
        step.ended_at = has_ended.then(|| at(4_000));
        step.error = (state == StepState::Failed).then(|| "broke".to_owned());
    }
    record
}

pub(super) const MIXED: [StepState; 3] = [StepState::Succeeded, StepState::Running, StepState::Pending];

pub(super) fn states(changed: &ChangedRun) -> Vec<StepState> {
    changed.record.run.steps.iter().map(|step| step.state).collect()
}

/// The kind of the event, which must tell the run as it is.
pub(super) fn said(changed: &ChangedRun) -> Option<RunChange> {
    let Some(EventBody::Run(event)) = &changed.event else { return None };
    let run = &changed.record.run;
    assert_eq!((event.state, event.attempt, &event.error), (run.state, run.attempt, &run.error));
    assert_eq!((event.run_id, event.next_attempt_at), (run.id, run.next_attempt_at));
    assert_eq!(event.trace.as_deref(), Some("trace"));
    Some(event.change.clone())
}

fn begun(record: RunRecord) -> ChangedRun {
    match record.begin(Some(&rule()), at(NOW), at(LEASE)) {
        Begun::Attempt(changed) => changed,
        Begun::Dead(dead) => panic!("{dead:?}"),
    }
}

#[test]
fn a_new_run_waits_due_at_once_with_steps_that_have_not_begun() {
    let queued = new_run().queued(&file(), Some("trace".to_owned()), at(NOW));
    let RunRecord { run, lease_no, due_at, .. } = &queued.record;
    assert_eq!((*lease_no, *due_at, run.created_at), (0, Some(at(NOW)), at(NOW)));
    assert_eq!((run.state, run.attempt, run.attempts_max, run.priority), (RunState::Queued, 0, 3, 4));
    assert_eq!((run.file_id, run.version, run.rule_version), (FileId::from_bytes([7; 32]), 3, 2));
    assert_eq!((run.started_at, run.ended_at, run.next_attempt_at, &run.error), (None, None, None, &None));
    assert_eq!(states(&queued), [StepState::Pending; 3]);
    assert!(run.steps.iter().all(|step| step.attempt == 0 && step.percent == 0 && step.uses == "sniff"));
    assert_eq!((queued.steps.as_slice(), queued.rolls_up), ([0, 1, 2].as_slice(), true));
    assert_eq!(said(&queued), Some(RunChange::Queued));
    let with_version = new_run().queued_with_version(&file(), Some("trace".to_owned()), at(NOW));
    assert_eq!(with_version, ChangedRun { rolls_up: false, ..queued });
}

#[test]
fn a_run_is_due_from_its_time_on_and_never_once_ended() {
    for (due_at, is_due) in [(None, false), (Some(NOW - 1), true), (Some(NOW), true), (Some(NOW + 1), false)]
    {
        for state in [RunState::Queued, RunState::Retrying, RunState::Running] {
            let record = RunRecord { due_at: due_at.map(at), ..record(state, MIXED) };
            assert_eq!(record.is_due(at(NOW)), is_due, "{due_at:?}");
            assert_eq!(record.is_lease_over(at(NOW)), is_due && state == RunState::Running, "{state}");
        }
    }
}

#[test]
fn an_attempt_has_a_new_number_and_does_again_what_did_not_succeed() {
    use StepState::{Failed, Pending, Running, Skipped, Succeeded};
    // Steps before; steps after, and which rows differ.
    let cases = [
        ([Pending, Pending, Pending], [Pending, Pending, Pending], vec![]),
        ([Succeeded, Failed, Pending], [Succeeded, Pending, Pending], vec![1]),
        ([Succeeded, Running, Skipped], [Succeeded, Pending, Pending], vec![1, 2]),
        ([Failed, Failed, Failed], [Pending, Pending, Pending], vec![0, 1, 2]),
        ([Succeeded, Succeeded, Succeeded], [Succeeded, Succeeded, Succeeded], vec![]),
    ];
    for (before, after, differing) in cases {
        let changed = begun(record(RunState::Retrying, before));
        let run = &changed.record.run;
        assert_eq!((changed.record.lease_no, changed.record.due_at), (6, Some(at(LEASE))));
        assert_eq!((run.state, run.attempt, run.next_attempt_at), (RunState::Running, 3, None));
        assert_eq!((run.started_at, run.error.as_deref()), (Some(at(2_000)), Some("before")));
        assert_eq!((states(&changed), &changed.steps), (after.to_vec(), &differing), "{before:?}");
        let again = run.steps.iter().filter(|step| step.state == Pending);
        for step in again {
            assert_eq!((step.percent, step.started_at, step.ended_at), (0, None, None));
            assert_eq!(step.error, None);
        }
        assert_eq!((said(&changed), changed.rolls_up), (Some(RunChange::Started), false));
    }
}

#[test]
fn the_first_attempt_says_when_the_run_began() {
    let mut queued = record(RunState::Queued, [StepState::Pending; 3]);
    (queued.run.started_at, queued.run.attempt) = (None, 0);
    let run = begun(queued).record.run;
    assert_eq!((run.started_at, run.attempt), (Some(at(NOW)), 1));
}

#[test]
fn without_its_rule_a_run_is_dead() {
    let begun = record(RunState::Queued, MIXED).begin(None, at(NOW), at(LEASE));
    let Begun::Dead(dead) = begun else { panic!("{begun:?}") };
    assert_eq!(dead.record.run.error.as_deref(), Some("rule profile has no version 2"));
    assert_eq!((dead.record.run.state, dead.record.lease_no), (RunState::Dead, 5));
    assert_eq!((said(&dead), dead.rolls_up), (Some(RunChange::Dead), true));
}

#[test]
fn a_lease_that_is_over_costs_an_attempt_and_the_last_one_kills() {
    use StepState::{Failed, Pending, Skipped, Succeeded};
    for (attempt, state) in [(1, RunState::Retrying), (2, RunState::Retrying), (3, RunState::Dead)] {
        let mut held = record(RunState::Running, MIXED);
        held.run.attempt = attempt;
        let changed = held.end_lease(at(NOW));
        let run = &changed.record.run;
        assert_eq!((run.state, run.attempt, changed.record.lease_no), (state, attempt, 5));
        assert!(run.error.as_deref().unwrap().contains("lease"));
        assert_eq!((run.steps[1].state, run.steps[1].ended_at), (Failed, Some(at(NOW))));
        if state == RunState::Dead {
            assert_eq!((changed.record.due_at, run.next_attempt_at), (None, None));
            assert_eq!((run.ended_at, states(&changed)), (Some(at(NOW)), vec![Succeeded, Failed, Skipped]));
            assert_eq!((changed.steps.as_slice(), changed.rolls_up), ([1, 2].as_slice(), true));
            assert_eq!(said(&changed), Some(RunChange::Dead));
        } else {
            assert!(changed.record.is_due(at(NOW)), "due at once");
            assert_eq!((run.ended_at, run.next_attempt_at), (None, Some(at(NOW))));
            assert_eq!(states(&changed), [Succeeded, Failed, Pending]);
            assert_eq!((changed.steps.as_slice(), changed.rolls_up), ([1].as_slice(), false));
            assert_eq!(said(&changed), Some(RunChange::Retrying));
        }
    }
}

#[test]
fn only_what_is_dead_or_cancelled_is_retried_and_it_begins_anew() {
    for state in RunState::ALL.iter().copied() {
        let retried =
            record(state, [StepState::Succeeded, StepState::Failed, StepState::Pending]).retry(at(NOW));
        if !matches!(state, RunState::Dead | RunState::Cancelled) {
            let refused = retried.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Conflict, "{state}");
            continue;
        }
        let changed = retried.unwrap();
        let run = &changed.record.run;
        assert_eq!((run.state, run.attempt, run.attempts_max), (RunState::Queued, 0, 3));
        assert_eq!((run.started_at, run.ended_at, &run.error), (None, None, &None));
        assert_eq!((changed.record.due_at, changed.record.lease_no), (Some(at(NOW)), 5));
        assert_eq!(
            (states(&changed), changed.steps.as_slice()),
            (vec![StepState::Pending; 3], [0, 1].as_slice())
        );
        assert_eq!((said(&changed), changed.rolls_up), (Some(RunChange::Queued), true));
    }
}

#[test]
fn what_has_not_ended_can_be_cancelled() {
    for state in RunState::ALL.iter().copied() {
        let cancelled = record(state, MIXED).cancel(at(NOW));
        let with_file = record(state, MIXED).cancel_with_file(at(NOW));
        if state.is_final() {
            assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Conflict, "{state}");
            assert_eq!(with_file, None, "{state}");
            continue;
        }
        let changed = cancelled.unwrap();
        let run = &changed.record.run;
        assert_eq!((run.state, run.ended_at, run.attempt), (RunState::Cancelled, Some(at(NOW)), 2));
        assert_eq!((changed.record.due_at, run.next_attempt_at), (None, None));
        assert_eq!(run.error.as_deref(), Some("before"));
        assert_eq!(states(&changed), [StepState::Succeeded, StepState::Skipped, StepState::Skipped]);
        assert_eq!((run.steps[1].ended_at, changed.steps.as_slice()), (None, [1, 2].as_slice()));
        assert_eq!((said(&changed), changed.rolls_up), (Some(RunChange::Cancelled), true));
        assert_eq!(with_file, Some(ChangedRun { rolls_up: false, ..changed }));
    }
}

#[test]
fn steps_of_a_rule_are_named_in_order() {
    let step = |name: &str, uses: &str| RuleStep {
        name: name.to_owned(),
        uses: uses.to_owned(),
        with: BTreeMap::new(),
        timeout_s: 1,
    };
    let names = step_names(&[step("b", "sniff"), step("a", "digest")]);
    let expected = [("b", "sniff"), ("a", "digest")].map(|(name, uses)| (name.to_owned(), uses.to_owned()));
    assert_eq!(names, expected);
}
