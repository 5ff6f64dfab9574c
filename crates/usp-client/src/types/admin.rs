//! Users, API keys, sums. What holds a secret does not print it.

use std::fmt;

use serde::{Deserialize, Serialize};
use usp_model::{ApiKeyId, BucketName, Grant, Timestamp, UserName};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: UserName,
    #[serde(default)]
    pub grants: Vec<Grant>,
    #[serde(default)]
    pub disabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Serialize)]
pub struct NewUser {
    pub name: UserName,
    /// `None`: the server draws one and tells it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    pub grants: Vec<Grant>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct CreatedUser {
    #[serde(flatten)]
    pub user: User,
    /// The drawn password, if none was given. Never told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// `None` leaves a part as it is.
#[derive(Clone, Default, Serialize)]
pub struct UserPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    #[serde(default)]
    pub name: String,
    pub user: UserName,
    #[serde(default)]
    pub grants: Vec<Grant>,
    pub created_at: Timestamp,
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct NewApiKey {
    pub name: String,
    /// `None`: the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Empty: all that the user has.
    pub grants: Vec<Grant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct CreatedApiKey {
    #[serde(flatten)]
    pub key: ApiKey,
    /// The whole key. Never told again.
    pub secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// The sum over all buckets first (`bucket: None`), then each bucket.
    pub usage: Vec<Usage>,
    pub totals: Totals,
    pub disk_bytes: u64,
    /// Those of them that nothing refers to. An older server does not say it.
    #[serde(default)]
    pub dead_bytes: u64,
}

/// How the queue of runs is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    pub kind: String,
    pub url: Option<String>,
    pub connected: bool,
    pub trouble: Option<String>,
    pub server_version: Option<String>,
    pub waiting: u64,
    pub in_hand: u64,
    pub streams: Vec<QueueStream>,
}

/// A stream that usp keeps on the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStream {
    pub name: String,
    pub description: String,
    pub layout_version: u32,
    pub subjects: Vec<String>,
    pub messages: u64,
    pub bytes: u64,
    pub replicas: u32,
    pub consumers: Vec<QueueConsumer>,
}

/// Workers that take from a stream together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConsumer {
    pub name: String,
    pub waiting: u64,
    pub in_hand: u64,
    pub redelivered: u64,
    pub asking: u64,
}

/// What one cycle of collection did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CollectReport {
    pub dry_run: bool,
    pub swept_chunks: u64,
    pub swept_bytes: u64,
    pub moved_chunks: u64,
    pub moved_bytes: u64,
    pub doomed_packs: u64,
    pub doomed_bytes: u64,
    pub erased_packs: u64,
    pub erased_bytes: u64,
    pub busy_packs: u64,
    pub damaged_packs: u64,
    pub disk_bytes: u64,
    pub dead_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub bucket: Option<BucketName>,
    pub files: u64,
    pub versions: u64,
    pub logical_bytes: u64,
    pub stored_bytes: u64,
    pub deduplicated_bytes: u64,
    /// Bytes that compression saved. An older server does not say it.
    #[serde(default)]
    pub compressed_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub chunks: u64,
    pub plain_bytes: u64,
    pub frame_bytes: u64,
    pub packs: u64,
    pub open_uploads: u64,
    pub runs_waiting: u64,
    pub runs_dead: u64,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CreatedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedUser").field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Debug for UserPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPatch")
            .field("grants", &self.grants)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CreatedApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedApiKey").field("key", &self.key).finish_non_exhaustive()
    }
}
