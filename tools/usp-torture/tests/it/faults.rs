//! T5, T6, T38: calls that fail, one at a time, in a process that goes on as well as it can.
//!
//! strace counts calls by thread. The actor blocks in one thread only and does one thing at a time, so "the n-th call" walks
//! through all calls of its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;
use usp_torture::check::runtime;
use usp_torture::figures::{Plan, is_torture, note, seed};
use usp_torture::power::{Recording, record_with};
use usp_torture::record::{Fault, Recorded, can_trace};

use crate::program;

/// One process whose calls fail by `rule`: it ended well, gave up at its start, or stopped as a fault of the catalogue demands.
fn suffer(scenario: &str, rule: &str) -> Result<(Recording, Recorded)> {
    suffer_of(scenario, Fault { rule, is_lenient: true, of_packs_only: false })
}

fn suffer_of(scenario: &str, fault: Fault<'_>) -> Result<(Recording, Recorded)> {
    let rule = fault.rule;
    let (recording, recorded) = record_with(&program(), scenario, seed(), Some(fault), |_, _| Ok(()))?;
    let code = recorded.status.code();
    ensure!(
        matches!(code, Some(0 | 1 | 74 | 127)),
        "{rule}: the process ended with {:?}: {}",
        recorded.status,
        recorded.said
    );
    ensure!(!recorded.said.contains("panicked"), "{rule}: {}", recorded.said);
    let again = recording.trace.syncs_after_a_failure();
    ensure!(again.is_empty(), "{rule}: after a sync that failed, {again:?} was synced again");
    Ok((recording, recorded))
}

/// What fails in one sweep, and how often the disk is cut after each.
struct Sweep<'a> {
    scenario: &'a str,
    calls: &'a str,
    error: &'a str,
    mode: &'a str,
    cuts: u64,
    runtime: Arc<Runtime>,
    /// Places where a call failed, and how often.
    reached: BTreeMap<String, u64>,
}

impl Sweep<'_> {
    /// Lets the n-th call fail, and cuts the disk at many moments; whether there was such a call.
    fn fail(&mut self, n: u64) -> Result<bool> {
        let rule = format!("{}:error={}:when={n}{}", self.calls, self.error, self.mode);
        let (recording, recorded) = suffer(self.scenario, &rule)?;
        let is_reached = !recorded.injected.is_empty();
        for call in recorded.injected {
            *self.reached.entry(call).or_insert(0) += 1;
        }
        if is_reached {
            recording.cut(&self.runtime, Plan::fixed(self.cuts)).map_err(|error| error.context(rule))?;
        }
        Ok(is_reached)
    }

    /// The first call of each kind of place that was not reached yet, as a run without a fault makes them.
    fn first_calls(&self) -> Result<BTreeSet<u64>> {
        const NEVER: u64 = 60_000;
        let (_, plain) = suffer(self.scenario, &format!("{}:error={}:when={NEVER}", self.calls, self.error))?;
        let is_meant = |site: &str| self.calls.split(',').any(|call| site.split(' ').next() == Some(call));
        let open = plain
            .first_made
            .iter()
            .filter(|(site, _)| is_meant(site) && !self.reached.contains_key(*site))
            .map(|(_, &n)| n);
        Ok(open.collect())
    }
}

/// Each kind of place where such a call is made fails at least once; beyond that every n, until no call is reached any more.
fn every_call(
    scenario: &str,
    calls: &str,
    error: &str,
    mode: &str,
    cuts: u64,
) -> Result<BTreeMap<String, u64>> {
    // More than any thread of the actor makes of one kind.
    const CALLS_MAX: u64 = 400;
    // The n-th call is not at the same place in every run: what was missed is looked for again.
    const ROUNDS: usize = 4;
    let runtime = runtime()?;
    let mut sweep = Sweep { scenario, calls, error, mode, cuts, runtime, reached: BTreeMap::new() };
    let mut tried = BTreeSet::new();
    for _ in 0..ROUNDS {
        let first = sweep.first_calls()?;
        if first.is_empty() {
            break;
        }
        for &n in &first {
            sweep.fail(n)?;
        }
        tried.extend(first);
    }
    let plan = Plan::new(CALLS_MAX, CALLS_MAX, 2);
    let mut n = 1;
    while plan.goes_on(n) && (tried.contains(&n) || sweep.fail(n)?) {
        // The first calls one by one; of hundreds of equal ones some, unless there is time.
        n += if n >= 12 && !is_torture() { 5 } else { 1 };
    }
    Ok(sweep.reached)
}

fn tell(test: &str, reached: &BTreeMap<String, u64>) {
    let count = reached.values().sum();
    note(test, &[("faults", count), ("sites", reached.len() as u64), ("violations", 0)]);
    println!("{test}: {count} faults at {} sites: {reached:?}", reached.len());
}

fn skipped(test: &str) -> bool {
    let tried = can_trace();
    if let Err(why) = &tried {
        println!("{test} is skipped: {why}");
    }
    tried.is_err()
}

#[test]
fn no_sync_that_failed_is_tried_again_and_nothing_acknowledged_is_lost() -> Result<()> {
    if skipped("T5") {
        return Ok(());
    }
    let mut all = BTreeMap::new();
    for calls in ["fdatasync", "fsync"] {
        for mode in ["", "+"] {
            for (call, count) in every_call("few", calls, "EIO", mode, 6)? {
                *all.entry(call).or_insert(0) += count;
            }
        }
    }
    tell("T5 syncs that fail", &all);
    let sites: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    for site in [
        "fdatasync pack",
        "fdatasync catalog.db-wal",
        "fdatasync catalog.db",
        "fsync pack",
        "fsync directory of packs",
    ] {
        ensure!(sites.contains(site), "no sync of '{site}' failed, only {sites:?}");
    }
    Ok(())
}

#[test]
fn a_pack_whose_sync_failed_while_it_was_written_is_not_synced_again() -> Result<()> {
    if skipped("T5") {
        return Ok(());
    }
    // The first ones are those of the start, which recovers what the process before left behind.
    const OF_THE_START: u64 = 2;
    let mut reached = BTreeMap::new();
    for mode in ["", "+"] {
        let mut n = 1;
        loop {
            let rule = format!("fdatasync:error=EIO:when={n}{mode}");
            let fault = Fault { rule: &rule, is_lenient: true, of_packs_only: true };
            let (_, recorded) = suffer_of("few", fault)?;
            if recorded.injected.is_empty() {
                break;
            }
            ensure!(recorded.injected.iter().all(|site| site == "fdatasync pack"), "{:?}", recorded.injected);
            *reached.entry(format!("fdatasync pack{mode}")).or_insert(0) += 1;
            n += 1;
        }
        ensure!(n > OF_THE_START + 1, "no sync of a pack failed after the start, only {reached:?}");
    }
    tell("T5 syncs of packs that fail", &reached);
    Ok(())
}

#[test]
fn no_write_that_fails_loses_what_was_acknowledged() -> Result<()> {
    if skipped("T6") {
        return Ok(());
    }
    // Packs and catalogue apart: a catalogue that cannot be written ends the process before the packs have their turn.
    let mut all = BTreeMap::new();
    for calls in ["pwritev,pwritev2", "pwrite64", "fallocate", "ftruncate"] {
        for error in ["ENOSPC", "EIO", "EDQUOT"] {
            for (call, count) in every_call("few", calls, error, "", 4)? {
                *all.entry(format!("{error} {call}")).or_insert(0) += count;
            }
        }
    }
    tell("T6 writes that fail", &all);
    ensure!(all.contains_key("ENOSPC pwritev pack") || all.contains_key("ENOSPC pwritev2 pack"), "{all:?}");
    Ok(())
}

#[test]
fn an_interrupted_write_goes_on_and_nobody_hears_of_it() -> Result<()> {
    if skipped("T6") {
        return Ok(());
    }
    let rule = "pwrite64,pwritev,pwritev2:error=EINTR:when=1+2";
    let (recording, recorded) = suffer("few", rule)?;
    let disk = recording.disk_at(usize::MAX)?;
    let ledger = String::from_utf8_lossy(disk.ledger()).into_owned();
    ensure!(recorded.status.success() && !ledger.contains("\"Failed\""), "{}{ledger}", recorded.said);
    tell(
        "T6 writes that are interrupted",
        &BTreeMap::from([("EINTR".to_owned(), recorded.injected.len() as u64)]),
    );
    Ok(())
}

#[test]
fn every_call_of_the_content_store_to_the_disk_fails_once() -> Result<()> {
    if skipped("T38") {
        return Ok(());
    }
    let mut all = BTreeMap::new();
    let calls = [
        "openat",
        "mkdir",
        "getdents64",
        "pread64",
        "preadv,preadv2",
        "unlink",
        "rename,renameat,renameat2",
        "ftruncate",
        "statx",
    ];
    for call in calls {
        for (call, count) in every_call("upkeep", call, "EIO", "", 2)? {
            *all.entry(call).or_insert(0) += count;
        }
    }
    tell("T38 calls that fail", &all);
    let reached =
        |call: &str, what: &str| all.keys().any(|site| site.starts_with(call) && site.ends_with(what));
    for (call, what) in [
        ("openat", " pack"),
        ("openat", " directory of packs"),
        ("mkdir", " directory of packs"),
        ("getdents64", " directory of packs"),
        ("preadv2", " pack"),
        ("unlink", " pack"),
        ("statx", " directory of packs"),
    ] {
        ensure!(reached(call, what), "no {call} of '{what}' failed, only {all:?}");
    }
    Ok(())
}
