//! Steps that fail, for good or for now.

use serde_json::json;
use usp_api::StorageCalls;
use usp_model::{EventKind, FileState, RunState, StepState};

use crate::support::{Workshop, admin};

/// Five attempts, close to each other.
const PATIENT: &str = "
name: patient
when: 'true'
steps: [{name: sniff, uses: sniff}, {name: digest, uses: digest}]
retry: {attempts_max: 5, backoff_ms_min: 30, backoff_ms_max: 60}
";

#[tokio::test]
async fn a_file_that_breaks_its_validation_is_dead_at_once() {
    let rule = "
name: strict
when: 'true'
steps:
  - {name: before, uses: sniff}
  - {name: check, uses: validate, with: {columns: [{name: id, type: integer}]}}
  - {name: after, uses: digest}
retry: {attempts_max: 5, backoff_ms_min: 0, backoff_ms_max: 0}
";
    let workshop = Workshop::open(rule).await;
    let _worker = workshop.worker(1);
    let file = workshop.put("a.csv", "id\n1\nx\n").await;
    let file = workshop.until_file_is(file.id, FileState::Failed).await;
    let run = workshop.run(file.id).await;
    assert_eq!((run.state, run.attempt), (RunState::Dead, 1));
    assert!(run.error.unwrap().starts_with("step 'check': "));
    let states: Vec<_> = run.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Succeeded, StepState::Failed, StepState::Skipped]);
    assert_eq!(file.reports["check"]["valid"], json!(false));
    assert!(file.reports.contains_key("before") && !file.reports.contains_key("after"));
}

#[tokio::test]
async fn a_step_that_does_not_exist_is_dead_at_once() {
    let workshop = Workshop::open("{name: odd, when: 'true', steps: [{name: x, uses: teleport}]}").await;
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "x").await;
    let run = workshop.until_run_is(file.id, RunState::Dead).await;
    assert_eq!(run.attempt, 1);
    assert!(run.error.unwrap().contains("teleport"));
}

#[tokio::test]
async fn a_failed_read_is_tried_again_until_it_succeeds() {
    let workshop = Workshop::open(PATIENT).await;
    workshop.storage.refuse_reads(1);
    workshop.storage.break_reads(2);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    let file = workshop.until_file_is(file.id, FileState::Ready).await;
    let run = workshop.run(file.id).await;
    assert_eq!((run.state, run.attempt, run.error), (RunState::Succeeded, 4, None));
    assert_eq!(file.reports.len(), 2);
    let retries = workshop.events(EventKind::RunRetrying).await;
    assert_eq!(retries.len(), 3);
    for retry in &retries {
        let usp_model::EventBody::Run(told) = &retry.body else { panic!("{retry:?} is of no run") };
        let next = told.next_attempt_at.unwrap();
        let wait_ms = next.unix_ms() - retry.at.unix_ms();
        // Jitter leaves half of the shortest wait to all of the longest.
        assert!((15..=60).contains(&wait_ms), "{wait_ms} ms");
    }
}

#[tokio::test]
async fn a_step_that_succeeded_is_not_run_again() {
    let rule = "
name: careful
when: 'true'
steps: [{name: first, uses: digest}, {name: second, uses: digest}]
retry: {attempts_max: 3, backoff_ms_min: 10, backoff_ms_max: 10}
";
    let workshop = Workshop::open(rule).await;
    workshop.storage.hold_contents(true);
    let _worker = workshop.worker(1);
    // Too long to be read once for all steps.
    let file = workshop.put("a", vec![b'x'; 300 << 10]).await;
    workshop.until_a_content_is_held().await;
    // The first step reads to its end, the second one fails.
    workshop.storage.break_reads(1);
    workshop.storage.hold_contents(false);
    workshop.until_file_is(file.id, FileState::Ready).await;
    let run = workshop.run(file.id).await;
    let attempts: Vec<_> = run.steps.iter().map(|step| step.attempt).collect();
    assert_eq!((run.attempt, attempts), (2, vec![1, 2]));
}

#[tokio::test]
async fn a_run_whose_attempts_are_used_up_is_dead_and_can_be_brought_back() {
    let rule = "
name: impatient
when: 'true'
steps: [{name: digest, uses: digest}]
retry: {attempts_max: 3, backoff_ms_min: 10, backoff_ms_max: 10}
";
    let workshop = Workshop::open(rule).await;
    workshop.storage.break_reads(3);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_file_is(file.id, FileState::Failed).await;
    let run = workshop.run(file.id).await;
    assert_eq!((run.state, run.attempt), (RunState::Dead, 3));
    assert!(run.error.unwrap().contains("a fault was put here by the test"));
    workshop.storage.retry_run(&admin(), run.id).await.unwrap();
    workshop.until_file_is(file.id, FileState::Ready).await;
    assert_eq!(workshop.run(file.id).await.attempt, 1);
}

#[tokio::test]
async fn a_rule_that_is_not_required_leaves_its_file_ready() {
    let rule = "
name: optional
when: 'true'
required: false
steps: [{name: digest, uses: digest}]
retry: {attempts_max: 1}
";
    let workshop = Workshop::open(rule).await;
    workshop.storage.break_reads(1);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "x").await;
    workshop.until_run_is(file.id, RunState::Dead).await;
    assert_eq!(workshop.file(file.id).await.state, FileState::Ready);
}

/// One attempt, and one second for it.
const SHORT: &str = "
name: short
when: 'true'
steps: [{name: digest, uses: digest, timeout_s: 1}]
retry: {attempts_max: 1}
";

#[tokio::test]
async fn a_step_that_gets_no_bytes_is_stopped_when_its_time_is_over() {
    let workshop = Workshop::open(SHORT).await;
    workshop.storage.hold_contents(true);
    let worker = workshop.worker(1);
    let file = workshop.put("a", "x").await;
    let run = workshop.until_run_is(file.id, RunState::Dead).await;
    assert!(run.error.unwrap().contains("took longer than its 1 s"));
    workshop.until_nothing_is_read().await;
    // The slot is free again: nobody waits for a step that waits for ever.
    workshop.storage.hold_contents(false);
    let next = workshop.put("b", "x").await;
    workshop.until_file_is(next.id, FileState::Ready).await;
    worker.stopped().await;
}

#[tokio::test]
async fn a_content_that_does_not_open_costs_no_more_than_the_time_of_its_step() {
    let workshop = Workshop::open(SHORT).await;
    workshop.storage.hold_doors(true);
    let worker = workshop.worker(1);
    let file = workshop.put("a", "x").await;
    let run = workshop.until_run_is(file.id, RunState::Dead).await;
    assert!(run.error.unwrap().contains("took longer than its 1 s"));
    worker.stopped().await;
}

#[tokio::test]
async fn a_run_is_bounded_as_well_as_its_steps() {
    let rule = "
name: bounded
when: 'true'
timeout_s: 1
steps: [{name: digest, uses: digest}]
retry: {attempts_max: 1}
";
    let workshop = Workshop::open(rule).await;
    workshop.storage.hold_contents(true);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "x").await;
    let run = workshop.until_run_is(file.id, RunState::Dead).await;
    assert_eq!(run.steps[0].state, StepState::Failed);
    let lasted_ms = run.ended_at.unwrap().unix_ms() - run.started_at.unwrap().unix_ms();
    assert!(lasted_ms >= 1_000, "{lasted_ms} ms");
}
