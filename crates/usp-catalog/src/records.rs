//! What goes into and comes out of catalogue transactions, beyond the entities of the model. What decisions are made
//! about stands with them, in `usp-decide`.

pub use usp_decide::claim::{ClaimRuns, ClaimedRuns, Turn};
pub use usp_decide::commit::{CommittedVersion, NewCopy, NewVersion};
pub use usp_decide::run::{NewRun, ReportRun, ReportedRun, RunProgress, step_names};
pub use usp_decide::upload::{NewUpload, UploadProgress, UploadTerms};
use usp_model::{
    ApiKey, Bucket, BucketName, ChunkId, DomainId, DomainKey, File, FileId, FileKey, Finding, FramePlace,
    ManifestId, PackDamage, PackId, PackRecord, ResumePoint, Rule, RunId, StoredBytes, Timestamp, Upload,
    UploadId, User, UserName,
};

/// A bucket with the dedup domain that its chunks belong to.
#[derive(Debug, Clone)]
pub struct BucketRecord {
    pub bucket: Bucket,
    pub domain: DomainId,
    pub domain_key: DomainKey,
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

/// A version with what it takes to read it.
#[derive(Debug, Clone)]
pub struct FileRecord {
    pub file: File,
    pub manifest: ManifestId,
    pub domain_key: DomainKey,
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

/// What became of a rule that was to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Erased {
    /// It counts no more; this one, if any, stands in its place under the version that it has.
    Now(Option<Rule>),
    /// Nobody wrote one of the name.
    NotWritten,
}
