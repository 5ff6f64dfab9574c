//! The calls of the contract, grouped as its table is.

mod accounts;
mod buckets;
mod files;
mod read;
mod rules;
mod runs;

pub use files::{ListFiles, PutFile};
pub use read::{Content, ContentStream};
pub use runs::ListRuns;
