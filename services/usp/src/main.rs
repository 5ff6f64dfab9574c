//! `usp`: files in, kept once, processed, and seen the whole way. One binary: the server in its roles, and the
//! commands that talk to one.
//!
//! This is the composition root: only here are the environment read, the log installed and the process ended.

mod backup;
mod catalog_fault;
mod cli;
mod cmd;
mod config;
mod dir_lock;
mod disk;
mod exit;
mod logging;
mod output;
mod pack_store;
mod paths;
mod place;
mod prompt;
mod render;
mod serve;
mod session;
mod step_worker;
mod telemetry;

use std::process::ExitCode;

/// Bytes are allocated on one thread and freed on another here, which the allocator of the system is slow at
/// (docs/adr/0035-jemalloc.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if let Some(args) = step_worker::asked_for(std::env::args_os()) {
        return step_worker::run(args);
    }
    // Fails only when a provider stands already, and then one stands.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run().into()
}
