//! T12, T13: workers that sleep, and clocks that jump.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use usp_api::StorageCalls;
use usp_auth::{SigningKeys, TokenConfig, TokenService};
use usp_catalog::records::{ClaimRuns, ReportRun, Turn};
use usp_model::{
    Act, ReportOutcome, RunOutcome, RunReport, RunState, StepReport, StepState, Timestamp, UserName,
};
use usp_rt::Clock as _;
use usp_testkit::generate::Numbers;
use usp_torture::check::{runtime, scratch};
use usp_torture::content::Content;
use usp_torture::figures::{Plan, note, seed};
use usp_torture::store::{Store, admin, file_ref};

use crate::plant;

const HOUR_MS: i64 = 60 * 60 * 1_000;
const TEN_YEARS_MS: i64 = 10 * 365 * 24 * HOUR_MS;
const LEASE_MS: i64 = 30_000;

fn now(store: &Store) -> Timestamp {
    Timestamp::from_unix_ms(store.clock.now_unix_ms())
}

async fn report(store: &Store, run: usp_model::RunId, lease_no: i64, sum: &str) -> Result<ReportOutcome> {
    let step = StepReport {
        name: "digest".to_owned(),
        state: StepState::Succeeded,
        percent: 100,
        error: None,
        began_ms_ago: Some(2),
        ended_ms_ago: Some(1),
        report: Some(serde_json::json!({ "sum": sum })),
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
    };
    let at = now(store);
    let report = RunReport { run, lease_no, steps: vec![step], outcome: Some(RunOutcome::Succeeded) };
    let said = ReportRun { report, lease_until: at.plus_ms(LEASE_MS), jitter: 1.0 };
    Ok(store.catalog.report_run(Act::duty("torture", at), said).await?)
}

async fn claim(store: &Store, run: usp_model::RunId) -> Result<Option<i64>> {
    let at = now(store);
    let asked = ClaimRuns {
        count_max: 256,
        lease_until: at.plus_ms(LEASE_MS),
        bounds: Arc::default(),
        turn: Turn::default(),
    };
    let claimed = store.catalog.claim_runs(Act::duty("torture", at), asked).await?.runs;
    Ok(claimed.into_iter().find(|leased| leased.run.id == run).map(|leased| leased.lease_no))
}

/// Sleeps past the lease, finds that another has done the work, and reports all the same.
#[test]
fn a_worker_that_slept_through_its_lease_writes_nothing() -> Result<()> {
    plant();
    runtime()?.block_on(async {
        let home = scratch()?;
        let store = Store::open(home.path()).await?;
        for number in 0..20 {
            let key = format!("k/{number}.csv");
            let file = store.put(&key, &Content::of(number, 500)).await?;
            let [run] = store
                .catalog
                .runs_of_file(&file.id)
                .await?
                .try_into()
                .map_err(|_| anyhow::anyhow!("one run"))?;
            let sleeper = claim(&store, run.id).await?.context("a lease")?;
            ensure!(claim(&store, run.id).await?.is_none(), "a run was leased twice");
            store.clock.advance_ms(LEASE_MS + 1);
            let other = claim(&store, run.id).await?.context("a second lease")?;
            ensure!(other > sleeper, "a lease number came again");
            if number % 2 == 0 {
                ensure!(report(&store, run.id, sleeper, "asleep").await? == ReportOutcome::Lost);
                let state = store.catalog.run(&run.id).await?.state;
                ensure!(state == RunState::Running, "the sleeper made it {state}");
            }
            ensure!(
                report(&store, run.id, other, "awake").await? == ReportOutcome::Held { run_cancelled: false }
            );
            ensure!(report(&store, run.id, sleeper, "asleep").await? == ReportOutcome::Lost);
            let file = store.storage.get_file(&admin()?, file_ref(&key)?, None).await?;
            let said = file.reports.get("digest").context("a report")?.to_string();
            ensure!(said.contains("awake"), "the sleeper published {said}");
        }
        note("T12 zombie workers", &[("reports", 40), ("written", 0)]);
        Ok(())
    })
}

/// No file is lost, no run has two results, however often and far the clock jumps.
#[test]
fn a_clock_that_jumps_loses_no_file_and_doubles_no_result() -> Result<()> {
    let (runtime, seed) = (runtime()?, seed());
    let plan = Plan::new(400, 10_000, 5);
    let mut numbers = Numbers::new(seed);
    let done = runtime.block_on(async {
        let home = scratch()?;
        let store = Store::open(home.path()).await?;
        let mut files: BTreeMap<String, Content> = BTreeMap::new();
        let (mut done, mut leases) = (0, BTreeMap::new());
        while plan.goes_on(done) {
            done += 1;
            let steps = [TEN_YEARS_MS, -TEN_YEARS_MS, -HOUR_MS, HOUR_MS, 1_000];
            // Back and forth by the same amounts: the time stays one that a database can hold.
            let step = steps[usize::try_from(numbers.below(5))?];
            let at = store.clock.now_unix_ms();
            if (HOUR_MS..10 * TEN_YEARS_MS).contains(&(at + step)) {
                store.clock.advance_ms(step);
            }
            let key = format!("k/{}.csv", numbers.below(8));
            match numbers.below(4) {
                0 => {
                    let content = Content::draw(&mut numbers);
                    store.put(&key, &content).await?;
                    files.insert(key, content);
                }
                1 => {
                    let was_there = files.remove(&key).is_some();
                    let deleted = store.storage.delete_file(&admin()?, file_ref(&key)?, None).await;
                    ensure!(deleted.is_ok() == was_there, "{key}: {deleted:?}");
                }
                2 => drop(store.storage.collect(&admin()?, false).await?),
                _ => work(&store, &key, &mut leases).await?,
            }
            if done.is_multiple_of(25) {
                for (key, content) in &files {
                    ensure!(store.read(key, None).await? == content.bytes(), "{key} reads as something else");
                }
            }
        }
        Ok::<_, anyhow::Error>(done)
    });
    let done = done.with_context(|| format!("USP_SEED={seed}"))?;
    note("T13 clock steps", &[("steps", done), ("early-deletes", 0), ("double-results", 0)]);
    Ok(())
}

/// Claims a run, and reports under every lease that was ever given for it: one counts at most.
async fn work(store: &Store, key: &str, leases: &mut BTreeMap<usp_model::RunId, Vec<i64>>) -> Result<()> {
    let Ok(file) = store.storage.get_file(&admin()?, file_ref(key)?, None).await else { return Ok(()) };
    for run in store.catalog.runs_of_file(&file.id).await? {
        let given = leases.entry(run.id).or_default();
        if let Some(lease_no) = claim(store, run.id).await? {
            ensure!(given.iter().all(|known| *known < lease_no), "lease {lease_no} came again");
            given.push(lease_no);
        }
        let was_final = run.state.is_final();
        let mut held = 0;
        for lease_no in given.iter().copied() {
            if report(store, run.id, lease_no, "done").await? != ReportOutcome::Lost {
                held += 1;
            }
        }
        ensure!(held <= u64::from(!was_final), "{held} results of one run");
    }
    Ok(())
}

#[test]
fn no_clock_makes_an_expired_token_good() -> Result<()> {
    let tokens = TokenService::new(&SigningKeys::generate()?, TokenConfig::default())?;
    let begin = Timestamp::from_unix_ms(1_795_000_000_000);
    let user = UserName::parse("root")?;
    let token = tokens.issue(&user, None, std::time::Duration::from_secs(900), begin)?;
    ensure!(tokens.verify(&token, begin.plus_ms(1_000)).is_ok(), "a good token is refused");
    for step in [TEN_YEARS_MS, 2 * HOUR_MS, 16 * 60_000, -TEN_YEARS_MS, -2 * HOUR_MS] {
        if tokens.verify(&token, begin.plus_ms(step)).is_ok() {
            bail!("a token is good {step} ms from its beginning");
        }
    }
    Ok(())
}
