//! The commit: one finished content becomes a version.

use std::collections::BTreeMap;

use usp_model::{
    BucketName, ChunkRef, ContentDigests, DomainId, File, FileId, FileKey, KeyCondition, LabelKey, MediaType,
    RedoFrame, Release, RunId, StoredBytes, UploadId, UserName,
};

use crate::run::NewRun;

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
