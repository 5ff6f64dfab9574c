//! Who is next: due runs by priority, and among equals every rule and every bucket in turn.
//!
//! Runs that wait stand in lanes: one for each priority, rule and bucket. A claim
//!
//! 1. takes back the runs whose lease is over (the attempt counts; the last one kills the run),
//! 2. goes through the lanes of the highest priority, beginning behind the one that was served last, and takes an equal
//!    share from each, then through the lanes of the next priority,
//! 3. passes over rules that hold as many runs as they may.
//!
//! Each look is two or three seeks in the index `runs_waiting`: the cost grows with the lanes that are looked at, which
//! are bounded, and with the logarithm of the runs that wait. A priority takes half of the looks that are left, so that
//! lanes in which nothing is due yet hold up neither those behind them nor the priorities below.

use std::collections::HashMap;

use rusqlite::{Connection, Row};
use usp_model::{LeasedRun, Rule, RuleName, RunChange, RunId, RunState, StepState, Timestamp};

use super::ask::{Ask, Column};
use super::fail::{Outcome, corrupt};
use super::run_row::{self, RUN, RunRow, run_row};
use super::tx::Tx;
use super::{rules, version_row};
use crate::records::{ClaimRuns, ClaimedRuns, DueRun, Turn};

/// Lanes that one claim serves. What lies behind them is the next claim's: it begins where this one ended.
const LANE_COUNT_MAX: usize = 512;
/// Lanes that one claim looks at, for the few that have a run which is due: a few milliseconds of the writer.
const LOOK_COUNT_MAX: usize = 4_096;
/// Lanes that one look of the sweeper goes through; it holds up nobody.
const SWEEP_LOOK_COUNT_MAX: usize = 65_536;
/// Leases that one claim takes back.
const EXPIRED_COUNT_MAX: u32 = 256;

const WAITING: &str = "runs INDEXED BY runs_waiting WHERE state IN ('queued', 'retrying')";

pub(super) fn claim(tx: &Tx<'_>, asked: &ClaimRuns) -> Outcome<ClaimedRuns> {
    take_back(tx, tx.at())?;
    let mut claim = Claimer {
        tx,
        asked,
        turn: asked.turn.clone(),
        free: HashMap::new(),
        rules: HashMap::new(),
        leased: Vec::new(),
        lanes_left: LANE_COUNT_MAX,
        looks_left: LOOK_COUNT_MAX,
    };
    let mut below = i64::from(i32::MAX) + 1;
    while claim.wanted() > 0 && claim.lanes_left > 0 && claim.looks_left > 0 {
        let Some(priority) = next_priority(tx, below)? else { break };
        below = i64::from(priority);
        claim.take_from(priority)?;
    }
    claim.turn.keep_highest();
    Ok(ClaimedRuns { runs: claim.leased, turn: claim.turn })
}

fn next_priority(conn: &Connection, below: i64) -> Outcome<Option<i32>> {
    let sql = format!("SELECT priority FROM {WAITING} AND priority < ?1 ORDER BY priority DESC LIMIT 1");
    conn.one(&sql, [below], |row| Ok(row.get(0)?))
}

/// The lane behind `seen`: another bucket of the rule, or the first of the next rule. Two seeks; one over both columns
/// would walk over all runs of the lane.
fn next_lane(conn: &Connection, priority: i32, seen: &Lane) -> Outcome<Option<Lane>> {
    let lane = |row: &Row<'_>| Ok(Lane { rule: row.get(0)?, bucket: row.get(1)? });
    let same_rule = format!(
        "SELECT rule, bucket FROM {WAITING} AND priority = ?1 AND rule = ?2 AND bucket > ?3 ORDER BY bucket LIMIT 1"
    );
    let found = conn.one(&same_rule, (priority, seen.rule.as_str(), seen.bucket), lane)?;
    if found.is_some() {
        return Ok(found);
    }
    let next_rule = format!(
        "SELECT rule, bucket FROM {WAITING} AND priority = ?1 AND rule > ?2 ORDER BY rule, bucket LIMIT 1"
    );
    conn.one(&next_rule, (priority, seen.rule.as_str()), lane)
}

fn has_due(conn: &Connection, priority: i32, lane: &Lane, by: Timestamp) -> Outcome<bool> {
    let sql = format!(
        "SELECT 1 FROM {WAITING} AND priority = ?1 AND rule = ?2 AND bucket = ?3 AND due_at <= ?4 LIMIT 1"
    );
    let params = (priority, lane.rule.as_str(), lane.bucket, by.unix_ms());
    Ok(conn.one(&sql, params, |_row| Ok(()))?.is_some())
}

/// Waiting runs of one rule in one bucket, at one priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    rule: String,
    bucket: i64,
}

struct Claimer<'a, 'c> {
    tx: &'a Tx<'c>,
    asked: &'a ClaimRuns,
    turn: Turn,
    /// How many more runs of a rule with a bound may be held.
    free: HashMap<String, usize>,
    rules: HashMap<(RuleName, u32), Rule>,
    leased: Vec<LeasedRun>,
    lanes_left: usize,
    looks_left: usize,
}

impl Claimer<'_, '_> {
    fn wanted(&self) -> usize {
        (self.asked.count_max as usize).saturating_sub(self.leased.len())
    }

    /// Serves the lanes of one priority in turn until enough is taken or no lane has more. Equal shares first, then one
    /// each, so that the turn ends behind a lane that got as much as any other.
    fn take_from(&mut self, priority: i32) -> Outcome<()> {
        let for_the_rest = self.looks_left / 2;
        self.looks_left -= for_the_rest;
        let lanes = self.lanes(priority);
        self.looks_left += for_the_rest;
        let mut lanes = lanes?;
        while self.wanted() > 0 && !lanes.is_empty() {
            let share = (self.wanted() / lanes.len()).max(1);
            let mut with_more = Vec::new();
            for lane in lanes {
                if self.wanted() == 0 {
                    break;
                }
                let count = share.min(self.wanted()).min(self.free(&lane.rule)?);
                if self.serve(priority, &lane, count)? == share {
                    with_more.push(lane);
                }
            }
            lanes = with_more;
        }
        Ok(())
    }

    /// The lanes of one priority with runs that are due, from the one behind the last served around to it. If the looks are
    /// used up before that, the next turn begins where they ended, or behind the lane that is served last.
    fn lanes(&mut self, priority: i32) -> Outcome<Vec<Lane>> {
        let last = match self.turn.last(priority) {
            Some((rule, bucket)) => Lane { rule: rule.to_owned(), bucket },
            None => Lane { rule: String::new(), bucket: 0 },
        };
        let mut lanes = Vec::new();
        let mut seen = last.clone();
        while let Some(lane) = self.lane_after(priority, &mut seen)? {
            lanes.push(lane);
        }
        if self.looks_left > 0 {
            seen = Lane { rule: String::new(), bucket: 0 };
            while let Some(lane) = self.lane_after(priority, &mut seen)?.filter(|lane| *lane <= last) {
                lanes.push(lane);
            }
        }
        if self.looks_left == 0 {
            self.turn.served(priority, &seen.rule, seen.bucket);
        }
        Ok(lanes)
    }

    /// The next lane, in order, that has a run which is due, of a rule that may hold more.
    fn lane_after(&mut self, priority: i32, seen: &mut Lane) -> Outcome<Option<Lane>> {
        while self.lanes_left > 0 && self.looks_left > 0 {
            self.looks_left -= 1;
            let Some(lane) = next_lane(self.tx, priority, seen)? else { return Ok(None) };
            if self.free(&lane.rule)? == 0 {
                // All buckets of the rule at once.
                *seen = Lane { bucket: i64::MAX, ..lane };
                continue;
            }
            *seen = lane.clone();
            if has_due(self.tx, priority, &lane, self.tx.at())? {
                self.lanes_left -= 1;
                return Ok(Some(lane));
            }
        }
        Ok(None)
    }

    fn free(&mut self, rule: &str) -> Outcome<usize> {
        if let Some(free) = self.free.get(rule) {
            return Ok(*free);
        }
        let bound = match self.asked.bounds.get(rule) {
            Some(bound) => *bound,
            None => rules::bound_of_retired(self.tx, rule)?,
        };
        let Some(bound) = bound else {
            self.free.insert(rule.to_owned(), usize::MAX);
            return Ok(usize::MAX);
        };
        let sql = "SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_leased
             WHERE state = 'running' AND rule = ?1 LIMIT ?2)";
        let held = self.tx.one(sql, (rule, bound), |row| row.count(0))?.unwrap_or(0);
        let free = usize::try_from(u64::from(bound).saturating_sub(held)).unwrap_or(usize::MAX);
        self.free.insert(rule.to_owned(), free);
        Ok(free)
    }

    /// Takes up to `count` due runs of a lane; gives how many were due, dead on arrival or not.
    fn serve(&mut self, priority: i32, lane: &Lane, count: usize) -> Outcome<usize> {
        let sql = format!(
            "SELECT id FROM {WAITING} AND priority = ?1 AND rule = ?2 AND bucket = ?3 AND due_at <= ?4
             ORDER BY due_at LIMIT ?5"
        );
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let params = (priority, lane.rule.as_str(), lane.bucket, self.tx.at().unix_ms(), count);
        let due: Vec<i64> = self.tx.all(&sql, params, |row| Ok(row.get(0)?))?;
        for id in &due {
            let row = by_row_id(self.tx, *id)?;
            if let Some(leased) =
                lease(self.tx, row, (self.tx.at(), self.asked.lease_until), &mut self.rules)?
            {
                self.leased.push(leased);
                if let Some(free) = self.free.get_mut(&lane.rule) {
                    *free = free.saturating_sub(1);
                }
            }
        }
        if !due.is_empty() {
            self.turn.served(priority, &lane.rule, lane.bucket);
        }
        Ok(due.len())
    }
}

fn by_row_id(conn: &Connection, id: i64) -> Outcome<RunRow> {
    conn.one(&format!("{RUN} WHERE r.id = ?1"), [id], run_row)?
        .ok_or_else(|| corrupt("claim runs", "a run has no file"))?
        .with_steps(conn)
}

/// Begins an attempt; `None` when the run cannot be worked on and is dead now.
fn lease(
    tx: &Tx<'_>,
    mut row: RunRow,
    (now, until): (Timestamp, Timestamp),
    known: &mut HashMap<(RuleName, u32), Rule>,
) -> Outcome<Option<LeasedRun>> {
    let name = (row.run.rule.clone(), row.run.rule_version);
    if !known.contains_key(&name) {
        let Some(rule) = rules::version(tx, &name.0, name.1)? else {
            row.run.error = Some(format!("rule {} has no version {}", name.0, name.1));
            row.die(tx, now)?;
            return Ok(None);
        };
        known.insert(name.clone(), rule);
    }
    row.begin_attempt(tx, now, until)?;
    let file = version_row::version(tx, row.file_row, row.run.version)?
        .ok_or_else(|| corrupt("claim run", "its version has no row").about(row.run.id))?
        .file;
    let rule = known.get(&name).cloned().ok_or_else(|| corrupt("claim run", "its rule is gone"))?;
    Ok(Some(LeasedRun {
        run: row.run,
        lease_no: row.lease_no,
        expires_at: until,
        rule,
        file,
        trace: row.trace,
    }))
}

/// Ends every lease that is over: the run waits again, or is dead without attempts left.
fn take_back(tx: &Tx<'_>, now: Timestamp) -> Outcome<()> {
    for id in expired(tx, now, EXPIRED_COUNT_MAX)? {
        end_lease(tx, by_row_id(tx, id)?, now)?;
    }
    Ok(())
}

/// Runs whose lease is over. There are few rules among those that are held, so each is asked in turn.
fn expired(conn: &Connection, now: Timestamp, count_max: u32) -> Outcome<Vec<i64>> {
    let next = "SELECT rule FROM runs INDEXED BY runs_leased WHERE state = 'running' AND rule > ?1
         ORDER BY rule LIMIT 1";
    let over =
        "SELECT id FROM runs INDEXED BY runs_leased WHERE state = 'running' AND rule = ?1 AND due_at <= ?2
         ORDER BY due_at LIMIT ?3";
    let mut found = Vec::new();
    let mut rule = String::new();
    while let Some(name) = conn.one(next, [&rule], |row| Ok(row.get::<_, String>(0)?))? {
        let left = i64::from(count_max).saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
        found.extend(conn.all(over, (&name, now.unix_ms(), left.max(0)), |row| Ok(row.get::<_, i64>(0)?))?);
        rule = name;
    }
    Ok(found)
}

/// What its worker did not say: that the attempt failed.
pub(super) fn end_lease(tx: &Tx<'_>, mut row: RunRow, now: Timestamp) -> Outcome<()> {
    row.run.error = Some("the worker gave no sign before its lease was over".to_owned());
    if row.run.attempt >= row.run.attempts_max {
        return row.die(tx, now);
    }
    row.run.state = RunState::Retrying;
    row.run.next_attempt_at = Some(now);
    row.due_at = Some(now);
    for step in row.run.steps.iter_mut().filter(|step| step.state == StepState::Running) {
        step.state = StepState::Failed;
        step.ended_at = Some(now);
    }
    row.write(tx)?;
    row.emit(tx, RunChange::Retrying)
}

/// Runs that should be looked for, at once or later: those that wait and become due before `until`, some of each lane,
/// and those whose lease is over by then.
pub(super) fn due(conn: &Connection, until: Timestamp, limit: u32) -> Outcome<Vec<DueRun>> {
    let mut found = Vec::new();
    let due_run = |row: &Row<'_>| {
        let id = RunId::from_bytes(row.get(0)?);
        Ok(DueRun { id, priority: row.get(1)?, due_at: row.time(2)? })
    };
    let one = "SELECT run_id, priority, due_at FROM runs WHERE id = ?1";
    for id in expired(conn, until, limit)? {
        found.extend(conn.one(one, [id], due_run)?);
    }
    let sql = format!(
        "SELECT run_id, priority, due_at FROM {WAITING} AND priority = ?1 AND rule = ?2 AND bucket = ?3
             AND due_at <= ?4 ORDER BY due_at LIMIT ?5"
    );
    let lanes = due_lanes(conn, until)?;
    let share = (limit as usize).div_ceil(lanes.len().max(1));
    for (priority, lane) in lanes {
        let left = i64::try_from(share.min((limit as usize).saturating_sub(found.len()))).unwrap_or(0);
        let params = (priority, lane.rule.as_str(), lane.bucket, until.unix_ms(), left);
        found.extend(conn.all(&sql, params, due_run)?);
    }
    Ok(found)
}

/// Lanes with a run that is due by `until`, those of the highest priority first.
fn due_lanes(conn: &Connection, until: Timestamp) -> Outcome<Vec<(i32, Lane)>> {
    let (mut lanes, mut looks_left) = (Vec::new(), SWEEP_LOOK_COUNT_MAX);
    let mut below = i64::from(i32::MAX) + 1;
    while lanes.len() < LANE_COUNT_MAX
        && looks_left > 0
        && let Some(priority) = next_priority(conn, below)?
    {
        let for_the_rest = looks_left / 2;
        let mut seen = Lane { rule: String::new(), bucket: 0 };
        while lanes.len() < LANE_COUNT_MAX
            && looks_left > for_the_rest
            && let Some(lane) = next_lane(conn, priority, &seen)?
        {
            looks_left -= 1;
            seen = lane.clone();
            if has_due(conn, priority, &lane, until)? {
                lanes.push((priority, lane));
            }
        }
        below = i64::from(priority);
    }
    Ok(lanes)
}

/// Takes one run, whoever's turn it is.
pub(super) fn claim_one(
    tx: &Tx<'_>,
    id: &RunId,
    now: Timestamp,
    lease_until: Timestamp,
) -> Outcome<Option<LeasedRun>> {
    let is_due = |row: &RunRow| row.due_at.is_some_and(|due_at| due_at <= now);
    let Some(mut row) = run_row::find(tx, id)?.filter(is_due) else { return Ok(None) };
    if row.run.state == RunState::Running {
        end_lease(tx, row, now)?;
        let Some(again) = run_row::find(tx, id)?.filter(is_due) else { return Ok(None) };
        row = again;
    }
    lease(tx, row, (now, lease_until), &mut HashMap::new())
}

#[cfg(test)]
mod tests;
