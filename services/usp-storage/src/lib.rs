//! The transaction: joins content, catalogue and queue into uploads, reads, deletes and runs.
//!
//! [`Storage`] implements [`StorageApi`](usp_api::StorageApi). Everything that two dialects must agree on stands here:
//! who may do what to which object, what a bucket accepts, when bytes count as received, which rules apply.
//!
//! Storage is made of parts over a small `Core` (clock, settings, counters). A part holds the ports of the catalogue and the
//! tools that it needs, and knows the parts below it; none knows one beside or above it:
//!
//! ```text
//!                              Storage (api.rs: each call goes to the part with a method of its name)
//!      ┌───────────┬───────────┬───────┴────┬────────────┬───────────┐
//!   Identity     Rules        Runs        Events       Uploads     Upkeep
//!      │           └───────────┼────────────┘            │           │
//!      │                     Files                       │           │
//!      │                       └───────────┬─────────────┘           │
//!      │                                Buckets                      │
//!      │        RulesInForce · ProgressChannel · Turns · DiskSpace   │
//!      └───────────────────────────────── Core ──────────────────────┘
//! ```
//!
//! | part | ports of the catalogue | knows besides `Core` |
//! |---|---|---|
//! | `Identity` | accounts | tokens |
//! | `Buckets` | buckets | the rules in force |
//! | `Files` | files; runs and uploads for a status | `Buckets`, content, disk space |
//! | `Uploads` | uploads, files | `Buckets`, the rules in force, content, disk space, turns, progress |
//! | `Rules` | rules | `Files`, the rules in force |
//! | `Runs` | runs, events | `Files`, `Buckets`, the rules in force, the queue, progress |
//! | `Events` | events, uploads | `Files`, `Buckets`, progress |
//! | `Upkeep` | store, upkeep, and all that expires | content, the queue, disk space, turns |
//!
//! What a call writes is one act of its caller (`Act`), made where the call comes in; what storage does by itself is an act
//! of a duty.
//!
//! A stored file comes about in this order (uploads/put.rs; the outcome of a failure at each step in brackets):
//!
//! 1. The caller is checked against the bucket, the file against the policy. [refused, nothing stored]
//! 2. Pieces are cut, hashed, looked up, compressed, verified and appended to open packs. [frames without a row: space
//!    that collection takes back; the caller hears of the failure]
//! 3. Every 64 MiB what was appended is synced and committed to an upload session. [a plain PUT ends its session, a
//!    resumable upload keeps what was committed]
//! 4. The rest is synced. [as 3]
//! 5. One catalogue transaction: chunk rows, manifest, version, usage, planned runs, events. [rolled back whole]
//! 6. The caller gets its answer. [lost answer: the file is there; the idempotency key or the key's ETag tells]

mod access;
mod api;
mod buckets;
mod config;
mod core;
mod disk;
mod events;
mod files;
mod identity;
mod index;
mod metrics;
mod progress;
mod rule_book;
mod rules;
mod runs;
mod storage;
mod turns;
mod upkeep;
mod uploads;

pub use config::StorageConfig;
pub use disk::Disk;
pub use index::CatalogIndex;
pub use metrics::StorageMetrics;
pub use rules::{RuleSources, built_in_rules, check_rules, parse_rules};
pub use storage::{Storage, StorageParts};
pub use upkeep::Checker;
