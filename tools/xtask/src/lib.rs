//! Repository chores. Each check is also a test of this crate, so that `cargo test` is enough to know.

use std::fmt;
use std::path::{Path, PathBuf};

pub mod arrows;
mod comments;
pub mod deny;
pub mod generate;
pub mod tidy;

/// One thing to mend, printed as `path:line: [rule] what to do`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Relative to the root of the repository, with `/`.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// Which check speaks; what `tidy-exceptions.txt` calls it.
    pub rule: &'static str,
    pub advice: String,
}

impl Finding {
    pub fn new(path: impl Into<String>, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { path: path.into(), line, rule, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.advice)
    }
}

/// The root of the repository that this crate was built in.
pub fn repository_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
