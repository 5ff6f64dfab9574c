//! The shapes of REST's JSON as a client reads and writes them. Fields that this version does not know are ignored.

mod admin;
mod bucket;
mod event;
mod file;
mod rule;
mod run;
mod store;
mod token;

use serde::{Deserialize, Serialize};

pub use admin::{
    ApiKey, CollectReport, CreatedApiKey, CreatedUser, NewApiKey, NewUser, QueueConsumer, QueueStatus,
    QueueStream, Stats, Totals, Usage, User, UserPatch,
};
pub use bucket::{Bucket, BucketPatch, NewBucket};
pub use event::Event;
pub use file::{DerivedFile, File, FilePage, FileStatus, StoredBytes, UploadStatus};
pub use rule::{Retry, Rule, RuleStep, RuleTest};
pub use run::{RetriedRuns, Run, RunPage, RunStatus, Step};
pub use store::{AffectedFile, CheckReport, DamageReport, Finding, PackDamage, ScrubStatus};
pub use token::{Me, MePermission, TokenPair};

/// A list that is whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}
