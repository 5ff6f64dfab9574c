//! The transaction: joins content, catalogue and queue into uploads, reads, deletes and runs.
//!
//! [`Storage`] implements [`StorageApi`](usp_api::StorageApi). Everything that two dialects must agree on stands here:
//! who may do what to which object, what a bucket accepts, when bytes count as received, which rules apply.
//!
//! A stored file comes about in this order (put.rs; the outcome of a failure at each step in brackets):
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
mod announce;
mod api;
mod buckets;
mod check;
mod collect;
mod files;
mod identity;
mod index;
mod live;
mod media;
mod metrics;
mod offers;
mod progress;
mod put;
mod relay;
mod rescue;
mod room;
mod rules;
mod scrub;
mod storage;
mod uploads;
mod work;

pub use check::Checker;
pub use index::CatalogIndex;
pub use metrics::StorageMetrics;
pub use room::Room;
pub use rules::{RuleSources, built_in_rules, check_rules, parse_rules};
pub use storage::{Storage, StorageConfig, StorageParts};
