//! Programs that keep versions of a tree: what the versions scenario measures.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::contestant::{About, Places};

pub(crate) mod borg;
pub(crate) mod restic;
pub(crate) mod rustic;
pub(crate) mod usp;

/// No step of the versions scenario takes longer.
pub(crate) const STEP_TIME_MAX: Duration = Duration::from_secs(240);

/// What one step cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Step {
    pub(crate) seconds: f64,
    /// Of all that takes part, client and server.
    pub(crate) cpu_seconds: f64,
    pub(crate) memory_peak_bytes: u64,
}

/// Takes versions in and gives them back.
pub(crate) trait Keeper: fmt::Debug + Sync {
    fn name(&self) -> &'static str;
    /// The command that installs it, when it is not there.
    fn missing(&self, places: &Places) -> Option<String>;
    fn about(&self, places: &Places) -> About;
    /// Makes an empty store below `dir`, which exists.
    fn open(&self, places: &Places, dir: &Path) -> Result<Box<dyn Store>>;
}

/// A store that was made for one turn.
pub(crate) trait Store: fmt::Debug {
    /// Takes in the tree or the file at `source` as version `name`.
    fn ingest(&mut self, source: &Path, name: &str) -> Result<Step>;
    /// Writes version `name` below `target`, which exists and is empty.
    fn restore(&mut self, name: &str, target: &Path) -> Result<Step>;
    /// Where its bytes lie.
    fn place(&self) -> &Path;
}

/// usp first: ratios are to the first of a table.
pub(crate) const ALL: &[&dyn Keeper] =
    &[&usp::Usp, &restic::Restic, &borg::Borg { fine: false }, &borg::Borg { fine: true }, &rustic::Rustic];
