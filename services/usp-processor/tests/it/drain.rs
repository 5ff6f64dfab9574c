//! How a processor stops.

use std::time::Duration;

use usp_model::{FileState, RunState, StepState};

use crate::support::Workshop;

const RULE: &str = "{name: r, when: 'true', steps: [{name: digest, uses: digest}]}";

#[tokio::test]
async fn a_stop_hands_running_work_back_and_costs_no_attempt() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.hold_contents(true);
    let worker = workshop.worker_with(|config| config.drain_timeout = Duration::from_millis(50));
    let file = workshop.put("a", "some content").await;
    workshop.until_a_content_is_held().await;
    worker.stopped().await;
    workshop.until_nothing_is_read().await;
    let run = workshop.run(file.id).await;
    assert_eq!((run.state, run.attempt), (RunState::Queued, 0));
    assert_eq!(run.steps[0].state, StepState::Pending);
    // Whoever comes next takes it at once: its lease did not have to end first.
    workshop.storage.hold_contents(false);
    let _next = workshop.worker(1);
    workshop.until_file_is(file.id, FileState::Ready).await;
    assert_eq!(workshop.run(file.id).await.attempt, 1);
}

#[tokio::test]
async fn a_stop_hands_back_what_waits_for_its_content_to_open() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.hold_doors(true);
    let worker = workshop.worker_with(|config| config.drain_timeout = Duration::from_millis(50));
    let file = workshop.put("a", "some content").await;
    workshop.until_a_door_is_held().await;
    worker.stopped().await;
    assert_eq!(workshop.run(file.id).await.state, RunState::Queued);
}

#[tokio::test]
async fn a_stop_lets_running_work_end_if_it_ends_in_time() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.hold_contents(true);
    let worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_a_content_is_held().await;
    worker.stop();
    let late = workshop.put("b", "too late for this worker").await;
    workshop.storage.hold_contents(false);
    worker.stopped().await;
    assert_eq!(workshop.file(file.id).await.state, FileState::Ready);
    // One that was already on its way to the worker may have been taken; none is left half done.
    let state = workshop.run(late.id).await.state;
    assert!(matches!(state, RunState::Queued | RunState::Succeeded), "{state}");
}

#[tokio::test]
async fn an_idle_processor_stops_soon() {
    let workshop = Workshop::open(RULE).await;
    let worker = workshop.worker(4);
    let file = workshop.put("a", "x").await;
    workshop.until_file_is(file.id, FileState::Ready).await;
    worker.stopped().await;
}
