//! Bugs that are planted on purpose, to prove that the tests find them (docs/DEVELOPMENT.md, "Planted bugs").
//!
//! Only a build with `--cfg usp_bug` can have one. In every other build `is_planted` is `false` before the optimiser looks,
//! and nothing of a bug is left.

#[cfg(usp_bug)]
static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Plants one bug for the rest of the process; the first call counts.
#[cfg(usp_bug)]
pub fn plant(name: &str) {
    drop(PLANTED.set(name.to_owned()));
}

/// Whether this bug was planted.
#[cfg(usp_bug)]
pub fn is_planted(name: &str) -> bool {
    PLANTED.get().is_some_and(|planted| planted == name)
}

/// Does nothing: this build cannot have bugs planted in it.
#[cfg(not(usp_bug))]
pub const fn plant(_name: &str) {}

/// False.
#[cfg(not(usp_bug))]
pub const fn is_planted(_name: &str) -> bool {
    false
}
