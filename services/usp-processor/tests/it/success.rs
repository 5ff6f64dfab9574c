//! What a processor makes of files when nothing goes wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use usp_api::StorageCalls;
use usp_model::{EventKind, FileState, RunState, StepState};
use usp_storage::built_in_rules;
use usp_testkit::generate;

use crate::support::{Workshop, admin};

#[tokio::test]
async fn a_table_ends_ready_with_its_profile() {
    const ROWS: u64 = 2_000;
    let workshop = Workshop::with(built_in_rules().unwrap(), Duration::from_secs(600)).await;
    let worker = workshop.worker(1);
    let file = workshop.put("2026/orders.csv", generate::csv(1, ROWS)).await;
    assert_eq!(file.state, FileState::Processing);
    let file = workshop.until_file_is(file.id, FileState::Ready).await;
    let profile = &file.reports["profile"];
    assert_eq!(profile["rows"], ROWS);
    let names: Vec<_> = profile["columns"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(names, generate::CSV_COLUMNS.map(|(name, _)| name));
    let run = workshop.run(file.id).await;
    assert_eq!((run.state, run.attempt, run.error), (RunState::Succeeded, 1, None));
    for step in run.steps {
        assert_eq!((step.state, step.percent, step.attempt), (StepState::Succeeded, 100, 1));
        assert!(step.started_at <= step.ended_at && step.ended_at.is_some());
    }
    worker.stopped().await;
}

#[tokio::test]
async fn a_running_step_tells_how_far_it_is() {
    let workshop = Workshop::open("{name: r, when: 'true', steps: [{name: digest, uses: digest}]}").await;
    workshop.storage.hold_contents(true);
    let _worker = workshop.worker(1);
    let file = workshop.put("a", generate::bytes(1, 1 << 20)).await;
    crate::support::eventually("all but the end to be read", async || {
        (workshop.run(file.id).await.steps[0].percent == 99).then_some(())
    })
    .await;
    let step = workshop.run(file.id).await.steps.remove(0);
    assert_eq!((step.state, step.ended_at), (StepState::Running, None));
    workshop.storage.hold_contents(false);
    workshop.until_file_is(file.id, FileState::Ready).await;
}

#[tokio::test]
async fn a_step_whose_findings_are_only_noted_lets_the_file_pass() {
    let rule = "
name: lenient
when: 'true'
steps:
  - {name: check, uses: validate, with: {columns: [{name: id, type: integer}], on_invalid: report}}
  - {name: after, uses: sniff}
";
    let workshop = Workshop::open(rule).await;
    let _worker = workshop.worker(1);
    let file = workshop.put("a.csv", "id\n1\nx\n").await;
    let file = workshop.until_file_is(file.id, FileState::Ready).await;
    assert_eq!(file.reports["check"]["valid"], json!(false));
    assert!(file.reports.contains_key("after"));
}

#[tokio::test]
async fn many_files_are_processed_once_each_by_two_at_a_time() {
    const COUNT: u64 = 200;
    let workshop = Workshop::with(built_in_rules().unwrap(), Duration::from_secs(600)).await;
    let _worker = workshop.worker(2);
    let puts = (0..COUNT).map(|seed| {
        let workshop = &workshop;
        async move { workshop.put(&format!("many/{seed}.csv"), generate::csv(seed, 3)).await.id }
    });
    let files = join_all(puts).await;
    for file in &files {
        workshop.until_file_is(*file, FileState::Ready).await;
        let run = workshop.run(*file).await;
        assert_eq!((run.state, run.attempt), (RunState::Succeeded, 1));
    }
    for kind in [EventKind::RunStarted, EventKind::RunSucceeded] {
        let events = workshop.events(kind).await;
        let distinct: BTreeSet<_> = events.iter().map(|event| event.file_id).collect();
        assert_eq!((events.len(), distinct.len()), (files.len(), files.len()), "{kind}");
    }
    assert_eq!(workshop.storage.stats(&admin()).await.unwrap().totals.runs_waiting, 0);
}
