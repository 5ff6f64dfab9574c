//! Upload sessions: when they expire, what may be appended, what may be joined.

use std::collections::BTreeMap;

use usp_model::{
    BucketName, ChunkRef, ContentDigest, DomainId, FileId, FileKey, KeyCondition, LabelKey, MediaType,
    RedoFrame, ResumePoint, RuleName, StoredBytes, Timestamp, UploadId, UserName,
};

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
    pub expires_at: Timestamp,
    /// False for the session behind a plain PUT: it makes no events and dies with its request.
    pub is_announced: bool,
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
    pub expires_at: Timestamp,
}
