//! What goes into and comes out of catalogue transactions, beyond the entities of the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use usp_model::{
    ApiKey, Bucket, BucketName, ChunkId, ChunkRef, ContentDigest, ContentDigests, DomainId, DomainKey, File,
    FileId, FileKey, Finding, FramePlace, KeyCondition, LabelKey, LeasedRun, ManifestId, MediaType,
    PackDamage, PackId, PackRecord, RedoFrame, Release, ResumePoint, RetryPolicy, Rule, RuleName, RuleStep,
    RunId, StoredBytes, Timestamp, Upload, UploadId, User, UserName,
};

/// A bucket with the dedup domain that its chunks belong to.
#[derive(Debug, Clone)]
pub struct BucketRecord {
    pub bucket: Bucket,
    pub domain: DomainId,
    pub domain_key: DomainKey,
}

/// What a client said when it opened an upload, to be kept to when it is finished.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UploadTerms {
    pub condition: KeyCondition,
    pub expected_digests: Vec<ContentDigest>,
    pub idempotency_key: Option<String>,
    /// A rule to apply whatever its condition says.
    pub rule: Option<RuleName>,
    /// The W3C trace context of the request that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A new upload session. The file id is preliminary unless the key stands already; then it is that file's id.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub id: UploadId,
    pub file_id: FileId,
    pub bucket: BucketName,
    /// Where chunks of the content are or will be named, see [`NewVersion::domain`].
    pub domain: DomainId,
    pub key: FileKey,
    pub size_bytes: Option<u64>,
    pub declared_media_type: Option<MediaType>,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub terms: UploadTerms,
    /// Becomes a piece of another upload.
    pub is_part: bool,
    pub owner: UserName,
    pub at: Timestamp,
    pub expires_at: Timestamp,
    /// False for the session behind a plain PUT: it makes no events and dies with its request.
    pub is_announced: bool,
}

#[derive(Debug, Clone)]
pub struct UploadRecord {
    pub upload: Upload,
    pub terms: UploadTerms,
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
    /// Frames of `chunks` that are not synced.
    pub redo: Vec<RedoFrame>,
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
    /// Whose key named the chunks. If the bucket has another one by now, it was deleted and made anew, and its readers
    /// could not prove them: `Conflict`.
    pub domain: DomainId,
    pub key: FileKey,
    pub condition: KeyCondition,
    pub chunks: Vec<ChunkRef>,
    /// Frames of `chunks` that are not synced.
    pub redo: Vec<RedoFrame>,
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
    /// The W3C trace context of the request that asked for it.
    pub trace: Option<String>,
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

/// A worker's wish for due runs.
#[derive(Debug, Clone)]
pub struct ClaimRuns {
    pub count_max: u32,
    pub now: Timestamp,
    /// Until when the runs are held unless they are reported on.
    pub lease_until: Timestamp,
    /// How many runs of a rule may be held at once, for rules that say so, by name.
    pub bounds: Arc<BTreeMap<String, Option<u32>>>,
    /// As the claim before gave it.
    pub turn: Turn,
}

/// What a claim took, and where the next one goes on.
#[derive(Debug, Clone)]
pub struct ClaimedRuns {
    pub runs: Vec<LeasedRun>,
    pub turn: Turn,
}

/// The rule and bucket that were served last, at each priority. The default begins at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn(BTreeMap<i32, (String, i64)>);

impl Turn {
    /// Priorities that are remembered; at others the turn begins anew.
    const PRIORITY_COUNT_MAX: usize = 64;

    pub(crate) fn last(&self, priority: i32) -> Option<(&str, i64)> {
        self.0.get(&priority).map(|(rule, bucket)| (rule.as_str(), *bucket))
    }

    pub(crate) fn served(&mut self, priority: i32, rule: &str, bucket: i64) {
        self.0.insert(priority, (rule.to_owned(), bucket));
    }

    /// Forgets the lowest priorities beyond the bound.
    pub(crate) fn keep_highest(&mut self) {
        while self.0.len() > Self::PRIORITY_COUNT_MAX {
            self.0.pop_first();
        }
    }
}

/// A run that should be offered to workers, at once or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRun {
    pub id: RunId,
    pub priority: i32,
    pub due_at: Timestamp,
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

/// Where a walk over all manifests stands: behind the segment that begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferencePlace {
    pub manifest: ManifestId,
    pub start_offset: u64,
}

/// Some of what manifests name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferencePage {
    /// In the order of the contents; may repeat.
    pub chunks: Vec<ChunkId>,
    /// Where to go on; `None` after the last page.
    pub next: Option<ReferencePlace>,
}

/// What a sweep took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub chunk_count: u64,
    pub stored_bytes: u64,
}

/// A pack and what of it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackUsage {
    pub record: PackRecord,
    /// Rows that name a frame in it.
    pub live_chunks: u64,
    /// Stored bytes of those frames.
    pub live_bytes: u64,
}

/// A frame that was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMove {
    pub chunk: ChunkId,
    pub from: FramePlace,
    pub to: FramePlace,
}

/// Where the scrub of the packs stands. All zero before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubState {
    pub began_at: Option<Timestamp>,
    /// `None` while packs are left.
    pub ended_at: Option<Timestamp>,
    /// Packs up to this one were checked.
    pub last: PackId,
    /// The newest pack when it began.
    pub until: PackId,
    pub packs_left: u64,
    /// What was checked so far.
    pub pack_count: u64,
    pub frame_count: u64,
    pub size_bytes: u64,
    /// Stretches of packs that failed their check.
    pub damage_count: u64,
}

/// What a scrub found in one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubbedPack {
    pub pack: PackId,
    pub frame_count: u64,
    pub size_bytes: u64,
    pub damage: Vec<PackDamage>,
}

/// Contents that name chunks which were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamingPage {
    /// Each pair once.
    pub named: Vec<(ChunkId, ManifestId)>,
    /// Where to go on; `None` after the last page.
    pub next: Option<ReferencePlace>,
}

/// Whose content a manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentOwner {
    pub manifest: ManifestId,
    pub bucket: BucketName,
    pub key: FileKey,
    /// `None` for an open upload.
    pub version: Option<u32>,
    /// Preliminary for an open upload.
    pub file_id: FileId,
    pub upload: Option<UploadId>,
}

/// What a check of some contents found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentCheck {
    /// Contents that were looked at.
    pub count: u64,
    pub findings: Vec<Finding>,
    /// The last of them, if there are more.
    pub next: Option<ManifestId>,
}

/// A step of a rule as a run row keeps it.
pub fn step_names(steps: &[RuleStep]) -> Vec<(String, String)> {
    steps.iter().map(|step| (step.name.clone(), step.uses.clone())).collect()
}

/// What became of a rule that was to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Erased {
    /// It counts no more; this one, if any, stands in its place under the version that it has.
    Now(Option<Rule>),
    /// Nobody wrote one of the name.
    NotWritten,
}
