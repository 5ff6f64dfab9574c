//! Who is next: priority first, then every rule and bucket in turn, within the bounds of each rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use usp_catalog::records::{ClaimRuns, ClaimedRuns, NewRun, ReportRun, Turn};
use usp_model::{
    Act, BucketPolicy, Event, EventBody, EventKind, LeasedRun, ReportOutcome, RunId, RunOutcome, RunReport,
    RunState,
};

use super::world::{World, act, at, bucket, new_run, rule};

const LEASE_MS: i64 = 30_000;

/// Puts a file with one run into a bucket.
async fn put(world: &World, bucket_name: &str, key: &str, run: NewRun) -> RunId {
    put_at(world, act(0), bucket_name, key, run).await
}

async fn put_at(world: &World, act: Act, bucket_name: &str, key: &str, run: NewRun) -> RunId {
    let mut new = world.new_version(key, 1);
    let id = run.id;
    (new.bucket, new.domain) = (bucket(bucket_name), world.domain_of(bucket_name).await);
    new.runs = vec![run];
    world.catalog.commit_version(act, new).await.unwrap();
    id
}

async fn with_buckets(world: &World, names: &[&str]) {
    for name in names {
        world.catalog.create_bucket(act(0), bucket(name), BucketPolicy::default()).await.unwrap();
    }
}

fn ask(count_max: u32, ms: i64) -> ClaimRuns {
    let lease_until = at(ms + LEASE_MS);
    ClaimRuns { count_max, lease_until, bounds: Arc::default(), turn: Turn::default() }
}

async fn claim(world: &World, count_max: u32, ms: i64) -> ClaimedRuns {
    world.catalog.claim_runs(act(ms), ask(count_max, ms)).await.unwrap()
}

fn ids(claimed: &ClaimedRuns) -> Vec<RunId> {
    claimed.runs.iter().map(|leased| leased.run.id).collect()
}

async fn succeed(world: &World, leased: &LeasedRun, ms: i64) -> ReportOutcome {
    let report = RunReport {
        run: leased.run.id,
        lease_no: leased.lease_no,
        steps: Vec::new(),
        outcome: Some(RunOutcome::Succeeded),
    };
    let report = ReportRun { report, lease_until: at(ms + LEASE_MS), jitter: 1.0 };
    world.catalog.report_run(act(ms), report).await.unwrap()
}

pub(crate) async fn a_claim_takes_as_many_as_asked_for_and_each_once(world: World) {
    let mut put_ids = Vec::new();
    for number in 0..5 {
        put_ids.push(put(&world, "default", &number.to_string(), new_run("profile")).await);
    }
    let first = claim(&world, 3, 1).await;
    assert_eq!(ids(&first), put_ids[..3], "the oldest first");
    let leased = &first.runs[0];
    assert_eq!((leased.lease_no, leased.run.attempt, leased.expires_at), (1, 1, at(1 + LEASE_MS)));
    assert_eq!((leased.run.state, &leased.rule), (RunState::Running, &rule("profile")));
    assert_eq!(world.catalog.run(&leased.run.id).await.unwrap(), leased.run);
    let rest = claim(&world, 10, 1).await;
    assert_eq!(ids(&rest), put_ids[3..]);
    assert!(claim(&world, 10, 1).await.runs.is_empty());
    let started = world.event_kinds().await.into_iter().filter(|kind| *kind == EventKind::RunStarted);
    assert_eq!(started.count(), 5);
}

pub(crate) async fn the_highest_priority_goes_first_whatever_its_age(world: World) {
    let low = put(&world, "default", "a", new_run("profile")).await;
    let high = put(&world, "default", "b", NewRun { priority: 7, ..new_run("profile") }).await;
    let lowest = put(&world, "default", "c", NewRun { priority: -3, ..new_run("profile") }).await;
    let claimed = claim(&world, 10, 1).await;
    assert_eq!(ids(&claimed), [high, low, lowest]);
}

pub(crate) async fn rules_and_buckets_are_served_in_turn(world: World) {
    with_buckets(&world, &["other"]).await;
    world.catalog.put_rule(act(0), rule("scan")).await.unwrap();
    for number in 0..6 {
        put(&world, "default", &format!("p{number}"), new_run("profile")).await;
    }
    put(&world, "other", "p", new_run("profile")).await;
    put(&world, "other", "q", new_run("profile")).await;
    put(&world, "default", "s", new_run("scan")).await;
    let (mut turn, mut order) = (Turn::default(), Vec::new());
    for _ in 0..9 {
        let claimed = world.catalog.claim_runs(act(1), ClaimRuns { turn, ..ask(1, 1) }).await.unwrap();
        turn = claimed.turn;
        let run = &claimed.runs[0].run;
        order.push(format!("{} {}", run.rule, run.bucket));
    }
    let round = ["profile default", "profile other", "scan default"];
    assert_eq!(order[..3], round);
    assert_eq!(order[3..5], round[..2]);
    assert_eq!(order[5..], ["profile default"; 4]);
}

pub(crate) async fn a_rule_with_a_bound_holds_no_more_runs_and_lets_others_pass(world: World) {
    with_buckets(&world, &["other"]).await;
    world.catalog.put_rule(act(0), rule("scan")).await.unwrap();
    for number in 0..4 {
        put(&world, "default", &format!("d{number}"), new_run("profile")).await;
        put(&world, "other", &format!("o{number}"), new_run("profile")).await;
    }
    let scan = put(&world, "default", "s", new_run("scan")).await;
    let bounds = Arc::new(BTreeMap::from([("profile".to_owned(), Some(3))]));
    let bounded = |count| ClaimRuns { bounds: Arc::clone(&bounds), ..ask(count, 1) };
    let first = world.catalog.claim_runs(act(1), bounded(2)).await.unwrap();
    assert_eq!(first.runs.len(), 2);
    let second = world.catalog.claim_runs(act(1), bounded(10)).await.unwrap();
    let rules: Vec<_> = second.runs.iter().map(|leased| leased.run.rule.as_str()).collect();
    assert_eq!((rules, second.runs[1].run.id), (vec!["profile", "scan"], scan));
    assert!(world.catalog.claim_runs(act(1), bounded(10)).await.unwrap().runs.is_empty());
    succeed(&world, &first.runs[0], 2).await;
    assert_eq!(world.catalog.claim_runs(act(1), bounded(10)).await.unwrap().runs.len(), 1);
}

pub(crate) async fn a_lease_that_is_over_is_taken_back_and_the_old_worker_writes_nothing(world: World) {
    let id = put(&world, "default", "a", new_run("profile")).await;
    let zombie = claim(&world, 1, 0).await.runs.remove(0);
    assert!(claim(&world, 1, LEASE_MS - 1).await.runs.is_empty());
    let heir = claim(&world, 1, LEASE_MS).await.runs.remove(0);
    assert_eq!((heir.run.id, heir.run.attempt, heir.lease_no), (id, 2, 2));
    assert!(heir.run.error.as_deref().unwrap().contains("lease"));
    let before = (world.catalog.run(&id).await.unwrap(), world.events().await.len());
    assert_eq!(succeed(&world, &zombie, LEASE_MS + 1).await, ReportOutcome::Lost);
    assert_eq!((world.catalog.run(&id).await.unwrap(), world.events().await.len()), before);
    // The third attempt is the last.
    assert_eq!(claim(&world, 1, 2 * LEASE_MS).await.runs.len(), 1);
    assert!(claim(&world, 1, 3 * LEASE_MS).await.runs.is_empty());
    assert_eq!(world.catalog.run(&id).await.unwrap().state, RunState::Dead);
}

pub(crate) async fn many_are_retried_at_once_and_only_those_that_are_dead_or_cancelled(world: World) {
    let mut all = Vec::new();
    for number in 0..4 {
        all.push(put(&world, "default", &number.to_string(), new_run("profile")).await);
    }
    for id in &all[..3] {
        world.catalog.cancel_run(act(1), id).await.unwrap();
    }
    let unknown = RunId::random().unwrap();
    assert_eq!(world.catalog.retry_runs(act(2), [&all[..], &[unknown]].concat()).await.unwrap(), 3);
    for id in &all {
        assert_eq!(world.catalog.run(id).await.unwrap().state, RunState::Queued);
    }
    assert_eq!(claim(&world, 10, 3).await.runs.len(), 4);
}

pub(crate) async fn a_run_carries_the_trace_of_who_asked_for_it_to_its_worker_and_its_events(world: World) {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    put_at(&world, act(0).traced(Some(TRACE.to_owned())), "default", "a", new_run("profile")).await;
    put(&world, "default", "b", new_run("profile")).await;
    let claimed = claim(&world, 2, 1).await;
    assert_eq!(claimed.runs[0].trace.as_deref(), Some(TRACE));
    assert_eq!(claimed.runs[1].trace, None);
    let events = world.events().await;
    let is_traced =
        |event: &&Event| matches!(&event.body, EventBody::Run(run) if run.trace.as_deref() == Some(TRACE));
    let kinds: Vec<_> = events.iter().filter(is_traced).map(Event::kind).collect();
    assert_eq!(kinds, [EventKind::RunQueued, EventKind::RunStarted]);
}

/// A clock that was ahead put the run off; the one that is right makes it due.
pub(crate) async fn runs_that_a_clock_put_off_are_pulled_up(world: World) {
    const YEAR_MS: i64 = 365 * 86_400_000;
    put_at(&world, act(YEAR_MS), "default", "a", new_run("profile")).await;
    assert!(world.catalog.due_runs(at(1_000), 10).await.unwrap().is_empty());
    assert_eq!(world.catalog.pull_up_runs(act(1_000)).await.unwrap(), 1);
    assert_eq!(world.catalog.due_runs(at(1_000), 10).await.unwrap().len(), 1);
    assert_eq!(world.catalog.pull_up_runs(act(1_000)).await.unwrap(), 0);
}
