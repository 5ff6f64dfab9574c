//! The long tests of storage. Each has a figure for every change and a longer one for `make torture`; DEVELOPMENT.md,
//! section 4, says what is proven by what.
//!
//! In a build with `--cfg usp_bug`, `USP_BUG` plants a bug in the tested code: then one of these tests must fail
//! (tools/planted-bugs.sh).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and tells its figures"
)]

mod bits;
mod collect;
mod cuts;
mod faults;
mod kills;
mod model;
mod power;
mod time;

use usp_torture::record::Program;

/// The process under test.
fn program() -> Program {
    Program { path: env!("CARGO_BIN_EXE_usp-torture").into(), bug: std::env::var("USP_BUG").ok() }
}

/// For tests whose storage runs in their own process.
fn plant() {
    if let Ok(bug) = std::env::var("USP_BUG") {
        usp_rt::plant(&bug);
    }
}
