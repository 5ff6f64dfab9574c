//! A real processor in front of a real storage, with faults put between the two.
#![expect(
    clippy::unwrap_used,
    reason = "set-up stands in plain functions; what fails there should stop the test"
)]

mod drain;
mod failures;
mod faults;
mod kill;
mod leases;
mod success;
mod support;
