//! Runs that a processor holds, and loses.

use std::time::Duration;

use usp_api::StorageCalls;
use usp_model::{FileState, ReportOutcome, RunOutcome, RunReport, RunState, StepReport, StepState};

use crate::support::{Workshop, admin, eventually, rival};

const RULE: &str = "
name: slow
when: 'true'
steps: [{name: digest, uses: digest}]
retry: {attempts_max: 5, backoff_ms_min: 10, backoff_ms_max: 10}
";

#[tokio::test]
async fn a_cancelled_run_stops_its_step_and_frees_its_slot() {
    let workshop = Workshop::open(RULE).await;
    workshop.storage.hold_contents(true);
    let worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_a_content_is_held().await;
    let run = workshop.run(file.id).await;
    workshop.storage.cancel_run(&admin(), run.id).await.unwrap();
    workshop.until_nothing_is_read().await;
    workshop.storage.hold_contents(false);
    let next = workshop.put("b", "other content").await;
    workshop.until_file_is(next.id, FileState::Ready).await;
    let file = workshop.file(file.id).await;
    assert_eq!((file.state, file.reports.len()), (FileState::Failed, 0));
    assert_eq!(workshop.run(file.id).await.state, RunState::Cancelled);
    worker.stopped().await;
}

#[tokio::test]
async fn a_step_outlives_many_lease_times_as_long_as_its_worker_does() {
    let lease_time = Duration::from_millis(300);
    let workshop = Workshop::with(usp_storage::parse_rules(RULE).unwrap(), lease_time).await;
    workshop.storage.hold_contents(true);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_a_content_is_held().await;
    let first = workshop.run(file.id).await.started_at.unwrap();
    eventually("some lease times to pass", async || {
        let now = usp_rt::Clock::now_unix_ms(&usp_rt::SystemClock);
        (now - first.unix_ms() > 1_200).then_some(())
    })
    .await;
    workshop.storage.hold_contents(false);
    workshop.until_file_is(file.id, FileState::Ready).await;
    assert_eq!(workshop.run(file.id).await.attempt, 1);
}

#[tokio::test]
async fn a_step_goes_on_while_reports_go_unanswered_and_others_follow() {
    let workshop = Workshop::with(usp_storage::parse_rules(RULE).unwrap(), Duration::from_secs(30)).await;
    workshop.storage.hold_contents(true);
    workshop.storage.leave_keeps_unanswered();
    let _worker = workshop.worker(1);
    let file = workshop.put("a", "some content").await;
    workshop.until_a_content_is_held().await;
    eventually("another report after the first", async || {
        (workshop.storage.keeps_unanswered() >= 2).then_some(())
    })
    .await;
    workshop.storage.hold_contents(false);
    workshop.until_file_is(file.id, FileState::Ready).await;
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let lease_time = Duration::from_millis(300);
    let workshop = Workshop::with(usp_storage::parse_rules(RULE).unwrap(), lease_time).await;
    workshop.storage.hold_contents(true);
    // It gives no sign of life while its step runs.
    let slow = workshop.worker_with(|config| config.heartbeat = Duration::from_secs(600));
    let file = workshop.put("a", "some content").await;
    workshop.until_a_content_is_held().await;
    slow.stop();
    let heir = eventually("the lease to be over", async || {
        workshop.storage.inner.lease_runs(&rival(), "rival".to_owned(), 1, 100).await.unwrap().pop()
    })
    .await;
    assert_eq!(heir.run.attempt, 2);
    // The first worker finishes its step and reports success: too late.
    workshop.storage.hold_contents(false);
    slow.stopped().await;
    assert!(workshop.file(file.id).await.reports.is_empty());
    let report = RunReport {
        run: heir.run.id,
        lease_no: heir.lease_no,
        steps: vec![StepReport {
            name: "digest".to_owned(),
            state: StepState::Succeeded,
            percent: 100,
            error: None,
            began_ms_ago: None,
            ended_ms_ago: None,
            report: Some("of the heir".into()),
            labels: [].into(),
            metadata: [].into(),
        }],
        outcome: Some(RunOutcome::Succeeded),
    };
    let outcome = workshop.storage.report_run(&rival(), report).await.unwrap();
    // On a slow machine the heir's lease may be over by now; then the run is simply due again.
    if outcome != ReportOutcome::Lost {
        assert_eq!(workshop.file(file.id).await.reports["digest"], "of the heir");
    }
}
