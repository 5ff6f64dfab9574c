//! Stores what the runs of a version mean for its state, as `usp_decide::rollup` decides.

use rusqlite::Connection;
use usp_decide::rollup::{self, RunPart, Standing};
use usp_model::Timestamp;

use super::ask::{Ask, Column};
use super::events::{self, Subject};
use super::fail::Outcome;
use super::tx::Tx;
use super::version_row::{self, VersionRow};

pub(super) fn roll_up(tx: &Tx<'_>, file_row: i64, version: u32, at: Timestamp) -> Outcome<()> {
    let Some((row, is_current)) = standing(tx, file_row, version)? else { return Ok(()) };
    if !rollup::follows_runs(row.file.state) {
        return Ok(());
    }
    let standing = Standing { file: &row.file, release: row.release, is_current };
    let Some(now) = rollup::roll_up(standing, &runs_of(tx, file_row, version)?, at) else { return Ok(()) };
    version_row::set_state(tx, file_row, version, now.state, now.released, at)?;
    match now.event {
        Some(body) => events::emit(tx, row.bucket_row, Subject::File(file_row), &row.file.key, &[body]),
        None => Ok(()),
    }
}

/// That version, and whether it is the current one.
fn standing(conn: &Connection, file_row: i64, version: u32) -> Outcome<Option<(VersionRow, bool)>> {
    let current = version_row::current(conn, file_row)?;
    if let Some(row) = current.filter(|row| row.file.version == version) {
        return Ok(Some((row, true)));
    }
    Ok(version_row::version(conn, file_row, version)?.map(|row| (row, false)))
}

fn runs_of(conn: &Connection, file_row: i64, version: u32) -> Outcome<Vec<RunPart>> {
    let sql = "SELECT state, required FROM runs WHERE file = ?1 AND version = ?2";
    conn.all(sql, (file_row, version), |row| Ok(RunPart { state: row.text(0)?, required: row.get(1)? }))
}
