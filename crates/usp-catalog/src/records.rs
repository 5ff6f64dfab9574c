//! What goes into and comes out of catalogue transactions, beyond the entities of the model.

use std::collections::BTreeMap;

use serde_json::Value;
use usp_model::{
    ApiKey, Bucket, BucketName, ChunkRef, ContentDigests, DomainId, DomainKey, EventKind, EventSeq, File,
    FileId, FileKey, FileState, LabelKey, ManifestId, MediaType, Release, ResumePoint, RetryPolicy, Rule,
    RuleName, RuleStep, Run, RunId, StepState, StoredBytes, Timestamp, Upload, UploadId, User, UserName,
};

/// A bucket with the dedup domain that its chunks belong to.
#[derive(Debug, Clone)]
pub struct BucketRecord {
    pub bucket: Bucket,
    pub domain: DomainId,
    pub domain_key: DomainKey,
}

/// A condition on what stands under the key at the moment of the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCondition {
    Any,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match`: the current version has one of these etags (without quotes). Empty: any version will do (`*`).
    Matches(Vec<String>),
}

/// A new upload session. The file id is preliminary unless the key stands already; then it is that file's id.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub id: UploadId,
    pub file_id: FileId,
    pub bucket: BucketName,
    pub key: FileKey,
    pub size_bytes: Option<u64>,
    pub declared_media_type: Option<MediaType>,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub owner: UserName,
    pub at: Timestamp,
    pub expires_at: Timestamp,
    /// False for the session behind a plain PUT: it makes no events and dies with its request.
    pub is_announced: bool,
}

#[derive(Debug, Clone)]
pub struct UploadRecord {
    pub upload: Upload,
    pub manifest: ManifestId,
    pub resume: ResumePoint,
    pub stored: StoredBytes,
    pub domain: DomainId,
    pub domain_key: DomainKey,
}

/// Bytes that became durable in an open upload.
#[derive(Debug, Clone)]
pub struct UploadProgress {
    pub id: UploadId,
    /// Must equal the received bytes on record, else `PreconditionFailed`.
    pub offset: u64,
    /// Bytes received after this; never lower than `offset`. Chunks and tail together end here.
    pub received_bytes: u64,
    pub chunks: Vec<ChunkRef>,
    pub resume: ResumePoint,
    pub stored: StoredBytes,
    pub at: Timestamp,
    pub expires_at: Timestamp,
}

/// Everything one finished content becomes, in one transaction.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The open upload that this completes; its manifest is continued by `chunks`. `None`: `chunks` is all.
    pub upload: Option<UploadId>,
    pub file_id: FileId,
    pub bucket: BucketName,
    pub key: FileKey,
    pub condition: KeyCondition,
    pub chunks: Vec<ChunkRef>,
    pub size_bytes: u64,
    pub digests: ContentDigests,
    pub media_type: MediaType,
    pub declared_media_type: Option<MediaType>,
    pub owner: UserName,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    /// What this content cost. For an upload: of the last part only; the catalogue adds what came before.
    pub stored: StoredBytes,
    /// Runs planned from the rules. None: the file is `ready` at once.
    pub runs: Vec<NewRun>,
    pub release: Release,
    pub derived_from: Option<FileId>,
    pub idempotency_key: Option<String>,
    /// Plain bytes that the bucket may hold; over it `StorageFull`.
    pub quota_bytes: Option<u64>,
    pub at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub rule: RuleName,
    pub rule_version: u32,
    pub retry: RetryPolicy,
    pub priority: i32,
    /// A dead run that is required makes the file `failed`.
    pub required: bool,
    /// Name and kind of each step, in order.
    pub steps: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct CommittedVersion {
    pub file: File,
    /// False when the key stood already and got a new version, or when an idempotency key was seen before.
    pub is_new_file: bool,
    pub runs: Vec<RunId>,
}

/// A version with what it takes to read it.
#[derive(Debug, Clone)]
pub struct FileRecord {
    pub file: File,
    pub manifest: ManifestId,
    pub domain_key: DomainKey,
}

/// Which file, at which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRef {
    Id(FileId),
    Key(BucketName, FileKey),
}

/// A page of a file list. Cursors are opaque to callers; the gateway signs nothing, the catalogue checks them.
#[derive(Debug, Clone, Default)]
pub struct FileQuery {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub state: Option<FileState>,
    /// A type or a pattern such as `text/*`.
    pub media_type: Option<String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub metadata: BTreeMap<LabelKey, String>,
    /// SHA-256 in hex.
    pub sha256: Option<String>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub sort: FileSort,
    pub limit: u32,
    pub cursor: Option<String>,
    /// False hides files that are not released yet.
    pub with_unreleased: bool,
}

/// The order of a file list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileSort {
    #[default]
    KeyAscending,
    KeyDescending,
    CreatedAscending,
    CreatedDescending,
}

#[derive(Debug, Clone, Default)]
pub struct FilePage {
    pub files: Vec<File>,
    /// Common prefixes, when a delimiter was given.
    pub prefixes: Vec<String>,
    pub next_cursor: Option<String>,
}

/// What PATCH changes. Within a map `None` removes the entry.
#[derive(Debug, Clone, Default)]
pub struct FilePatch {
    pub metadata: BTreeMap<LabelKey, Option<String>>,
    pub labels: BTreeMap<LabelKey, Option<String>>,
    /// Outer `None`: leave; inner `None`: clear.
    pub expires_at: Option<Option<Timestamp>>,
    pub condition_etags: Option<Vec<String>>,
}

/// A run that a worker holds until `expires_at`, under a number that every write of it must carry.
#[derive(Debug, Clone)]
pub struct LeasedRun {
    pub run: Run,
    pub lease_no: i64,
    pub expires_at: Timestamp,
    pub rule: Rule,
    pub file: File,
}

/// What became of a try to take a run.
#[derive(Debug, Clone)]
pub enum Claim {
    Leased(Box<LeasedRun>),
    /// Ended, cancelled, not due yet, or held by a live lease.
    NotDue,
}

/// What a worker says. All of it is written in one transaction, or none of it when the lease is lost.
#[derive(Debug, Clone)]
pub struct RunReport {
    pub run: RunId,
    pub lease_no: i64,
    pub steps: Vec<StepReport>,
    /// `None`: the run goes on and the lease is extended to `lease_until`.
    pub outcome: Option<RunOutcome>,
    pub lease_until: Timestamp,
    pub at: Timestamp,
    /// Wait before the next attempt if the outcome is a failure that is worth one (jitter included).
    pub retry_wait_ms: i64,
}

#[derive(Debug, Clone)]
pub struct StepReport {
    pub name: String,
    pub state: StepState,
    pub percent: u8,
    pub error: Option<String>,
    /// Published with the end of the step.
    pub report: Option<Value>,
    pub labels: BTreeMap<LabelKey, String>,
    pub metadata: BTreeMap<LabelKey, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    Succeeded,
    /// `is_permanent`: another attempt cannot help.
    Failed {
        reason: String,
        is_permanent: bool,
    },
    /// Handed back unharmed (drain): due again at once, and the attempt does not count.
    Released,
}

#[derive(Debug, Clone)]
pub enum ReportOutcome {
    /// Written. `run_cancelled`: stop, someone cancelled the run.
    Held { run_cancelled: bool },
    /// Someone else holds the run or it ended; nothing was written.
    Lost,
}

/// A run that should be offered to workers, at once or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRun {
    pub id: RunId,
    pub priority: i32,
    pub due_at: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    pub state: Option<usp_model::RunState>,
    pub bucket: Option<BucketName>,
    pub file: Option<FileId>,
    pub rule: Option<RuleName>,
    /// `None`: every bucket; else only these (what the caller may see).
    pub buckets: Option<Vec<BucketName>>,
    pub limit: u32,
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct RunPage {
    pub runs: Vec<Run>,
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    pub after: EventSeq,
    pub bucket: Option<BucketName>,
    pub file: Option<FileId>,
    /// `None`: every bucket; else only these.
    pub buckets: Option<Vec<BucketName>>,
    pub kinds: Vec<EventKind>,
    pub limit: u32,
}

#[derive(Debug, Clone)]
pub struct UserRecord {
    pub user: User,
    pub password_hash: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ApiKeyRecord {
    pub key: ApiKey,
    pub secret_hash: [u8; 32],
}

/// A refresh token as it is kept: never the token, only its hash.
#[derive(Debug, Clone)]
pub struct RefreshRow {
    pub hash: [u8; 32],
    /// All tokens that descend from one login; one reuse ends them all.
    pub family: [u8; 16],
    pub user: UserName,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    Rotated {
        user: UserName,
    },
    /// Unknown, expired, or used before (then the whole family is gone now).
    Refused,
}

/// Sums over a bucket, or over all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub bucket: Option<BucketName>,
    pub files: u64,
    pub versions: u64,
    /// Plain bytes of all versions.
    pub logical_bytes: u64,
    /// Frames that were new when these versions were committed.
    pub stored_bytes: u64,
    pub deduplicated_bytes: u64,
}

/// Sums over the whole store, from the chunk and pack rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreTotals {
    pub chunks: u64,
    pub plain_bytes: u64,
    pub frame_bytes: u64,
    pub packs: u64,
    pub open_uploads: u64,
    pub runs_waiting: u64,
    pub runs_dead: u64,
}

/// A step of a rule as a run row keeps it.
pub fn step_names(steps: &[RuleStep]) -> Vec<(String, String)> {
    steps.iter().map(|step| (step.name.clone(), step.uses.clone())).collect()
}
