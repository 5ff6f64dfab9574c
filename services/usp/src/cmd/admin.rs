//! `usp admin user|key|bucket|stats|queue|gc|scrub|fsck|backup|restore|rebuild-index`

mod backup;
mod bucket;
mod fsck;
mod gc;
mod key;
mod queue;
mod rebuild;
mod scrub;
mod stats;
mod user;

use anyhow::Result;
use clap::{Args, Subcommand};
use usp_model::{BucketName, Grant, Role};

use crate::session::Session;

/// Manage users, API keys and buckets; look after the store
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp admin user ls\n  usp admin stats")]
pub(crate) struct AdminArgs {
    #[command(subcommand)]
    verb: AdminVerb,
}

#[derive(Debug, Subcommand)]
enum AdminVerb {
    User(user::UserArgs),
    Key(key::KeyArgs),
    Bucket(bucket::BucketArgs),
    /// Show sums: files, bytes as users see them, bytes on disk
    #[command(after_help = "Example:\n  usp admin stats --json")]
    Stats,
    Queue(queue::QueueArgs),
    Gc(gc::GcArgs),
    Scrub(scrub::ScrubArgs),
    Fsck(fsck::FsckArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    RebuildIndex(rebuild::RebuildArgs),
}

pub(crate) async fn run(args: AdminArgs, session: &Session) -> Result<()> {
    match args.verb {
        AdminVerb::User(args) => user::run(args, session).await,
        AdminVerb::Key(args) => key::run(args, session).await,
        AdminVerb::Bucket(args) => bucket::run(args, session).await,
        AdminVerb::Stats => stats::run(session).await,
        AdminVerb::Queue(args) => queue::run(args, session).await,
        AdminVerb::Gc(args) => gc::run(args, session).await,
        AdminVerb::Scrub(args) => scrub::run(args, session).await,
        AdminVerb::Fsck(args) => fsck::run(args, session).await,
        AdminVerb::Backup(args) => backup::back_up(args, session).await,
        AdminVerb::Restore(args) => backup::restore(args, session).await,
        AdminVerb::RebuildIndex(args) => rebuild::run(args, session).await,
    }
}

/// What someone is allowed to do.
#[derive(Debug, Args)]
struct GrantArgs {
    /// What is allowed: admin, manager, writer or reader
    #[arg(long)]
    role: Option<Role>,
    /// Only in this bucket; may be repeated
    #[arg(long = "bucket", value_name = "BUCKET", requires = "role")]
    buckets: Vec<BucketName>,
}

impl GrantArgs {
    /// `None` when nothing was said.
    fn grants(&self) -> Option<Vec<Grant>> {
        let role = self.role?;
        if self.buckets.is_empty() {
            return Some(vec![Grant { bucket: None, role }]);
        }
        Some(self.buckets.iter().map(|bucket| Grant { bucket: Some(bucket.clone()), role }).collect())
    }
}

/// `writer in reports, reader everywhere`
fn granted(grants: &[Grant]) -> String {
    let one = |grant: &Grant| match &grant.bucket {
        Some(bucket) => format!("{} in {bucket}", grant.role),
        None => format!("{} everywhere", grant.role),
    };
    grants.iter().map(one).collect::<Vec<_>>().join(", ")
}
