//! The one table of permissions: what each is called and what it takes.

use std::fmt;

use usp_model::Role;

/// What a caller must have for a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A valid credential; no grant.
    AnyCaller,
    /// This role or a stronger one in the bucket at hand, or in all buckets.
    InBucket(Role),
    /// This role or a stronger one in all buckets: the thing at hand belongs to no single bucket.
    Everywhere(Role),
    /// Another role of this installation. No grant of a user or API key is enough.
    ServiceOnly,
}

macro_rules! permissions {
    ($($(#[$meta:meta])* $variant:ident = $word:literal takes $need:expr;)+) => {
        /// What can be allowed. Closed: each route and procedure names exactly one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission {
            $(
                #[doc = concat!("`", $word, "`.")]
                $(#[$meta])*
                $variant,
            )+
        }

        impl Permission {
            /// Every permission, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The one word for this permission, as `GET /me` and the audit trail spell it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What it takes.
            pub fn need(self) -> Need {
                match self { $(Self::$variant => $need,)+ }
            }
        }
    };
}

permissions! {
    /// Content, fields, versions, status and reports of files; lists.
    FileRead = "file.read" takes Need::InBucket(Role::Reader);
    /// Uploads, new versions, labels, metadata.
    FileWrite = "file.write" takes Need::InBucket(Role::Writer);
    FileDelete = "file.delete" takes Need::InBucket(Role::Writer);
    /// Signed links that work without a credential.
    FileShare = "file.share" takes Need::InBucket(Role::Writer);
    BucketRead = "bucket.read" takes Need::InBucket(Role::Reader);
    BucketCreate = "bucket.create" takes Need::Everywhere(Role::Manager);
    /// The policy of a bucket.
    BucketManage = "bucket.manage" takes Need::InBucket(Role::Manager);
    BucketDelete = "bucket.delete" takes Need::InBucket(Role::Admin);
    RunRead = "run.read" takes Need::InBucket(Role::Reader);
    /// Start, retry and cancel runs.
    RunManage = "run.manage" takes Need::InBucket(Role::Writer);
    /// Rules belong to the installation; a bucket's policy only names them.
    RuleRead = "rule.read" takes Need::Everywhere(Role::Reader);
    RuleManage = "rule.manage" takes Need::Everywhere(Role::Manager);
    EventRead = "event.read" takes Need::InBucket(Role::Reader);
    WebhookManage = "webhook.manage" takes Need::Everywhere(Role::Manager);
    UserManage = "user.manage" takes Need::Everywhere(Role::Admin);
    ApiKeyManage = "api_key.manage" takes Need::Everywhere(Role::Admin);
    AuditRead = "audit.read" takes Need::Everywhere(Role::Admin);
    StatsRead = "stats.read" takes Need::Everywhere(Role::Manager);
    /// Collection, scrubbing, backup and restore.
    StoreManage = "store.manage" takes Need::Everywhere(Role::Admin);
    /// Who am I, and what may I do?
    SelfRead = "self.read" takes Need::AnyCaller;
    /// Lease runs, read the content of a leased run, report.
    WorkLease = "work.lease" takes Need::ServiceOnly;
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
