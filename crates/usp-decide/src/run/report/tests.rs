use std::collections::BTreeMap;

use serde_json::{Value, json};
use usp_model::limits::{LABEL_COUNT_MAX, LABEL_VALUE_BYTES_MAX};
use usp_model::{LabelKey, Run, RunId};

use super::super::tests::{LEASE, MIXED, NOW, at, record, said, states};
use super::*;

fn step(name: &str, state: StepState) -> StepReport {
    StepReport {
        name: name.to_owned(),
        state,
        percent: 70,
        error: None,
        began_ms_ago: None,
        ended_ms_ago: None,
        report: None,
        labels: Tags::new(),
        metadata: Tags::new(),
    }
}

fn asked(outcome: Option<RunOutcome>, steps: Vec<StepReport>) -> ReportRun {
    let report = RunReport { run: RunId::from_bytes([9; 32]), lease_no: 5, steps, outcome };
    ReportRun { report, lease_until: at(LEASE), jitter: 0.4 }
}

fn retry() -> RetryPolicy {
    RetryPolicy { attempts_max: 3, backoff_ms_min: 1_000, backoff_ms_max: 300_000 }
}

fn failed(is_permanent: bool) -> Option<RunOutcome> {
    Some(RunOutcome::Failed { reason: "no luck".to_owned(), is_permanent })
}

fn taken_of(standing: RunRecord, asked: ReportRun, tags: Option<VersionTags>) -> TakenReport {
    match report(Some(standing), asked, &retry(), tags, at(NOW)).unwrap() {
        Reported::Taken(taken) => *taken,
        refused => panic!("{refused:?}"),
    }
}

fn taken(outcome: Option<RunOutcome>, steps: Vec<StepReport>) -> TakenReport {
    taken_of(record(RunState::Running, MIXED), asked(outcome, steps), Some(VersionTags::default()))
}

fn tags(entries: &[(&str, &str)]) -> Tags {
    entries.iter().map(|(name, value)| (LabelKey::parse(name).unwrap(), (*value).to_owned())).collect()
}

#[test]
fn only_who_holds_the_lease_is_heard() {
    let standing = |state, lease_no| Some(RunRecord { lease_no, ..record(state, MIXED) });
    let cases = [
        (None, "lost"),
        (standing(RunState::Running, 4), "lost"),
        (standing(RunState::Running, 5), "taken"),
        (standing(RunState::Running, 6), "lost"),
        (standing(RunState::Queued, 5), "lost"),
        (standing(RunState::Retrying, 5), "lost"),
        (standing(RunState::Succeeded, 5), "lost"),
        (standing(RunState::Dead, 5), "lost"),
        (standing(RunState::Cancelled, 4), "lost"),
        (standing(RunState::Cancelled, 5), "cancelled"),
    ];
    for (standing, expected) in cases {
        for outcome in [None, Some(RunOutcome::Succeeded), failed(true), Some(RunOutcome::Released)] {
            let reported =
                report(standing.clone(), asked(outcome, Vec::new()), &retry(), None, at(NOW)).unwrap();
            let found = match reported {
                Reported::Lost => "lost",
                Reported::Cancelled => "cancelled",
                Reported::Taken(_) => "taken",
            };
            assert_eq!(found, expected, "{standing:?}");
        }
    }
}

#[test]
fn a_run_that_goes_on_is_held_longer_and_nothing_is_said() {
    let run = taken(None, Vec::new()).run;
    let expected = RunRecord { due_at: Some(at(LEASE)), ..record(RunState::Running, MIXED) };
    assert_eq!(run, ChangedRun { record: expected, steps: Vec::new(), event: None, rolls_up: false });
}

#[test]
fn success_ends_the_run_and_leaves_its_steps() {
    let run = taken(Some(RunOutcome::Succeeded), Vec::new()).run;
    let now = &run.record.run;
    assert_eq!((now.state, now.ended_at, &now.error), (RunState::Succeeded, Some(at(NOW)), &None));
    assert_eq!((run.record.due_at, states(&run)), (None, MIXED.to_vec()));
    assert_eq!((said(&run), run.rolls_up), (Some(RunChange::Succeeded), true));
}

#[test]
fn a_failure_is_tried_again_after_its_wait_unless_it_is_for_good_or_was_the_last() {
    // For good, attempt of three, wait; next attempt.
    // Permanent, attempt of three, jitter; when the next one begins: the wait is 1,000 ms, doubled by each attempt.
    let cases = [
        (false, 1, 0.0, Some(NOW + 500)),
        (false, 1, 1.0, Some(NOW + 1_000)),
        (false, 1, 0.4, Some(NOW + 700)),
        (false, 2, 0.0, Some(NOW + 1_000)),
        (false, 2, 1.0, Some(NOW + 2_000)),
        (false, 2, -5.0, Some(NOW + 1_000)),
        (false, 2, 9.0, Some(NOW + 2_000)),
        (false, 3, 0.0, None),
        (false, 4, 0.0, None),
        (true, 1, 0.0, None),
        (true, 3, 0.0, None),
    ];
    for (is_permanent, attempt, jitter, next_ms) in cases {
        let mut standing = record(RunState::Running, MIXED);
        standing.run.attempt = attempt;
        let asked = ReportRun { jitter, ..asked(failed(is_permanent), Vec::new()) };
        let run = taken_of(standing, asked, None).run;
        let now = &run.record.run;
        assert_eq!((now.error.as_deref(), now.attempt), (Some("no luck"), attempt));
        assert_eq!((now.next_attempt_at, run.record.due_at), (next_ms.map(at), next_ms.map(at)));
        let expected = match next_ms {
            Some(_) => (RunState::Retrying, None, Some(RunChange::Retrying), false),
            None => (RunState::Dead, Some(at(NOW)), Some(RunChange::Dead), true),
        };
        let case = format!("{is_permanent} {attempt} {jitter}");
        assert_eq!((now.state, now.ended_at, said(&run), run.rolls_up), expected, "{case}");
        assert_eq!((now.steps[1].state, now.steps[1].ended_at), (StepState::Failed, Some(at(NOW))), "{case}");
    }
}

#[test]
fn another_attempt_is_a_day_away_at_most() {
    let standing = record(RunState::Running, MIXED);
    let slow = RetryPolicy { attempts_max: 3, backoff_ms_min: u64::MAX, backoff_ms_max: u64::MAX };
    let asked = ReportRun { jitter: 1.0, ..asked(failed(false), Vec::new()) };
    let Reported::Taken(taken) = report(Some(standing), asked, &slow, None, at(NOW)).unwrap() else {
        panic!("it holds its lease");
    };
    assert_eq!(taken.run.record.due_at, Some(at(NOW + 24 * 60 * 60 * 1_000)));
}

#[test]
fn which_reports_need_the_policy_of_their_rule() {
    let wants = |outcome| wants_retry(&asked(outcome, Vec::new()).report);
    assert!(wants(failed(false)));
    assert!(!wants(failed(true)) && !wants(Some(RunOutcome::Succeeded)) && !wants(None));
    assert!(!wants(Some(RunOutcome::Released)));
}

#[test]
fn what_is_handed_back_is_due_at_once_and_costs_no_attempt() {
    let run = taken(Some(RunOutcome::Released), Vec::new()).run;
    let now = &run.record.run;
    assert_eq!((now.state, now.attempt, now.ended_at), (RunState::Queued, 1, None));
    assert_eq!((run.record.due_at, now.error.as_deref()), (Some(at(NOW)), Some("before")));
    assert_eq!(states(&run), [StepState::Succeeded, StepState::Pending, StepState::Pending]);
    assert_eq!((now.steps[1].started_at, now.steps[1].percent), (None, 0));
    assert_eq!(
        (run.steps.as_slice(), said(&run), run.rolls_up),
        ([1].as_slice(), Some(RunChange::Queued), false)
    );
}

/// The second step after a report of it in the second attempt.
fn merged(standing: (StepState, u32), said: StepReport) -> Step {
    let mut before = record(RunState::Running, MIXED);
    let step = &mut before.run.steps[1];
    (step.state, step.attempt) = standing;
    step.ended_at = is_end(standing.0).then(|| at(4_000));
    let Run { steps, .. } = taken_of(before, asked(None, vec![said]), None).run.record.run;
    steps[1].clone()
}

#[test]
fn a_step_is_what_its_worker_said_last_but_for_what_comes_late() {
    use StepState::{Failed, Pending, Running, Skipped, Succeeded};
    // State and attempt before, what is said; state, attempt, begin and end after.
    let (old, begin, now) = (Some(3_000), Some(NOW - 20), Some(NOW - 10));
    let cases = [
        ((Pending, 0), Pending, (Pending, 0, old, None)),
        ((Pending, 0), Running, (Running, 2, begin, None)),
        ((Pending, 2), Running, (Running, 2, old, None)),
        ((Running, 2), Running, (Running, 2, old, None)),
        ((Running, 2), Succeeded, (Succeeded, 2, old, now)),
        ((Running, 2), Failed, (Failed, 2, old, now)),
        ((Running, 2), Skipped, (Skipped, 2, old, now)),
        ((Running, 1), Succeeded, (Succeeded, 2, begin, now)),
        ((Pending, 0), Skipped, (Skipped, 2, None, now)),
        // Late.
        ((Succeeded, 2), Running, (Succeeded, 2, old, Some(4_000))),
        ((Failed, 2), Running, (Failed, 2, old, Some(4_000))),
        ((Skipped, 2), Running, (Skipped, 2, old, Some(4_000))),
        // Of the attempt before.
        ((Succeeded, 1), Running, (Running, 2, begin, None)),
        ((Failed, 1), Running, (Running, 2, begin, None)),
        ((Succeeded, 1), Pending, (Pending, 1, old, Some(4_000))),
        // Said again.
        ((Succeeded, 2), Succeeded, (Succeeded, 2, old, Some(4_000))),
        ((Failed, 2), Succeeded, (Succeeded, 2, old, Some(4_000))),
    ];
    for (before, state, (now_state, attempt, began_ms, ended_ms)) in cases {
        let said = StepReport { began_ms_ago: Some(20), ended_ms_ago: Some(10), ..step("second", state) };
        let step = merged(before, said);
        let found = (step.state, step.attempt, step.started_at, step.ended_at);
        assert_eq!(found, (now_state, attempt, began_ms.map(at), ended_ms.map(at)), "{before:?} {state}");
    }
}

#[test]
fn times_that_are_not_said_are_now_and_a_step_is_never_over_100_percent() {
    let said =
        StepReport { percent: 101, error: Some("bad".to_owned()), ..step("second", StepState::Failed) };
    let step = merged((StepState::Pending, 0), said);
    assert_eq!((step.started_at, step.ended_at), (Some(at(NOW)), Some(at(NOW))));
    assert_eq!((step.percent, step.error.as_deref()), (100, Some("bad")));
    for percent in [0, 99, 100] {
        let said = StepReport { percent, ..self::step("second", StepState::Running) };
        assert_eq!(merged((StepState::Running, 2), said).percent, percent);
    }
}

#[test]
fn only_rows_of_steps_that_differ_are_written() {
    let same = StepReport { percent: 40, ..step("second", StepState::Running) };
    assert_eq!(taken(None, vec![same]).run.steps, Vec::<usize>::new());
    let both = vec![step("third", StepState::Running), step("second", StepState::Succeeded)];
    assert_eq!(taken(None, both).run.steps, [1, 2]);
}

#[test]
fn a_step_that_the_run_does_not_have_refuses_the_whole_report() {
    let steps = vec![step("second", StepState::Succeeded), step("fourth", StepState::Running)];
    let standing = Some(record(RunState::Running, MIXED));
    let refused = report(standing, asked(None, steps), &retry(), None, at(NOW)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[test]
fn only_a_step_that_came_to_an_end_of_its_own_publishes() {
    for state in StepState::ALL.iter().copied() {
        let said = StepReport {
            report: Some(json!({"rows": 3})),
            labels: tags(&[("pii", "none")]),
            ..step("second", state)
        };
        let publishes = matches!(state, StepState::Succeeded | StepState::Failed);
        let asked = asked(None, vec![said]);
        assert_eq!(wants_tags(&asked.report), publishes, "{state}");
        let standing = VersionTags { labels: tags(&[("a", "1")]), metadata: tags(&[("b", "2")]) };
        let taken = taken_of(record(RunState::Running, MIXED), asked, Some(standing.clone()));
        let reports = [("second".to_owned(), r#"{"rows":3}"#.to_owned())];
        assert_eq!(taken.reports, if publishes { &reports[..] } else { &[] }, "{state}");
        let labels = tags(&[("a", "1"), ("pii", "none")]);
        assert_eq!(taken.tags, publishes.then_some(VersionTags { labels, ..standing }), "{state}");
    }
}

#[test]
fn steps_add_their_tags_one_after_the_other() {
    let said = |name: &str, labels: &[(&str, &str)], metadata: &[(&str, &str)]| StepReport {
        labels: tags(labels),
        metadata: tags(metadata),
        ..step(name, StepState::Succeeded)
    };
    let steps =
        vec![said("first", &[("a", "1"), ("b", "1")], &[]), said("second", &[("b", "2")], &[("m", "3")])];
    let taken = taken(None, steps);
    let expected = VersionTags { labels: tags(&[("a", "1"), ("b", "2")]), metadata: tags(&[("m", "3")]) };
    assert_eq!(taken.tags, Some(expected));
}

#[test]
fn a_report_without_tags_writes_none_and_a_version_that_is_gone_has_none() {
    let bare = || vec![StepReport { report: Some(json!(1)), ..step("second", StepState::Succeeded) }];
    assert!(!wants_tags(&asked(None, bare()).report));
    assert_eq!(taken(None, bare()).tags, None);
    let metadata = StepReport { metadata: tags(&[("m", "3")]), ..step("second", StepState::Succeeded) };
    assert!(wants_tags(&asked(None, vec![metadata.clone()]).report));
    assert!(taken(None, vec![metadata.clone()]).tags.is_some());
    assert_eq!(taken_of(record(RunState::Running, MIXED), asked(None, vec![metadata]), None).tags, None);
}

#[test]
fn what_a_step_found_has_a_bound() {
    let text = |bytes: usize| Value::String("x".repeat(bytes - 2));
    for (bytes, fits) in
        [(REPORT_BYTES_MAX - 1, true), (REPORT_BYTES_MAX, true), (REPORT_BYTES_MAX + 1, false)]
    {
        let steps = vec![StepReport { report: Some(text(bytes)), ..step("second", StepState::Succeeded) }];
        let reported =
            report(Some(record(RunState::Running, MIXED)), asked(None, steps), &retry(), None, at(NOW));
        assert_eq!(reported.map_err(|error| error.kind()).is_ok(), fits, "{bytes}");
    }
}

#[test]
fn labels_and_metadata_have_bounds_together_with_those_that_stand() {
    let many = |count: usize| -> Tags {
        (0..count).map(|number| (LabelKey::parse(&format!("l{number}")).unwrap(), String::new())).collect()
    };
    let long = |bytes: usize| BTreeMap::from([(LabelKey::parse("new").unwrap(), "x".repeat(bytes))]);
    let cases = [
        (many(LABEL_COUNT_MAX - 1), long(LABEL_VALUE_BYTES_MAX), true),
        (many(LABEL_COUNT_MAX - 1), long(LABEL_VALUE_BYTES_MAX + 1), false),
        (many(LABEL_COUNT_MAX), long(1), false),
        (many(LABEL_COUNT_MAX), many(1), true),
    ];
    for (standing, more, fits) in cases {
        let both = [
            (
                VersionTags { labels: standing.clone(), ..VersionTags::default() },
                StepReport { labels: more.clone(), ..step("second", StepState::Succeeded) },
            ),
            (
                VersionTags { metadata: standing, ..VersionTags::default() },
                StepReport { metadata: more, ..step("second", StepState::Succeeded) },
            ),
        ];
        for (standing, said) in both {
            let record = Some(record(RunState::Running, MIXED));
            let reported = report(record, asked(None, vec![said]), &retry(), Some(standing), at(NOW));
            match reported {
                Ok(_) => assert!(fits),
                Err(error) => assert_eq!((error.kind(), fits), (ErrorKind::InvalidInput, false)),
            }
        }
    }
}
