//! Runs: planned with the commit, asked for by name, tried again, called off.

use std::time::Duration;

use serde_json::json;
use usp_api::NewFile;
use usp_model::{
    ErrorKind, FileRef, FileState, LeasedRun, ReportOutcome, RunOutcome, RunQuery, RunState, StepReport,
    StepState,
};

use crate::support::{House, LEASE_TIME, admin, bucket, eventually, key, label, pieces, rule};

facts! {
    runs_are_planned_with_the_commit,
    a_rule_that_is_asked_for_runs_whatever_its_condition_says,
    what_a_worker_reports_shows_at_once,
    a_permanent_failure_is_dead_at_once_and_fails_the_file,
    a_failure_worth_a_retry_waits_until_its_time,
    a_run_that_used_its_attempts_up_is_dead,
    a_run_that_is_not_required_fails_no_file,
    a_retry_begins_anew_and_heals_the_file,
    a_cancelled_run_ends_and_its_worker_is_told,
    runs_in_the_wrong_state_are_left_alone,
    a_run_of_a_deleted_file_is_gone,
    a_rule_can_be_tried_without_a_run,
    runs_are_listed_by_state_and_file,
}

const HELD: ReportOutcome = ReportOutcome::Held { run_cancelled: false };

fn step(name: &str, state: StepState) -> StepReport {
    StepReport {
        name: name.to_owned(),
        state,
        percent: if state == StepState::Succeeded { 100 } else { 40 },
        error: None,
        began_ms_ago: None,
        ended_ms_ago: None,
        report: None,
        labels: [].into(),
        metadata: [].into(),
    }
}

fn failed(is_permanent: bool) -> Option<RunOutcome> {
    Some(RunOutcome::Failed { reason: "line 3 is no line".to_owned(), is_permanent })
}

async fn state_of(house: &House, leased: &LeasedRun) -> (RunState, FileState) {
    let run = house.door.get_run(&admin(), leased.run.id).await.unwrap();
    let file = house.door.get_file(&admin(), FileRef::Id(leased.file.id), None).await.unwrap();
    (run.state, file.state)
}

async fn runs_are_planned_with_the_commit(house: House) {
    let file = house.file("audited/a", b"x").await;
    assert_eq!(file.state, FileState::Processing);
    let status = house.door.file_status(&admin(), file.id).await.unwrap();
    let run = &status.runs[0];
    assert_eq!((status.runs.len(), run.rule.as_str(), run.attempt), (1, "audit", 0));
    let steps: Vec<_> = run.steps.iter().map(|step| (step.name.as_str(), step.state)).collect();
    assert_eq!(steps, [("first", StepState::Pending), ("second", StepState::Pending)]);
    let leased = house.lease().await;
    assert_eq!((leased.run.id, leased.run.state, leased.run.attempt), (run.id, RunState::Running, 1));
    assert_eq!((leased.file, leased.rule.name), (file, rule("audit")));
}

async fn a_rule_that_is_asked_for_runs_whatever_its_condition_says(house: House) {
    let mut file = NewFile::at(bucket("default"), key("plain"));
    file.rule = Some(rule("by-hand"));
    let file = house.door.put(&admin(), file, pieces(b"x")).await.unwrap().file;
    assert_eq!(house.lease().await.run.rule, rule("by-hand"));
    let run = house.door.create_run(&admin(), file.id, rule("urgent")).await.unwrap();
    assert_eq!(house.lease().await.run.id, run.id);
    let unknown = house.door.create_run(&admin(), file.id, rule("unheard-of")).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let mut refused = NewFile::at(bucket("default"), key("refused"));
    refused.rule = Some(rule("unheard-of"));
    let endless = Box::pin(futures::stream::repeat_with(|| Ok(bytes::Bytes::from_static(b"line\n"))));
    let refused = house.door.put(&admin(), refused, endless).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

async fn what_a_worker_reports_shows_at_once(house: House) {
    house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    let first = StepReport {
        report: Some(json!({"format": "text"})),
        labels: [(label("seen"), "yes".to_owned())].into(),
        ..step("first", StepState::Succeeded)
    };
    let held = house.report(&leased, vec![first, step("second", StepState::Running)], None).await;
    assert_eq!(held, HELD);
    let run = house.door.get_run(&admin(), leased.run.id).await.unwrap();
    assert_eq!((run.steps[0].state, run.steps[1].percent), (StepState::Succeeded, 40));
    let file = house.find("audited/a").await.unwrap();
    assert_eq!(file.reports["first"], json!({"format": "text"}));
    assert_eq!(file.labels[&label("seen")], "yes");
    let last = vec![step("second", StepState::Succeeded)];
    assert_eq!(house.report(&leased, last, Some(RunOutcome::Succeeded)).await, HELD);
    assert_eq!(state_of(&house, &leased).await, (RunState::Succeeded, FileState::Ready));
}

async fn a_permanent_failure_is_dead_at_once_and_fails_the_file(house: House) {
    house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    assert_eq!(house.report(&leased, vec![step("first", StepState::Failed)], failed(true)).await, HELD);
    assert_eq!(state_of(&house, &leased).await, (RunState::Dead, FileState::Failed));
    let run = house.door.get_run(&admin(), leased.run.id).await.unwrap();
    assert_eq!((run.attempt, run.error.as_deref()), (1, Some("line 3 is no line")));
    assert_eq!(run.steps[1].state, StepState::Skipped);
}

async fn a_failure_worth_a_retry_waits_until_its_time(house: House) {
    house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    assert_eq!(house.report(&leased, Vec::new(), failed(false)).await, HELD);
    assert_eq!(state_of(&house, &leased).await, (RunState::Retrying, FileState::Processing));
    assert!(house.lease_now().await.is_empty(), "not before its time");
    house.advance(Duration::from_secs(1));
    let again = house.lease().await;
    assert_eq!((again.run.id, again.run.attempt), (leased.run.id, 2));
    assert!(again.lease_no > leased.lease_no);
}

async fn a_run_that_used_its_attempts_up_is_dead(house: House) {
    house.file("audited/a", b"x").await;
    // Workers that are never heard of again: that counts as well.
    house.lease().await;
    house.advance(LEASE_TIME);
    let leased = house.lease().await;
    assert_eq!(leased.run.attempt, 2);
    house.advance(LEASE_TIME);
    eventually("the last attempt to be given up", async || {
        assert!(house.lease_now().await.is_empty(), "there are two attempts in all");
        (state_of(&house, &leased).await.0 == RunState::Dead).then_some(())
    })
    .await;
    assert_eq!(state_of(&house, &leased).await.1, FileState::Failed);
}

async fn a_run_that_is_not_required_fails_no_file(house: House) {
    house.file("optional/a", b"x").await;
    let leased = house.lease().await;
    house.report(&leased, Vec::new(), failed(true)).await;
    assert_eq!(state_of(&house, &leased).await, (RunState::Dead, FileState::Ready));
}

async fn a_retry_begins_anew_and_heals_the_file(house: House) {
    house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    house.report(&leased, vec![step("first", StepState::Failed)], failed(true)).await;
    let again = house.door.retry_run(&admin(), leased.run.id).await.unwrap();
    assert_eq!((again.state, again.attempt, again.error), (RunState::Queued, 0, None));
    assert!(again.steps.iter().all(|step| step.state == StepState::Pending));
    assert_eq!(state_of(&house, &leased).await, (RunState::Queued, FileState::Processing));
    let leased = house.lease().await;
    assert_eq!(house.report(&leased, Vec::new(), Some(RunOutcome::Succeeded)).await, HELD);
    assert_eq!(state_of(&house, &leased).await, (RunState::Succeeded, FileState::Ready));
}

async fn a_cancelled_run_ends_and_its_worker_is_told(house: House) {
    house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    let cancelled = house.door.cancel_run(&admin(), leased.run.id).await.unwrap();
    assert_eq!(cancelled.state, RunState::Cancelled);
    let told = ReportOutcome::Held { run_cancelled: true };
    assert_eq!(house.report(&leased, Vec::new(), None).await, told);
    let late = StepReport { report: Some(json!("too late")), ..step("first", StepState::Succeeded) };
    assert_eq!(house.report(&leased, vec![late], Some(RunOutcome::Succeeded)).await, told);
    assert_eq!(state_of(&house, &leased).await, (RunState::Cancelled, FileState::Failed));
    assert!(house.find("audited/a").await.unwrap().reports.is_empty());
}

async fn runs_in_the_wrong_state_are_left_alone(house: House) {
    house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    let refused = house.door.retry_run(&admin(), leased.run.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    house.report(&leased, Vec::new(), Some(RunOutcome::Succeeded)).await;
    let refused = house.door.retry_run(&admin(), leased.run.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let refused = house.door.cancel_run(&admin(), leased.run.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

async fn a_run_of_a_deleted_file_is_gone(house: House) {
    let file = house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    house.door.delete_file(&admin(), FileRef::Id(file.id), None).await.unwrap();
    let gone = house.door.get_run(&admin(), leased.run.id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(house.report(&leased, Vec::new(), None).await, ReportOutcome::Lost);
    assert!(house.lease_now().await.is_empty());
}

async fn a_rule_can_be_tried_without_a_run(house: House) {
    let file = house.file("plain", b"x").await;
    let tried = house.door.test_rule(&admin(), rule("audit"), FileRef::Id(file.id)).await.unwrap();
    assert_eq!((tried.matches, tried.error), (false, None));
    assert_eq!(tried.steps, ["first (sniff)", "second (digest)"]);
    let there = house.file("optional/a", b"x").await;
    let tried = house.door.test_rule(&admin(), rule("optional"), FileRef::Id(there.id)).await.unwrap();
    assert!(tried.matches);
    let names = house.door.list_rules(&admin()).await.unwrap();
    let names: Vec<_> = names.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["audit", "by-hand", "gate", "of-usp", "optional", "single", "urgent"]);
    assert!(house.door.file_status(&admin(), file.id).await.unwrap().runs.is_empty());
}

async fn runs_are_listed_by_state_and_file(house: House) {
    let file = house.file("audited/a", b"x").await;
    let leased = house.lease().await;
    house.report(&leased, Vec::new(), failed(true)).await;
    house.file("audited/b", b"x").await;
    let list = async |query: RunQuery| {
        let page = house.door.list_runs(&admin(), RunQuery { limit: 10, ..query }).await.unwrap();
        page.runs.into_iter().map(|run| run.file_id).collect::<Vec<_>>()
    };
    assert_eq!(list(RunQuery::default()).await.len(), 2);
    let dead = RunQuery { state: Some(RunState::Dead), ..RunQuery::default() };
    assert_eq!(list(dead).await, [file.id]);
    assert_eq!(list(RunQuery { file: Some(file.id), ..RunQuery::default() }).await, [file.id]);
    let by_rule = RunQuery { rule: Some(rule("optional")), ..RunQuery::default() };
    assert!(list(by_rule).await.is_empty());
}
