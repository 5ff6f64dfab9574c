//! Workers: lease a run, read its bytes, run its steps, report.
//!
//! A run goes through here like this (job.rs; the outcome of a failure at each point in brackets):
//!
//! 1. Lease: storage hands out a run under a lease number (source.rs). [answer lost: due again after the lease time]
//! 2. For each step that has not succeeded yet: open the content, give it to the step on the bench (bench.rs: a thread, or a
//!    process of its own), keep the lease alive, tell the progress. [step fails: step 3 says so; worker dies: due again after the lease time, the attempt
//!    counts; lease lost: everything is dropped and nothing is written]
//! 3. Report: steps, outputs and outcome in one transaction, refused unless the lease number is still the current one.
//!    [storage away: tried again until the lease must be gone]
//!
//! Steps are pure and their outputs are published by the report alone, so a run that ran twice shows once.

mod bench;
mod content;
mod job;
mod metrics;
mod processor;
mod source;
mod spans;
mod step_reports;

pub use bench::{ChildLimits, Isolation, WorkerProgram, serve_steps};
pub use metrics::ProcessorMetrics;
pub use processor::{Processor, ProcessorConfig};
