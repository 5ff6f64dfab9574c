use std::collections::BTreeMap;

use serde_json::json;
use usp_catalog::records::{NewRun, ReportRun};
use usp_model::{
    ErrorKind, EventBody, EventKind, File, FileId, FileRef, FileState, LeasedRun, Release, ReportOutcome,
    Run, RunId, RunOutcome, RunQuery, RunReport, RunState, StepReport, StepState,
};

use super::world::{World, act, at, bucket, kind_of, new_run, rule, rule_name, tags};

const LEASE_MS: i64 = 30_000;

/// A file under `text` with these runs.
async fn put_with_runs(world: &World, text: &str, runs: Vec<NewRun>, release: Release) -> File {
    let mut new = world.new_version(text, 1);
    new.runs = runs;
    new.release = release;
    world.catalog.commit_version(act(0), new).await.unwrap().file
}

async fn claim(world: &World, id: RunId, ms: i64) -> Option<LeasedRun> {
    world.catalog.claim_run(act(ms), &id, at(ms + LEASE_MS)).await.unwrap()
}

/// What a worker says, and when.
#[derive(Clone)]
struct Told {
    report: RunReport,
    ms: i64,
}

fn report(leased: &LeasedRun, outcome: Option<RunOutcome>, ms: i64) -> Told {
    let (run, lease_no) = (leased.run.id, leased.lease_no);
    Told { report: RunReport { run, lease_no, steps: Vec::new(), outcome }, ms }
}

async fn report_run(world: &World, Told { report, ms }: Told) -> usp_model::Result<ReportOutcome> {
    let report = ReportRun { report, lease_until: at(ms + LEASE_MS), jitter: 1.0 };
    world.catalog.report_run(act(ms), report).await
}

fn step(name: &str, state: StepState) -> StepReport {
    StepReport {
        name: name.to_owned(),
        state,
        percent: 50,
        error: None,
        began_ms_ago: None,
        ended_ms_ago: None,
        report: None,
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
    }
}

fn failed(is_permanent: bool) -> Option<RunOutcome> {
    Some(RunOutcome::Failed { reason: "no luck".to_owned(), is_permanent })
}

/// Reports and expects that the lease held.
async fn tell(world: &World, told: Told) -> Run {
    let id = told.report.run;
    let outcome = report_run(world, told).await.unwrap();
    assert_eq!(outcome, ReportOutcome::Held { run_cancelled: false });
    world.catalog.run(&id).await.unwrap()
}

async fn file_now(world: &World, id: FileId) -> File {
    world.catalog.file(&FileRef::Id(id), None).await.unwrap().file
}

pub(crate) async fn a_claimed_run_comes_with_its_rule_its_file_and_a_number(world: World) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let leased = claim(&world, run.id, 5).await.unwrap();
    assert_eq!((leased.lease_no, leased.expires_at), (1, at(5 + LEASE_MS)));
    assert_eq!(leased.rule, rule("profile"));
    assert_eq!((leased.file.id, leased.file.version), (file.id, 1));
    let now = &leased.run;
    assert_eq!((now.state, now.attempt, now.started_at), (RunState::Running, 1, Some(at(5))));
    assert_eq!(world.catalog.run(&run.id).await.unwrap(), leased.run);
    assert!(claim(&world, run.id, 6).await.is_none(), "held by a live lease");
    assert!(claim(&world, RunId::random().unwrap(), 6).await.is_none());
    assert_eq!(world.event_kinds().await.last(), Some(&EventKind::RunStarted));
}

pub(crate) async fn a_run_that_succeeds_makes_its_file_ready_and_publishes_with_the_end_of_a_step(
    world: World,
) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::AfterSuccess).await;
    assert!(!file.released);
    let leased = claim(&world, run.id, 0).await.unwrap();
    let mut going = report(&leased, None, 10);
    going.report.steps =
        vec![StepReport { report: Some(json!({"n": 1})), ..step("first", StepState::Running) }];
    let now = tell(&world, going).await;
    assert_eq!(
        (now.steps[0].state, now.steps[0].percent, now.steps[0].started_at),
        (StepState::Running, 50, Some(at(10)))
    );
    assert!(file_now(&world, file.id).await.reports.is_empty(), "a running step publishes nothing");
    let mut ended = report(&leased, Some(RunOutcome::Succeeded), 20);
    ended.report.steps = vec![
        StepReport {
            report: Some(json!({"rows": 3})),
            labels: tags(&[("pii", "none")]),
            metadata: tags(&[("rows", "3")]),
            ..step("first", StepState::Succeeded)
        },
        step("second", StepState::Skipped),
    ];
    let now = tell(&world, ended).await;
    assert_eq!((now.state, now.ended_at), (RunState::Succeeded, Some(at(20))));
    assert_eq!((now.steps[0].ended_at, now.steps[0].attempt), (Some(at(20)), 1));
    let file = file_now(&world, file.id).await;
    assert_eq!((file.state, file.released, file.updated_at), (FileState::Ready, true, at(20)));
    assert_eq!(file.reports["first"], json!({"rows": 3}));
    assert_eq!((file.labels, file.metadata), (tags(&[("pii", "none")]), tags(&[("rows", "3")])));
    let kinds = world.event_kinds().await;
    assert_eq!(kinds[kinds.len() - 2..], [EventKind::RunSucceeded, EventKind::FileReady]);
    assert!(claim(&world, run.id, 100_000).await.is_none());
}

pub(crate) async fn a_worker_whose_lease_was_taken_over_writes_nothing(world: World) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let zombie = claim(&world, run.id, 0).await.unwrap();
    let heir = claim(&world, run.id, LEASE_MS).await.unwrap();
    assert_eq!((heir.lease_no, heir.run.attempt), (2, 2));
    let before = (world.catalog.run(&run.id).await.unwrap(), world.events().await.len());
    let mut late = report(&zombie, Some(RunOutcome::Succeeded), LEASE_MS + 1);
    late.report.steps = vec![StepReport { report: Some(json!(1)), ..step("first", StepState::Succeeded) }];
    assert_eq!(report_run(&world, late).await.unwrap(), ReportOutcome::Lost);
    assert_eq!((world.catalog.run(&run.id).await.unwrap(), world.events().await.len()), before);
    assert!(file_now(&world, file.id).await.reports.is_empty());
    let now = tell(&world, report(&heir, Some(RunOutcome::Succeeded), LEASE_MS + 2)).await;
    assert_eq!(now.state, RunState::Succeeded);
    let again = report(&heir, Some(RunOutcome::Succeeded), LEASE_MS + 3);
    assert_eq!(report_run(&world, again).await.unwrap(), ReportOutcome::Lost);
}

pub(crate) async fn a_late_word_that_a_step_runs_does_not_undo_its_end(world: World) {
    let run = new_run("profile");
    put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let leased = claim(&world, run.id, 0).await.unwrap();
    let say = async |state, ms| {
        let steps = vec![step("first", state)];
        let mut told = report(&leased, None, ms);
        told.report.steps = steps;
        tell(&world, told).await
    };
    say(StepState::Running, 1).await;
    let ended = say(StepState::Succeeded, 2).await;
    assert_eq!(say(StepState::Running, 3).await.steps, ended.steps);
}

pub(crate) async fn a_lease_that_is_extended_is_not_taken_over(world: World) {
    let run = new_run("profile");
    put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let leased = claim(&world, run.id, 0).await.unwrap();
    tell(&world, report(&leased, None, 20_000)).await;
    assert!(claim(&world, run.id, LEASE_MS).await.is_none());
    assert!(claim(&world, run.id, 20_000 + LEASE_MS).await.is_some());
}

pub(crate) async fn a_failed_attempt_waits_and_the_last_one_kills_the_run_and_fails_the_file(world: World) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let mut ms = 0;
    for attempt in 1..=3 {
        let leased = claim(&world, run.id, ms).await.unwrap();
        assert_eq!(leased.run.attempt, attempt);
        let mut told = report(&leased, failed(false), ms);
        told.report.steps =
            vec![StepReport { error: Some("bad".to_owned()), ..step("first", StepState::Failed) }];
        let now = tell(&world, told).await;
        assert_eq!(now.error.as_deref(), Some("no luck"));
        // It doubles with each attempt.
        let wait_ms = 500 << attempt;
        if attempt < 3 {
            assert_eq!((now.state, now.next_attempt_at), (RunState::Retrying, Some(at(ms + wait_ms))));
            assert_eq!(file_now(&world, file.id).await.state, FileState::Processing);
            assert!(claim(&world, run.id, ms + wait_ms - 1).await.is_none(), "not due yet");
        } else {
            assert_eq!((now.state, now.next_attempt_at), (RunState::Dead, None));
            assert_eq!(now.steps[1].state, StepState::Skipped);
        }
        ms += wait_ms;
    }
    assert_eq!(file_now(&world, file.id).await.state, FileState::Failed);
    assert!(claim(&world, run.id, 1_000_000).await.is_none());
    let dead =
        world.events().await.into_iter().rev().find(|event| event.kind() == EventKind::RunDead).unwrap();
    let EventBody::Run(dead) = dead.body else { panic!("{dead:?} is no event of a run") };
    assert_eq!(
        (dead.step.as_deref(), dead.error.as_deref(), dead.attempt),
        (Some("first"), Some("no luck"), 3)
    );
    assert_eq!(world.catalog.totals().await.unwrap().runs_dead, 1);
}

pub(crate) async fn a_permanent_failure_kills_the_run_at_the_first_attempt(world: World) {
    let run = new_run("profile");
    put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let leased = claim(&world, run.id, 0).await.unwrap();
    let now = tell(&world, report(&leased, failed(true), 1)).await;
    assert_eq!((now.state, now.attempt), (RunState::Dead, 1));
}

pub(crate) async fn crashes_count_as_attempts_until_none_is_left(world: World) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    for attempt in 0..3 {
        assert!(claim(&world, run.id, attempt * LEASE_MS).await.is_some());
    }
    assert!(claim(&world, run.id, 3 * LEASE_MS).await.is_none());
    let now = world.catalog.run(&run.id).await.unwrap();
    assert_eq!((now.state, now.attempt), (RunState::Dead, 3));
    assert!(now.error.unwrap().contains("lease"));
    assert_eq!(file_now(&world, file.id).await.state, FileState::Failed);
}

pub(crate) async fn a_run_handed_back_is_due_at_once_and_its_attempt_does_not_count(world: World) {
    let run = new_run("profile");
    put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let leased = claim(&world, run.id, 0).await.unwrap();
    let mut handed_back = report(&leased, Some(RunOutcome::Released), 7);
    handed_back.report.steps = vec![step("first", StepState::Running)];
    let now = tell(&world, handed_back).await;
    assert_eq!((now.state, now.attempt, now.steps[0].state), (RunState::Queued, 0, StepState::Pending));
    let again = claim(&world, run.id, 7).await.unwrap();
    assert_eq!((again.run.attempt, again.lease_no), (1, 2));
}

pub(crate) async fn a_dead_run_that_is_retried_takes_its_file_to_processing_and_then_to_ready(world: World) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::AfterSuccess).await;
    assert_eq!(kind_of(world.catalog.retry_run(act(0), &run.id).await), ErrorKind::Conflict);
    let leased = claim(&world, run.id, 0).await.unwrap();
    tell(&world, report(&leased, failed(true), 1)).await;
    let failed_file = file_now(&world, file.id).await;
    assert_eq!((failed_file.state, failed_file.released), (FileState::Failed, false));
    let retried = world.catalog.retry_run(act(2), &run.id).await.unwrap();
    assert_eq!((retried.state, retried.attempt, retried.error), (RunState::Queued, 0, None));
    assert!(retried.steps.iter().all(|step| step.state == StepState::Pending));
    assert_eq!(file_now(&world, file.id).await.state, FileState::Processing);
    let leased = claim(&world, run.id, 2).await.unwrap();
    assert_eq!((leased.run.attempt, leased.lease_no), (1, 2));
    tell(&world, report(&leased, Some(RunOutcome::Succeeded), 3)).await;
    let ready = file_now(&world, file.id).await;
    assert_eq!((ready.state, ready.released), (FileState::Ready, true));
    let absent = world.catalog.retry_run(act(2), &RunId::random().unwrap()).await;
    assert_eq!(kind_of(absent), ErrorKind::NotFound);
}

pub(crate) async fn a_file_is_ready_once_all_ended_and_an_optional_death_is_only_noted(world: World) {
    let (needed, optional) = (new_run("profile"), NewRun { required: false, ..new_run("profile") });
    let runs = vec![needed.clone(), optional.clone()];
    let file = put_with_runs(&world, "a", runs, Release::AfterSuccess).await;
    let leased = claim(&world, needed.id, 0).await.unwrap();
    tell(&world, report(&leased, Some(RunOutcome::Succeeded), 1)).await;
    let waiting = file_now(&world, file.id).await;
    assert_eq!((waiting.state, waiting.released), (FileState::Processing, false));
    let leased = claim(&world, optional.id, 1).await.unwrap();
    tell(&world, report(&leased, failed(true), 2)).await;
    let ready = file_now(&world, file.id).await;
    assert_eq!((ready.state, ready.released), (FileState::Ready, true));
}

pub(crate) async fn a_cancelled_run_stops_its_worker_and_its_file_is_not_released(world: World) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::AfterSuccess).await;
    let leased = claim(&world, run.id, 0).await.unwrap();
    let cancelled = world.catalog.cancel_run(act(5), &run.id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.ended_at), (RunState::Cancelled, Some(at(5))));
    let late = report(&leased, Some(RunOutcome::Succeeded), 6);
    let outcome = report_run(&world, late).await.unwrap();
    assert_eq!(outcome, ReportOutcome::Held { run_cancelled: true });
    assert_eq!(world.catalog.run(&run.id).await.unwrap().state, RunState::Cancelled);
    let file = file_now(&world, file.id).await;
    assert_eq!((file.state, file.released), (FileState::Failed, false));
    assert_eq!(kind_of(world.catalog.cancel_run(act(7), &run.id).await), ErrorKind::Conflict);
    assert_eq!(world.catalog.retry_run(act(8), &run.id).await.unwrap().state, RunState::Queued);
    let absent = world.catalog.cancel_run(act(2), &RunId::random().unwrap()).await;
    assert_eq!(kind_of(absent), ErrorKind::NotFound);
}

pub(crate) async fn runs_of_a_superseded_version_end_without_touching_the_file(world: World) {
    let old = new_run("profile");
    let file = put_with_runs(&world, "a", vec![old.clone()], Release::Immediate).await;
    let leased = claim(&world, old.id, 0).await.unwrap();
    let newer = world.put("a", 2).await.file;
    assert_eq!((newer.version, newer.state), (2, FileState::Ready));
    let mut told = report(&leased, failed(true), 1);
    told.report.steps = vec![StepReport {
        report: Some(json!("old")),
        labels: tags(&[("seen", "1")]),
        ..step("first", StepState::Failed)
    }];
    tell(&world, told).await;
    assert_eq!(file_now(&world, file.id).await, newer);
    let old_version = world.catalog.file(&FileRef::Id(file.id), Some(1)).await.unwrap().file;
    assert_eq!((old_version.state, old_version.labels), (FileState::Failed, tags(&[("seen", "1")])));
    assert_eq!(old_version.reports["first"], json!("old"));
    assert!(!world.event_kinds().await.contains(&EventKind::FileFailed));
}

pub(crate) async fn a_run_asked_for_later_takes_the_file_back_to_processing(world: World) {
    let file = world.put("a", 1).await.file;
    let run = new_run("profile");
    let made = world.catalog.create_run(act(5), &file.id, run.clone()).await.unwrap();
    assert_eq!(
        (made.id, made.state, made.version, made.bucket),
        (run.id, RunState::Queued, 1, bucket("default"))
    );
    assert_eq!(made.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(file_now(&world, file.id).await.state, FileState::Processing);
    assert_eq!(world.catalog.runs_of_file(&file.id).await.unwrap()[0].id, run.id);
    let absent = world.catalog.create_run(act(5), &FileId::random().unwrap(), new_run("profile")).await;
    assert_eq!(kind_of(absent), ErrorKind::NotFound);
}

pub(crate) async fn reports_that_break_a_limit_write_nothing_at_all(world: World) {
    let run = new_run("profile");
    let file = put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let leased = claim(&world, run.id, 0).await.unwrap();
    let before = world.catalog.run(&run.id).await.unwrap();
    let too_many: BTreeMap<_, _> =
        (0..65).map(|n| (format!("k{n}").parse().unwrap(), String::new())).collect();
    let bad = [
        step("third", StepState::Running),
        StepReport { report: Some(json!("x".repeat(1 << 20))), ..step("first", StepState::Succeeded) },
        StepReport { labels: too_many, ..step("first", StepState::Succeeded) },
    ];
    for bad in bad {
        let mut told = report(&leased, Some(RunOutcome::Succeeded), 1);
        told.report.steps =
            vec![StepReport { report: Some(json!(1)), ..step("second", StepState::Succeeded) }, bad];
        assert_eq!(kind_of(report_run(&world, told).await), ErrorKind::InvalidInput);
        assert_eq!(world.catalog.run(&run.id).await.unwrap(), before);
        assert!(file_now(&world, file.id).await.reports.is_empty());
    }
}

pub(crate) async fn due_runs_come_by_priority_and_leave_out_what_is_held_or_not_due_yet(world: World) {
    let runs: Vec<_> = (0..4).map(|priority| NewRun { priority, ..new_run("profile") }).collect();
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    put_with_runs(&world, "a", runs, Release::Immediate).await;
    let held = claim(&world, ids[0], 0).await.unwrap();
    let retrying = claim(&world, ids[1], 0).await.unwrap();
    tell(&world, report(&retrying, failed(false), 500)).await;
    let due = world.catalog.due_runs(at(600), 10).await.unwrap();
    let found: Vec<_> = due.iter().map(|due| (due.id, due.priority, due.due_at)).collect();
    assert_eq!(found, [(ids[3], 3, at(0)), (ids[2], 2, at(0))]);
    let due = world.catalog.due_runs(at(1_500), 10).await.unwrap();
    assert_eq!((due[2].id, due[2].due_at), (ids[1], at(1_500)));
    let due = world.catalog.due_runs(held.expires_at, 10).await.unwrap();
    assert_eq!((due.len(), due[0].id), (4, ids[0]));
    assert_eq!(world.catalog.due_runs(at(600), 2).await.unwrap().len(), 2);
    assert_eq!(world.catalog.totals().await.unwrap().runs_waiting, 3);
}

pub(crate) async fn run_lists_page_newest_first_by_every_filter(world: World) {
    world.catalog.create_bucket(act(0), bucket("other"), usp_model::BucketPolicy::default()).await.unwrap();
    world.catalog.put_rule(act(0), rule("scan")).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..40 {
        let mut new = world.new_version(&format!("k{number}"), number);
        let run = new_run(if number % 2 == 0 { "profile" } else { "scan" });
        ids.push(run.id);
        new.runs = vec![run];
        let name = if number % 4 == 0 { "other" } else { "default" };
        (new.bucket, new.domain) = (bucket(name), world.domain_of(name).await);
        world.catalog.commit_version(act(0), new).await.unwrap();
    }
    for id in ids.iter().step_by(5) {
        world.catalog.cancel_run(act(1), id).await.unwrap();
    }
    let expect = |takes: &dyn Fn(usize) -> bool| -> Vec<RunId> {
        (0..40).rev().filter(|number| takes(*number)).map(|number| ids[number]).collect()
    };
    let all = |query: RunQuery| {
        let catalog = std::sync::Arc::clone(&world.catalog);
        async move {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = catalog.list_runs(RunQuery { limit: 7, cursor, ..query.clone() }).await.unwrap();
                assert!(page.runs.len() <= 7);
                found.extend(page.runs.into_iter().map(|run| run.id));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    return found;
                }
            }
        }
    };
    assert_eq!(all(RunQuery::default()).await, expect(&|_| true));
    let cancelled = RunQuery { state: Some(RunState::Cancelled), ..RunQuery::default() };
    assert_eq!(all(cancelled.clone()).await, expect(&|number| number % 5 == 0));
    let scan = RunQuery { rule: Some(rule_name("scan")), ..RunQuery::default() };
    assert_eq!(all(scan).await, expect(&|number| number % 2 == 1));
    let other = RunQuery { bucket: Some(bucket("other")), ..cancelled };
    assert_eq!(all(other).await, expect(&|number| number % 20 == 0));
    let visible = RunQuery { buckets: Some(vec![bucket("other")]), ..RunQuery::default() };
    assert_eq!(all(visible).await, expect(&|number| number % 4 == 0));
    let file = world.catalog.run(&ids[3]).await.unwrap().file_id;
    assert_eq!(all(RunQuery { file: Some(file), ..RunQuery::default() }).await, [ids[3]]);
    let foreign = RunQuery { cursor: Some("AAAA".to_owned()), ..RunQuery::default() };
    assert_eq!(kind_of(world.catalog.list_runs(foreign).await), ErrorKind::InvalidInput);
}

pub(crate) async fn a_run_keeps_the_version_of_the_rule_that_it_began_with_even_when_retired(world: World) {
    let run = new_run("profile");
    put_with_runs(&world, "a", vec![run.clone()], Release::Immediate).await;
    let changed = usp_model::Rule { when: "false".to_owned(), ..rule("profile") };
    world.catalog.put_rule(act(2), changed).await.unwrap();
    world.catalog.retire_rules(act(0), Vec::new()).await.unwrap();
    assert_eq!(claim(&world, run.id, 3).await.unwrap().rule, rule("profile"));
    let unknown = NewRun { rule_version: 7, ..new_run("profile") };
    put_with_runs(&world, "b", vec![unknown.clone()], Release::Immediate).await;
    assert!(claim(&world, unknown.id, 3).await.is_none());
    assert_eq!(world.catalog.run(&unknown.id).await.unwrap().state, RunState::Dead);
}
