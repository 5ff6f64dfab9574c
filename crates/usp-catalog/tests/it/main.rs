//! The contract of `Catalog`, run against the SQLite implementation on real files.
#![expect(clippy::unwrap_used, reason = "helpers of tests may stop the test at once")]

mod world;

mod bucket_contract;
mod caller_contract;
mod claim_contract;
mod collect_contract;
mod commit_contract;
mod event_contract;
mod file_contract;
mod list_contract;
mod open_contract;
mod redo_contract;
mod run_contract;
mod upload_contract;
