//! Rules, every version of each, so that a run finds the one it began with.

use rusqlite::Connection;
use usp_decide::rule::{self, Erase};
use usp_model::{Rule, RuleName, Timestamp};

use super::ask::{Ask, Column, to_json};
use super::fail::Outcome;
use super::tx::Tx;
use crate::records::Erased;

pub(super) fn put(tx: &Tx<'_>, rule: Rule, at: Timestamp) -> Outcome<Rule> {
    let newest = newest(tx, rule.name.as_str())?;
    store(tx, rule::numbered(newest.as_ref(), rule), at)
}

/// In force from now on.
fn store(tx: &Tx<'_>, rule: Rule, at: Timestamp) -> Outcome<Rule> {
    tx.run(
        "INSERT INTO rules (name, version, body, created_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name, version) DO UPDATE SET body = ?3",
        (rule.name.as_str(), rule.version, to_json(&rule)?, at.unix_ms()),
    )?;
    tx.run("UPDATE rules SET is_retired = 0 WHERE name = ?1 AND is_retired", [rule.name.as_str()])?;
    Ok(rule)
}

fn newest(conn: &Connection, name: &str) -> Outcome<Option<Rule>> {
    let sql = "SELECT body FROM rules WHERE name = ?1 ORDER BY version DESC LIMIT 1";
    conn.one(sql, [name], |row| row.json(0))
}

pub(super) fn write(tx: &Tx<'_>, rule: Rule, at: Timestamp) -> Outcome<Rule> {
    tx.run(
        "INSERT INTO written_rules (name, body) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET body = ?2",
        (rule.name.as_str(), to_json(&rule)?),
    )?;
    put(tx, rule, at)
}

pub(super) fn erase(tx: &Tx<'_>, name: &RuleName, instead: Option<Rule>, at: Timestamp) -> Outcome<Erased> {
    let is_written = tx.run("DELETE FROM written_rules WHERE name = ?1", [name.as_str()])? > 0;
    let newest = match &instead {
        Some(instead) if is_written => newest(tx, instead.name.as_str())?,
        _ => None,
    };
    match rule::erase(is_written, newest.as_ref(), instead) {
        Erase::NotWritten => Ok(Erased::NotWritten),
        Erase::Retire { instead } => {
            retire_one(tx, name)?;
            Ok(Erased::Now(instead.map(|instead| store(tx, instead, at)).transpose()?))
        }
    }
}

fn retire_one(tx: &Tx<'_>, name: &RuleName) -> Outcome<()> {
    tx.run("UPDATE rules SET is_retired = 1 WHERE name = ?1", [name.as_str()])?;
    Ok(())
}

/// One that cannot be read any more is left out, and can be written anew.
pub(super) fn written(conn: &Connection) -> Outcome<Vec<Rule>> {
    let rules = conn.all("SELECT name, body FROM written_rules ORDER BY name", [], |row| {
        let (name, rule): (String, Outcome<Rule>) = (row.get(0)?, row.json(1));
        Ok((name, rule.map_err(|fail| fail.into_error("read rule"))))
    })?;
    let readable = rules.into_iter().filter_map(|(name, rule)| {
        rule.inspect_err(
            |error| tracing::error!(rule = name, error = %error.chain(), "a written rule is left out"),
        )
        .ok()
    });
    Ok(readable.collect())
}

/// The bound of a rule that counts no more, for its runs that still wait.
pub(super) fn bound_of_retired(conn: &Connection, name: &str) -> Outcome<Option<u32>> {
    Ok(rule::bound_of_retired(newest(conn, name)?.as_ref()))
}

pub(super) fn list(conn: &Connection) -> Outcome<Vec<Rule>> {
    // Of a version that is not in force the body need not be one that can be read.
    let sql = "SELECT body, version = (SELECT max(version) FROM rules WHERE name = r.name), is_retired
         FROM rules r ORDER BY name";
    let in_force = conn.all(sql, [], |row| match rule::is_in_force(row.get(1)?, row.get(2)?) {
        true => row.json(0).map(Some),
        false => Ok(None),
    })?;
    Ok(in_force.into_iter().flatten().collect())
}

/// Retired rules keep their rows, because runs point at them; they are not listed and match no file.
pub(super) fn retire(tx: &Tx<'_>, keep: &[RuleName]) -> Outcome<()> {
    let sql = "SELECT DISTINCT name FROM rules WHERE NOT is_retired";
    let listed: Vec<RuleName> = tx.all(sql, [], |row| row.text(0))?;
    rule::retired(&listed, keep).into_iter().try_for_each(|name| retire_one(tx, name))
}

/// That version of the rule, retired or not.
pub(super) fn version(conn: &Connection, name: &RuleName, version: u32) -> Outcome<Option<Rule>> {
    let sql = "SELECT body FROM rules WHERE name = ?1 AND version = ?2";
    conn.one(sql, (name.as_str(), version), |row| row.json(0))
}
