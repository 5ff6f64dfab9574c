//! What goes through the door, beyond the entities of the model.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use usp_model::{
    Act, ApiKey, BucketName, BucketPolicy, ByteRange, ContentDigest, File, FileId, FileKey, FileRef,
    FileState, Finding, Grant, KeyCondition, LabelKey, MediaType, PackDamage, Principal, Rule, RuleName, Run,
    StoreTotals, Timestamp, UploadId, Usage, User, UserName,
};

use crate::ByteStream;

/// On whose behalf a call is made, and under which request id it is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    pub principal: Principal,
    pub request_id: String,
}

impl Caller {
    /// What the caller asks for at `at`.
    pub fn act(&self, at: Timestamp) -> Act {
        Act::of(&self.principal, &self.request_id, at)
    }
}

/// A whole content under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewFile {
    pub bucket: BucketName,
    pub key: FileKey,
    /// What the client announced; content of another length is refused.
    pub size_bytes: Option<u64>,
    pub declared_media_type: Option<MediaType>,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub condition: KeyCondition,
    /// Every one must match, else nothing is stored.
    pub expected_digests: Vec<ContentDigest>,
    pub idempotency_key: Option<String>,
    /// A rule to apply even if its condition does not hold.
    pub rule: Option<RuleName>,
    /// The W3C trace context (`traceparent`) of the request: it goes with the runs to workers and into events.
    pub trace: Option<String>,
}

impl NewFile {
    /// A content with nothing said about it but its place.
    pub fn at(bucket: BucketName, key: FileKey) -> Self {
        Self {
            bucket,
            key,
            size_bytes: None,
            declared_media_type: None,
            metadata: BTreeMap::new(),
            labels: BTreeMap::new(),
            condition: KeyCondition::Any,
            expected_digests: Vec::new(),
            idempotency_key: None,
            rule: None,
            trace: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PutOutcome {
    pub file: File,
    /// False for a new version of a file that stood already, or an answer repeated by its idempotency key.
    pub is_new_file: bool,
}

/// Where the bytes that follow go. `offset` must be what the upload has received so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppendUpload {
    pub id: UploadId,
    pub offset: u64,
    /// How long the whole will be, for an upload that did not say so when it was opened.
    pub size_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadFile {
    pub file: FileRef,
    /// `None`: the current one.
    pub version: Option<u32>,
    /// `None`: all of it.
    pub range: Option<ByteRange>,
    pub coding: Coding,
}

/// The form in which a whole content leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coding {
    #[default]
    Plain,
    /// Zstandard frames (RFC 8878), stored ones as they are. Not for ranges and empty contents, which are always plain.
    Zstd,
}

/// Content on its way out.
pub struct Reading {
    pub file: File,
    pub range: ByteRange,
    /// Verified pieces in order, of `range.len()` bytes in all unless they are coded. Dropping it ends the read.
    pub content: ByteStream,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("file", &self.file.id)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Where a file is, from its first byte to the end of its last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileStatus {
    pub file_id: FileId,
    pub bucket: BucketName,
    pub state: FileState,
    pub upload: UploadStatus,
    pub runs: Vec<Run>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UploadStatus {
    pub received_bytes: u64,
    pub size_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewBucket {
    pub name: BucketName,
    pub policy: BucketPolicy,
}

/// How many runs are tried again, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetriedRuns {
    pub retried: u64,
    /// `None`: the query finds no more.
    pub next_cursor: Option<String>,
}

/// A rule that was put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrittenRule {
    pub rule: Rule,
    /// There was none of that name in force.
    pub is_new: bool,
}

/// What a rule would do to a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleTest {
    pub rule: RuleName,
    pub matches: bool,
    /// Why the condition could not be evaluated; such a rule does not match.
    pub error: Option<String>,
    /// Steps that would run, in order.
    pub steps: Vec<String>,
}

/// What a client trades for tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenGrant {
    Password { user: UserName, password: String },
    Refresh { token: String },
}

impl fmt::Debug for TokenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, redacted)"),
            Self::Refresh { .. } => f.write_str("Refresh(redacted)"),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPair {
    pub access_token: String,
    pub expires_in_s: u64,
    pub refresh_token: String,
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenPair(redacted)")
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    pub name: UserName,
    /// `None`: storage draws one and tells it once.
    pub password: Option<String>,
    pub grants: Vec<Grant>,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedUser {
    pub user: User,
    /// The drawn password, if none was given. Never told again.
    pub password: Option<String>,
}

impl fmt::Debug for CreatedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedUser").field("user", &self.user).finish_non_exhaustive()
    }
}

/// `None` leaves a part as it is.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPatch {
    pub password: Option<String>,
    pub grants: Option<Vec<Grant>>,
    pub disabled: Option<bool>,
}

impl fmt::Debug for UserPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPatch")
            .field("grants", &self.grants)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApiKey {
    /// `None`: the caller.
    pub user: Option<UserName>,
    /// What the key is for.
    pub name: String,
    /// Empty: all that the user has.
    pub grants: Vec<Grant>,
    pub ttl_s: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedApiKey {
    pub key: ApiKey,
    /// The whole key. Never told again.
    pub secret: String,
}

impl fmt::Debug for CreatedApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedApiKey").field("key", &self.key).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// The sum over all buckets first, then each visible one.
    pub usage: Vec<Usage>,
    pub totals: StoreTotals,
    /// Bytes of all packs on disk.
    pub disk_bytes: u64,
    /// Those of them that nothing refers to: collection gives them back.
    pub dead_bytes: u64,
}

/// What one cycle of collection did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectReport {
    /// Nothing was changed; only chunks were counted.
    pub dry_run: bool,
    /// Chunks that nothing refers to, and their bytes as they are kept.
    pub swept_chunks: u64,
    pub swept_bytes: u64,
    /// Chunks that were copied out of packs which hold little else.
    pub moved_chunks: u64,
    pub moved_bytes: u64,
    /// Packs that hold nothing any more: they are erased two cycles and the grace period later.
    pub doomed_packs: u64,
    pub doomed_bytes: u64,
    pub erased_packs: u64,
    pub erased_bytes: u64,
    /// Packs that an upload was about to refer to; their turn comes in the next cycle.
    pub busy_packs: u64,
    /// Packs with damaged frames; they were set aside and are kept.
    pub damaged_packs: u64,
    /// Bytes of all packs on disk after it, and those of them that nothing refers to.
    pub disk_bytes: u64,
    pub dead_bytes: u64,
}

/// How to scrub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubOptions {
    /// `None` or 0: as fast as the medium.
    pub pace_bytes_per_s: Option<u64>,
    /// Goes on with a scrub that was cut off, or changes the pace of the one that runs; without any it begins one.
    pub resume: bool,
}

/// Where the scrub that runs, or ran last, stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    pub running: bool,
    /// Of the one that runs; 0: as fast as the medium.
    pub pace_bytes_per_s: Option<u64>,
    /// `None`: there was none yet.
    pub began_at: Option<Timestamp>,
    /// `None` while packs are left.
    pub ended_at: Option<Timestamp>,
    pub packs: u64,
    pub packs_left: u64,
    pub frames: u64,
    pub size_bytes: u64,
    /// Stretches of packs that failed their check.
    pub damaged: u64,
}

/// What is damaged, and who is hit by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageReport {
    pub damage: Vec<PackDamage>,
    pub contents: Vec<AffectedContent>,
    /// More contents are hit than are listed.
    pub is_cut: bool,
}

/// What a check of catalogue and packs found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Every frame was read.
    pub is_deep: bool,
    /// What was looked at.
    pub contents: u64,
    pub packs: u64,
    pub chunks: u64,
    pub finding_count: u64,
    /// Bytes that were acknowledged may be unreadable.
    pub is_grave: bool,
    /// The first 1,000.
    pub findings: Vec<Finding>,
}

/// A content that cannot be read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffectedContent {
    pub bucket: BucketName,
    pub key: FileKey,
    /// `None` for an open upload.
    pub version: Option<u32>,
    pub file_id: FileId,
    /// The open upload whose content it is.
    pub upload_id: Option<UploadId>,
    /// Which of the damage, counted from 0.
    pub damage: Vec<usize>,
}

/// Whether a role can do its work, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    pub ready: bool,
    /// One sentence each. A role that is ready may still wait for what it can do without.
    pub waiting_for: Vec<String>,
}
