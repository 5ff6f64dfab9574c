//! Leases: one worker at a time, and a number that fences off the others.

use std::time::Duration;

use serde_json::json;
use usp_model::{ReportOutcome, RunOutcome, RunState, StepReport, StepState};

use crate::support::{House, LEASE_TIME, admin, soon, worker};

facts! {
    a_leased_run_is_nobody_elses,
    a_report_keeps_the_lease,
    a_zombie_writes_nothing,
    a_run_that_is_handed_back_is_due_at_once_and_costs_no_attempt,
    a_wait_for_work_ends_when_there_is_some,
    a_wait_for_work_ends_when_there_is_none,
    as_many_runs_as_wanted_are_handed_out_each_once,
}

const HELD: ReportOutcome = ReportOutcome::Held { run_cancelled: false };

async fn a_leased_run_is_nobody_elses(house: House) {
    house.file("audited/a", b"x").await;
    house.lease().await;
    house.advance(LEASE_TIME - Duration::from_millis(1));
    assert!(house.lease_now().await.is_empty());
}

async fn a_report_keeps_the_lease(house: House) {
    house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    house.advance(LEASE_TIME - Duration::from_millis(1));
    assert_eq!(house.report(&leased, Vec::new(), None).await, HELD);
    house.advance(LEASE_TIME - Duration::from_millis(1));
    assert!(house.lease_now().await.is_empty());
    assert_eq!(house.report(&leased, Vec::new(), Some(RunOutcome::Succeeded)).await, HELD);
}

async fn a_zombie_writes_nothing(house: House) {
    house.file("audited/a", b"x").await;
    let zombie = house.lease().await;
    house.advance(LEASE_TIME);
    let heir = house.lease().await;
    assert_eq!((heir.run.id, heir.run.attempt), (zombie.run.id, 2));
    let late = StepReport {
        name: "first".to_owned(),
        state: StepState::Succeeded,
        percent: 100,
        error: None,
        began_ms_ago: None,
        ended_ms_ago: None,
        report: Some(json!("from the grave")),
        labels: [].into(),
        metadata: [].into(),
    };
    for outcome in [None, Some(RunOutcome::Succeeded), Some(RunOutcome::Released)] {
        assert_eq!(house.report(&zombie, vec![late.clone()], outcome).await, ReportOutcome::Lost);
    }
    let run = house.door.get_run(&admin(), heir.run.id).await.unwrap();
    assert_eq!((run.state, run.attempt), (RunState::Running, 2));
    assert_eq!(run.steps[0].state, StepState::Pending);
    assert!(house.find("audited/a").await.unwrap().reports.is_empty());
    assert_eq!(house.report(&heir, vec![late], Some(RunOutcome::Succeeded)).await, HELD);
    assert_eq!(house.report(&heir, Vec::new(), None).await, ReportOutcome::Lost);
}

async fn a_run_that_is_handed_back_is_due_at_once_and_costs_no_attempt(house: House) {
    house.file("audited/a", b"x").await;
    let first = house.lease().await;
    assert_eq!(house.report(&first, Vec::new(), Some(RunOutcome::Released)).await, HELD);
    let again = house.lease().await;
    assert_eq!((again.run.id, again.run.attempt), (first.run.id, 1));
    assert!(again.lease_no > first.lease_no);
    assert_eq!(house.report(&first, Vec::new(), None).await, ReportOutcome::Lost);
}

async fn a_wait_for_work_ends_when_there_is_some(house: House) {
    const LONG_MS: u64 = 30_000;
    let door = house.door.clone();
    let waiting =
        tokio::spawn(async move { door.lease_runs(&worker(), "early".to_owned(), 1, LONG_MS).await });
    let file = house.file("audited/a", b"x").await;
    let leased = soon(waiting).await.unwrap().unwrap();
    assert_eq!(leased[0].file.id, file.id);
}

async fn a_wait_for_work_ends_when_there_is_none(house: House) {
    let leased = house.door.lease_runs(&worker(), "idle".to_owned(), 1, 20).await.unwrap();
    assert!(leased.is_empty());
}

async fn as_many_runs_as_wanted_are_handed_out_each_once(house: House) {
    const COUNT: usize = 12;
    for index in 0..COUNT {
        house.file(&format!("audited/{index}"), b"x").await;
    }
    let mut leased = Vec::new();
    while leased.len() < COUNT {
        let got = house.door.lease_runs(&worker(), "worker".to_owned(), 5, 1_000).await.unwrap();
        assert!(got.len() <= 5);
        leased.extend(got.into_iter().map(|leased| leased.run.id));
    }
    leased.sort();
    leased.dedup();
    assert_eq!(leased.len(), COUNT);
    assert!(house.lease_now().await.is_empty());
}
