//! The commit: one finished content becomes a version, with everything that follows from it.
//!
//! An engine decides a commit in this order, over what it loaded, and writes all of it or nothing:
//!
//! 1. The bucket is still the one that the content was made for ([`bucket::check_domain`]).
//! 2. A key of idempotency that was used in the last day answers with what it made; nothing else happens
//!    ([`idempotency::check_replay`](crate::idempotency::check_replay)).
//! 3. [`decide`]: the condition on the key, the quota, the upload that it completes; then the version with its etag, state
//!    and sums, and its events.
//! 4. The references to its chunks ([`Chunks::refer`](crate::chunk::Chunks::refer)), or its share of a content that
//!    stands ([`manifest::share`](crate::manifest::share)).
//! 5. Its runs ([`run`](crate::run)).

use std::collections::BTreeMap;

use usp_model::{
    BucketName, ChunkRef, ContentDigests, DigestAlgorithm, DomainId, Error, ErrorKind, EventBody, File,
    FileId, FileKey, FileState, KeyCondition, LabelKey, ManifestId, MediaType, RedoFrame, Release, Result,
    RunId, StoredBytes, Timestamp, UploadId, UserName,
};

use crate::bucket::{self, UsageChange};
use crate::event;
use crate::run::NewRun;
use crate::upload::{self, Session};

const ACTION: &str = "commit version";

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
}

#[derive(Debug, Clone)]
pub struct CommittedVersion {
    pub file: File,
    /// False when the key stood already and got a new version, or when an idempotency key was seen before.
    pub is_new_file: bool,
    pub runs: Vec<RunId>,
}

/// A version that shares the content of another: a copy, or one that is restored. No byte and no chunk is touched.
#[derive(Debug, Clone)]
pub struct NewCopy {
    pub source: FileId,
    /// Of the source; `None`: its current one.
    pub source_version: Option<u32>,
    /// Preliminary unless the key stands already.
    pub file_id: FileId,
    pub bucket: BucketName,
    pub key: FileKey,
    pub condition: KeyCondition,
    pub owner: UserName,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub runs: Vec<NewRun>,
    pub release: Release,
    pub idempotency_key: Option<String>,
    pub quota_bytes: Option<u64>,
}

/// The content of a version that is to be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    pub manifest: ManifestId,
    pub chunk_count: u64,
}

/// Where the content of a new version comes from.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// Its references are all of it.
    Whole,
    /// An open upload, which its references continue.
    Upload(&'a Session, ManifestSize),
    Shared(Shared),
}

/// How long a manifest is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManifestSize {
    pub size_bytes: u64,
    pub chunk_count: u64,
}

impl ManifestSize {
    /// With these references behind what is there.
    #[must_use]
    pub fn with(self, chunks: &[ChunkRef]) -> Self {
        let more: u64 = chunks.iter().map(|chunk| u64::from(chunk.size_bytes())).sum();
        Self {
            size_bytes: self.size_bytes.saturating_add(more),
            chunk_count: self.chunk_count.saturating_add(chunks.len() as u64),
        }
    }

    /// With all of another behind it.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self {
            size_bytes: self.size_bytes.saturating_add(other.size_bytes),
            chunk_count: self.chunk_count.saturating_add(other.chunk_count),
        }
    }
}

/// What stands when a commit is decided.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The current version under the key.
    pub standing: Option<&'a File>,
    /// Plain bytes of the bucket's current versions.
    pub bucket_bytes: u64,
    pub content: Content<'a>,
    pub at: Timestamp,
    /// Drawn anew for every commit: the etag of a content without SHA-256.
    pub nonce: u64,
}

/// What a commit makes.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The file with its new version as it stands from now on; without derived files.
    pub file: File,
    /// How long its manifest is.
    pub manifest: ManifestSize,
    pub usage: UsageChange,
    /// Of the file, in order. Those of its upload and runs are their own.
    pub events: [EventBody; 2],
}

/// Decides what a content becomes. Chunk references and runs are decided apart.
///
/// Errors: `PreconditionFailed`, `StorageFull` (quota), `Gone`, `Conflict` (upload), `Internal` when the chunks do not add up
/// to the size that was said, or the upload is another's.
pub fn decide(new: &NewVersion, facts: &Facts<'_>) -> Result<Committed> {
    let standing = facts.standing;
    check_condition(&new.condition, standing.map(|file| file.etag.as_str()), &new.key)?;
    let replaced_bytes = standing.map(|file| file.size_bytes);
    if let Some(quota_bytes) = new.quota_bytes {
        let replaced_bytes = replaced_bytes.unwrap_or_default();
        bucket::check_quota(&new.bucket, quota_bytes, facts.bucket_bytes, new.size_bytes, replaced_bytes)?;
    }
    if let Content::Upload(session, _) = facts.content {
        upload::check_commit(session, &new.bucket, &new.key)?;
    }
    let manifest = manifest_size(new, facts.content)?;
    let version = standing.map_or(1, |file| file.version.saturating_add(1));
    let stored = stored(new, facts.content, manifest);
    let file = File {
        id: standing.map_or(new.file_id, |file| file.id),
        bucket: new.bucket.clone(),
        key: new.key.clone(),
        version,
        size_bytes: new.size_bytes,
        media_type: new.media_type.clone(),
        declared_media_type: new.declared_media_type.clone(),
        etag: etag(&new.digests, version).unwrap_or_else(|| random_etag(facts.nonce, version)),
        digests: new.digests.clone(),
        state: first_state(new),
        created_at: facts.at,
        updated_at: facts.at,
        owner: new.owner.as_str().to_owned(),
        metadata: new.metadata.clone(),
        labels: new.labels.clone(),
        stored,
        reports: BTreeMap::new(),
        derived: Vec::new(),
        derived_from: new.derived_from,
        expires_at: None,
        released: is_released_at_once(new),
    };
    let usage = UsageChange::of_commit(new.size_bytes, stored, replaced_bytes);
    Ok(Committed { events: event::of_version(&file), file, manifest, usage })
}

/// The version that a copy makes of its source. Errors: `Conflict` when the source is held back: a copy would let its
/// content out.
pub fn copied(copy: &NewCopy, source: &File, domain: DomainId) -> Result<NewVersion> {
    if !source.released || matches!(source.state, FileState::Quarantined | FileState::Rejected) {
        let held = Error::new(ErrorKind::Conflict, "copy version").about(source.id);
        return Err(held
            .because("the version is held back until its rules are done with it; copy it once it is ready"));
    }
    Ok(NewVersion {
        upload: None,
        file_id: copy.file_id,
        bucket: copy.bucket.clone(),
        domain,
        key: copy.key.clone(),
        condition: copy.condition.clone(),
        chunks: Vec::new(),
        redo: Vec::new(),
        size_bytes: source.size_bytes,
        digests: source.digests.clone(),
        media_type: source.media_type.clone(),
        declared_media_type: source.declared_media_type.clone(),
        owner: copy.owner.clone(),
        metadata: copy.metadata.clone(),
        labels: copy.labels.clone(),
        stored: StoredBytes::default(),
        runs: copy.runs.clone(),
        release: copy.release,
        derived_from: None,
        idempotency_key: copy.idempotency_key.clone(),
        quota_bytes: copy.quota_bytes,
    })
}

/// Whether what stands under a key allows a write there. `standing_etag`: of the current version, if there is one.
///
/// Errors: `PreconditionFailed`.
pub fn check_condition(condition: &KeyCondition, standing_etag: Option<&str>, key: &FileKey) -> Result<()> {
    let reason = match (condition, standing_etag) {
        (KeyCondition::Any, _) | (KeyCondition::Absent, None) => return Ok(()),
        (KeyCondition::Matches(etags), Some(etag)) if matches(etags, etag) => return Ok(()),
        (KeyCondition::Absent, Some(_)) => "a file stands under the key already",
        (KeyCondition::Matches(_), None) => "no file stands under the key",
        (KeyCondition::Matches(_), Some(_)) => "the file has changed: its etag is another",
    };
    Err(Error::new(ErrorKind::PreconditionFailed, ACTION).about(key).because(reason))
}

/// Whether an etag fulfils `If-Match`; no etag at all stands for `*`.
pub fn matches(etags: &[String], etag: &str) -> bool {
    etags.is_empty() || etags.iter().any(|asked| asked == etag)
}

/// Half of the SHA-256 and the version: equal etags mean equal bytes. `None` without a SHA-256.
pub fn etag(digests: &ContentDigests, version: u32) -> Option<String> {
    const HEX_CHARS: usize = 32;
    let half = digests.get(&DigestAlgorithm::Sha256)?.get(..HEX_CHARS)?;
    Some(format!("{half}-{version}"))
}

/// One that was never given before.
fn random_etag(nonce: u64, version: u32) -> String {
    format!("r{nonce:016x}-{version}")
}

/// A version without runs is ready at once.
fn first_state(new: &NewVersion) -> FileState {
    if new.runs.is_empty() { FileState::Ready } else { FileState::Processing }
}

/// A version without runs has nothing that it could wait for.
fn is_released_at_once(new: &NewVersion) -> bool {
    new.runs.is_empty() || new.release == Release::Immediate
}

fn manifest_size(new: &NewVersion, content: Content<'_>) -> Result<ManifestSize> {
    let size = match content {
        Content::Whole => ManifestSize::default().with(&new.chunks),
        Content::Upload(_, before) => before.with(&new.chunks),
        Content::Shared(shared) => {
            return Ok(ManifestSize { size_bytes: new.size_bytes, chunk_count: shared.chunk_count });
        }
    };
    if size.size_bytes == new.size_bytes {
        return Ok(size);
    }
    let reason = format!("its chunks hold {} bytes, but {} were said", size.size_bytes, new.size_bytes);
    Err(Error::new(ErrorKind::Internal, ACTION).about(&new.key).because(reason))
}

/// What the version cost: all that its upload did, or nothing if its content stood already.
fn stored(new: &NewVersion, content: Content<'_>, manifest: ManifestSize) -> StoredBytes {
    let before = match content {
        Content::Whole => StoredBytes::default(),
        Content::Upload(session, _) => session.stored,
        Content::Shared(_) => StoredBytes { deduplicated_bytes: new.size_bytes, ..StoredBytes::default() },
    };
    StoredBytes {
        bytes: before.bytes.saturating_add(new.stored.bytes),
        chunks: manifest.chunk_count,
        deduplicated_bytes: before.deduplicated_bytes.saturating_add(new.stored.deduplicated_bytes),
    }
}

#[cfg(test)]
pub(crate) mod tests;
