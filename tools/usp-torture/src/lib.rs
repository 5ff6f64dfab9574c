//! Crashes, faults and models: everything that tries to make a store break its promise.
//!
//! ```text
//! actor    a process that works on a store, and writes what it was promised into a ledger elsewhere    (actor.rs)
//! trace    what that process did to its disk, call by call, as strace saw it                           (trace.rs)
//! disk     the same calls on a disk that loses what was not synced; any moment, any fate               (disk.rs)
//! check    recovers such a disk with the code that ships, and compares it with the ledger              (check.rs)
//! ```
//!
//! Nothing in the tested code knows of any of this: packs and catalogue are recorded together, below both. Why so:
//! docs/adr/0026-recorded-power-cuts.md.

pub mod actor;
pub mod check;
pub mod content;
pub mod disk;
pub mod figures;
pub mod kill;
pub mod ledger;
pub mod mount;
pub mod power;
pub mod record;
pub mod scenario;
pub mod store;
pub mod trace;
