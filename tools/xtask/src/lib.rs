//! Repository chores. Each check is also a test of this crate, so that `cargo test` is enough to know.

use std::fmt;
use std::path::{Path, PathBuf};

pub mod generate;

/// One thing to mend, printed as `path:line: what to do`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Relative to the root of the repository, with `/`.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    pub advice: String,
}

impl Finding {
    pub fn new(path: impl Into<String>, line: usize, advice: impl Into<String>) -> Self {
        Self { path: path.into(), line, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// The root of the repository that this crate was built in.
pub fn repository_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
