//! When a file is ready: what the runs of a version mean for its state.
//!
//! - A required run that is dead or was cancelled makes it `failed`, at once.
//! - Else, as long as a run has not ended, it is `processing`.
//! - Else it is `ready`; a version that was held back until then is released.
//!
//! Versions that something else decided about (`quarantined`, `rejected`) stay as they are.

use usp_model::{EventBody, File, FileState, Release, RunState, Timestamp};

use crate::event;

/// A run as far as its version's state depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunPart {
    pub state: RunState,
    pub required: bool,
}

/// A version before its runs are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    pub file: &'a File,
    pub release: Release,
    /// Of a superseded version nothing is told.
    pub is_current: bool,
}

/// A version whose state or release follows anew.
#[derive(Debug, Clone, PartialEq)]
pub struct RolledUp {
    pub state: FileState,
    pub released: bool,
    /// What is said of it, if it is the current version.
    pub event: Option<EventBody>,
}

/// The state that runs give their version.
pub fn state_of(runs: &[RunPart]) -> FileState {
    let has_failed =
        |run: &RunPart| run.required && matches!(run.state, RunState::Dead | RunState::Cancelled);
    if runs.iter().any(has_failed) {
        return FileState::Failed;
    }
    let is_busy = runs.iter().any(|run| !run.state.is_final());
    if is_busy { FileState::Processing } else { FileState::Ready }
}

/// Whether runs have a say about a version in that state; if not, they need not be loaded.
pub fn follows_runs(state: FileState) -> bool {
    !matches!(state, FileState::Quarantined | FileState::Rejected | FileState::Uploading)
}

/// What all runs of a version make of it. `None`: it stays as it is.
pub fn roll_up(standing: Standing<'_>, runs: &[RunPart], at: Timestamp) -> Option<RolledUp> {
    let Standing { file, release, is_current } = standing;
    if !follows_runs(file.state) {
        return None;
    }
    let state = state_of(runs);
    let released = file.released || release == Release::Immediate || state == FileState::Ready;
    if state == file.state && released == file.released {
        return None;
    }
    let now = || File { state, released, updated_at: at, ..file.clone() };
    Some(RolledUp { state, released, event: is_current.then(|| event::of_file(&now())) })
}

#[cfg(test)]
mod tests;
