//! Answers what a claim asks for (`usp_decide::claim` decides who is next) by seeks in two indexes.
//!
//! Each look at a lane is two or three seeks in `runs_waiting`, whose entries are the runs that wait, by priority, rule,
//! bucket and time: the cost grows with the lanes that are looked at and with the logarithm of the runs that wait. Held
//! runs stand in `runs_leased`.

use std::collections::HashMap;

use rusqlite::{Connection, Row};
use usp_decide::claim::sweep::Sweep;
use usp_decide::claim::{Answer, Ask as ClaimAsk, Claim, Lane, Look, LookAsk, Looks, Place, Served, Share};
use usp_decide::run::{Begun, RunRecord};
use usp_model::{LeasedRun, Rule, RuleName, RunId, Timestamp};

use super::ask::{Ask, Column};
use super::fail::{Outcome, corrupt};
use super::run_row::{self, RunPlace, RunRow, by_row_id};
use super::tx::Tx;
use super::{rules, version_row};
use crate::records::{ClaimRuns, ClaimedRuns, DueRun};

const WAITING: &str = "runs INDEXED BY runs_waiting WHERE state IN ('queued', 'retrying')";

pub(super) fn claim(tx: &Tx<'_>, asked: &ClaimRuns) -> Outcome<ClaimedRuns> {
    let mut claim = Claim::new(asked);
    let mut taker = Taker { tx, lease_until: asked.lease_until, rules: HashMap::new(), leased: Vec::new() };
    loop {
        let answer = match claim.ask() {
            ClaimAsk::Expired { count_max } => Answer::Expired(end_leases(tx, count_max)?),
            ClaimAsk::Priorities { below, .. } => Answer::Priorities(next_priority(tx, below)?),
            ClaimAsk::Looks(asked) => {
                Answer::Looks(look(tx, &asked, tx.at(), |rule| claim.may_hold_more(rule))?)
            }
            ClaimAsk::Bounds { rules } => {
                let bound = |rule: &String| rules::bound_of_retired(tx, rule);
                Answer::Bounds(rules.iter().map(bound).collect::<Outcome<_>>()?)
            }
            ClaimAsk::Held { rules } => {
                let held = |(rule, count_max): &(String, u32)| held(tx, rule, *count_max);
                Answer::Held(rules.iter().map(held).collect::<Outcome<_>>()?)
            }
            ClaimAsk::Take(shares) => {
                Answer::Served(shares.iter().map(|share| taker.take(share)).collect::<Outcome<_>>()?)
            }
            ClaimAsk::Done(turn) => return Ok(ClaimedRuns { runs: taker.leased, turn }),
        };
        claim.answer(answer)?;
    }
}

/// Ends leases that are over, and gives their number.
fn end_leases(tx: &Tx<'_>, count_max: u32) -> Outcome<usize> {
    let over = expired(tx, tx.at(), count_max)?;
    for id in &over {
        let RunRow { place, record } = by_row_id(tx, *id)?;
        place.store(tx, record.end_lease(tx.at()))?;
    }
    Ok(over.len())
}

/// Runs whose lease is over. There are few rules among those that are held, so each is asked in turn.
fn expired(conn: &Connection, by: Timestamp, count_max: u32) -> Outcome<Vec<i64>> {
    let next = "SELECT rule FROM runs INDEXED BY runs_leased WHERE state = 'running' AND rule > ?1
         ORDER BY rule LIMIT 1";
    let over =
        "SELECT id FROM runs INDEXED BY runs_leased WHERE state = 'running' AND rule = ?1 AND due_at <= ?2
         ORDER BY due_at LIMIT ?3";
    let mut found = Vec::new();
    let mut rule = String::new();
    while let Some(name) = conn.one(next, [&rule], |row| Ok(row.get::<_, String>(0)?))? {
        let left = i64::from(count_max).saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
        found.extend(conn.all(over, (&name, by.unix_ms(), left.max(0)), |row| Ok(row.get::<_, i64>(0)?))?);
        rule = name;
    }
    Ok(found)
}

/// The next one below, alone: most claims need no other.
fn next_priority(conn: &Connection, below: Option<i32>) -> Outcome<Vec<i32>> {
    let below = below.map_or(i64::from(i32::MAX) + 1, i64::from);
    let sql = format!("SELECT priority FROM {WAITING} AND priority < ?1 ORDER BY priority DESC LIMIT 1");
    conn.all(&sql, [below], |row| Ok(row.get(0)?))
}

/// Looks lane by lane for runs that are due by some time, of rules that may hold more.
fn look(
    conn: &Connection,
    asked: &LookAsk,
    by: Timestamp,
    may_hold_more: impl Fn(&str) -> bool,
) -> Outcome<Looks> {
    let mut looks = Looks::default();
    let mut due_count = 0;
    let (mut seen, mut found) = match asked.place.clone() {
        Place::Behind(lane) => (lane, None),
        Place::At(lane) => (lane.clone(), Some(lane)),
    };
    while looks.lanes.len() < asked.look_count_max && due_count < asked.due_count_max {
        let next = match found.take() {
            Some(lane) => Some(lane),
            None => next_lane(conn, asked.priority, &seen)?,
        };
        let is_asked_for = |lane: &Lane| asked.until.as_ref().is_none_or(|until| lane <= until);
        let Some(lane) = next.filter(is_asked_for) else {
            looks.is_end = true;
            break;
        };
        if !may_hold_more(&lane.rule) {
            looks.lanes.push(Look { lane, is_due: None });
            break;
        }
        let is_due = has_due(conn, asked.priority, &lane, by)?;
        due_count += usize::from(is_due);
        seen.clone_from(&lane);
        looks.lanes.push(Look { lane, is_due: Some(is_due) });
    }
    Ok(looks)
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

fn held(conn: &Connection, rule: &str, count_max: u32) -> Outcome<u64> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_leased
         WHERE state = 'running' AND rule = ?1 LIMIT ?2)";
    Ok(conn.one(sql, (rule, count_max), |row| row.count(0))?.unwrap_or(0))
}

/// The due runs of a share, those that are due the longest first, read by `read` from `columns`.
fn due_of<T>(
    conn: &Connection,
    columns: &str,
    share: &Share,
    by: Timestamp,
    read: impl FnMut(&Row<'_>) -> Outcome<T>,
) -> Outcome<Vec<T>> {
    let sql = format!(
        "SELECT {columns} FROM {WAITING} AND priority = ?1 AND rule = ?2 AND bucket = ?3 AND due_at <= ?4
         ORDER BY due_at LIMIT ?5"
    );
    let Share { priority, lane, count } = share;
    let count = i64::try_from(*count).unwrap_or(i64::MAX);
    conn.all(&sql, (priority, lane.rule.as_str(), lane.bucket, by.unix_ms(), count), read)
}

/// Hands runs to a worker.
struct Taker<'a, 'c> {
    tx: &'a Tx<'c>,
    lease_until: Timestamp,
    rules: HashMap<(RuleName, u32), Rule>,
    leased: Vec<LeasedRun>,
}

impl Taker<'_, '_> {
    fn take(&mut self, share: &Share) -> Outcome<Served> {
        let due: Vec<i64> = due_of(self.tx, "id", share, self.tx.at(), |row| Ok(row.get(0)?))?;
        let leased_before = self.leased.len();
        for id in &due {
            let RunRow { place, record } = by_row_id(self.tx, *id)?;
            let leased = self.lease(&place, record)?;
            self.leased.extend(leased);
        }
        Ok(Served { due: due.len(), leased: self.leased.len() - leased_before })
    }

    /// `None`: it cannot be worked on and is dead now.
    fn lease(&mut self, place: &RunPlace, record: RunRecord) -> Outcome<Option<LeasedRun>> {
        let rule = self.rule(&record.run.rule, record.run.rule_version)?;
        let attempt = match record.begin(rule.as_ref(), self.tx.at(), self.lease_until) {
            Begun::Attempt(attempt) => place.store(self.tx, attempt)?,
            Begun::Dead(dead) => {
                place.store(self.tx, dead)?;
                return Ok(None);
            }
        };
        let RunRecord { run, lease_no, due_at: _, trace } = attempt;
        let file = version_row::version(self.tx, place.file_row, run.version)?
            .ok_or_else(|| corrupt("claim run", "its version has no row").about(run.id))?
            .file;
        let rule = rule.ok_or_else(|| corrupt("claim run", "its rule is gone"))?;
        Ok(Some(LeasedRun { run, lease_no, expires_at: self.lease_until, rule, file, trace }))
    }

    fn rule(&mut self, name: &RuleName, version: u32) -> Outcome<Option<Rule>> {
        let key = (name.clone(), version);
        if let Some(rule) = self.rules.get(&key) {
            return Ok(Some(rule.clone()));
        }
        let found = rules::version(self.tx, name, version)?;
        if let Some(rule) = &found {
            self.rules.insert(key, rule.clone());
        }
        Ok(found)
    }
}

/// Runs that should be looked for, at once or later: those that wait and become due before `until`, some of each lane,
/// and those whose lease is over by then.
pub(super) fn due(conn: &Connection, until: Timestamp, limit: u32) -> Outcome<Vec<DueRun>> {
    let due_run = |row: &Row<'_>| {
        let id = RunId::from_bytes(row.get(0)?);
        Ok(DueRun { id, priority: row.get(1)?, due_at: row.time(2)? })
    };
    let mut found = Vec::new();
    let mut sweep = Sweep::new(limit);
    loop {
        let answer = match sweep.ask() {
            ClaimAsk::Expired { count_max } => {
                let one = "SELECT run_id, priority, due_at FROM runs WHERE id = ?1";
                for id in expired(conn, until, count_max)? {
                    found.extend(conn.one(one, [id], due_run)?);
                }
                Answer::Expired(found.len())
            }
            ClaimAsk::Priorities { below, .. } => Answer::Priorities(next_priority(conn, below)?),
            ClaimAsk::Looks(asked) => Answer::Looks(look(conn, &asked, until, |_rule| true)?),
            ClaimAsk::Take(shares) => {
                let mut served = Vec::with_capacity(shares.len());
                for share in &shares {
                    let due = due_of(conn, "run_id, priority, due_at", share, until, due_run)?;
                    served.push(Served { due: due.len(), leased: 0 });
                    found.extend(due);
                }
                Answer::Served(served)
            }
            // A sweep is bounded by no rule.
            ClaimAsk::Bounds { rules } => Answer::Bounds(vec![None; rules.len()]),
            ClaimAsk::Held { rules } => Answer::Held(vec![0; rules.len()]),
            ClaimAsk::Done(_turn) => return Ok(found),
        };
        sweep.answer(answer)?;
    }
}

/// Takes one run, whoever's turn it is.
pub(super) fn claim_one(
    tx: &Tx<'_>,
    id: &RunId,
    now: Timestamp,
    lease_until: Timestamp,
) -> Outcome<Option<LeasedRun>> {
    let Some(RunRow { place, mut record }) = run_row::find(tx, id)? else { return Ok(None) };
    if record.is_lease_over(now) {
        record = place.store(tx, record.end_lease(now))?;
    }
    if !record.is_due(now) {
        return Ok(None);
    }
    let mut taker = Taker { tx, lease_until, rules: HashMap::new(), leased: Vec::new() };
    taker.lease(&place, record)
}

#[cfg(test)]
mod tests;
