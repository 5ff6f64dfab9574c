//! A storage that is away, or refuses what it is told.

use usp_model::{ErrorKind, FileState, RunState};

use crate::support::{Workshop, eventually};

const RULE: &str = "
name: r
when: 'true'
steps: [{name: digest, uses: digest}]
retry: {attempts_max: 3, backoff_ms_min: 10, backoff_ms_max: 10}
";

#[tokio::test]
async fn a_report_is_tried_again_until_storage_is_back() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.hold_contents(true);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_a_content_is_held().await;
    workshop.storage.go_away(true);
    workshop.storage.hold_contents(false);
    eventually("two reports in vain", async || (workshop.storage.ends_refused() >= 2).then_some(())).await;
    assert_eq!(workshop.run(file.id).await.state, RunState::Running);
    workshop.storage.go_away(false);
    let file = workshop.until_file_is(file.id, FileState::Ready).await;
    assert_eq!(workshop.run(file.id).await.attempt, 1);
    assert!(file.reports.contains_key("digest"));
}

#[tokio::test]
async fn a_processor_waits_for_a_storage_that_is_away() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.go_away(true);
    let worker = workshop.worker(2);
    let file = workshop.put("a", "some content").await;
    workshop.storage.go_away(false);
    workshop.until_file_is(file.id, FileState::Ready).await;
    workshop.storage.go_away(true);
    worker.stopped().await;
}

#[tokio::test]
async fn a_report_that_storage_refuses_ends_the_run_with_the_reason() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.refuse_next_end(ErrorKind::InvalidInput);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_file_is(file.id, FileState::Failed).await;
    let run = workshop.run(file.id).await;
    assert_eq!((run.state, run.attempt), (RunState::Dead, 1));
    assert!(run.error.unwrap().contains("a fault was put here by the test"));
    assert!(workshop.file(file.id).await.reports.is_empty());
}

#[tokio::test]
async fn a_report_that_storage_could_not_write_is_worth_another_attempt() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.refuse_next_end(ErrorKind::Internal);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_file_is(file.id, FileState::Ready).await;
    assert_eq!(workshop.run(file.id).await.attempt, 2);
}
