//! What the runs of a version mean for the state of the file.

use usp_decide::event;
use usp_model::{FileState, Release, RunState, Timestamp};

use super::ask::{Ask, Column};
use super::events::{self, Subject};
use super::fail::Outcome;
use super::tx::Tx;
use super::version_row;

/// Sets the state of a version from its runs, and tells of it if the version is current and the state is another.
///
/// - A required run that is dead or was cancelled makes it `failed`, at once.
/// - Else, as long as a run has not ended, it is `processing`.
/// - Else it is `ready`; a version that was held back until then is released.
///
/// Versions that something else decided about (`quarantined`, `rejected`) stay as they are.
pub(super) fn roll_up(tx: &Tx<'_>, file_row: i64, version: u32, at: Timestamp) -> Outcome<()> {
    let Some(row) = version_row::version(tx, file_row, version)? else { return Ok(()) };
    if matches!(row.file.state, FileState::Quarantined | FileState::Rejected | FileState::Uploading) {
        return Ok(());
    }
    let state = state_from_runs(tx, file_row, version)?;
    let is_released = row.file.released || row.release == Release::Immediate || state == FileState::Ready;
    if state == row.file.state && is_released == row.file.released {
        return Ok(());
    }
    let is_current = version_row::set_state(tx, file_row, version, state, is_released, at)?;
    if !is_current {
        return Ok(());
    }
    let file = usp_model::File { state, released: is_released, updated_at: at, ..row.file };
    events::emit(tx, row.bucket_row, Subject::File(file_row), &file.key, &[event::of_file(&file)])
}

fn state_from_runs(tx: &Tx<'_>, file_row: i64, version: u32) -> Outcome<FileState> {
    let sql = "SELECT state, required FROM runs WHERE file = ?1 AND version = ?2";
    let runs: Vec<(RunState, bool)> =
        tx.all(sql, (file_row, version), |row| Ok((row.text(0)?, row.get(1)?)))?;
    let has_failed = |(state, required): &(RunState, bool)| {
        *required && matches!(state, RunState::Dead | RunState::Cancelled)
    };
    if runs.iter().any(has_failed) {
        return Ok(FileState::Failed);
    }
    let is_busy = runs.iter().any(|(state, _)| !state.is_final());
    Ok(if is_busy { FileState::Processing } else { FileState::Ready })
}
