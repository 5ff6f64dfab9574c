//! Files and where they stand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usp_model::{
    BucketName, DigestAlgorithm, FileId, FileKey, FileState, LabelKey, MediaType, RunState, Timestamp,
};

use super::run::RunStatus;

/// What stands under a bucket and a key, as its current version is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    pub id: FileId,
    pub bucket: BucketName,
    pub key: FileKey,
    pub version: u32,
    pub size: u64,
    pub media_type: MediaType,
    #[serde(default)]
    pub declared_media_type: Option<MediaType>,
    /// With its quotes, ready for `If-Match`.
    pub etag: String,
    /// Algorithm to lowercase hex; `None` while it is being computed.
    #[serde(default)]
    pub digests: BTreeMap<DigestAlgorithm, Option<String>>,
    pub state: FileState,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub owner: String,
    #[serde(default)]
    pub metadata: BTreeMap<LabelKey, String>,
    #[serde(default)]
    pub labels: BTreeMap<LabelKey, String>,
    #[serde(default)]
    pub stored: StoredBytes,
    #[serde(default)]
    pub reports: BTreeMap<String, Value>,
    #[serde(default)]
    pub derived: Vec<DerivedFile>,
    #[serde(default)]
    pub derived_from: Option<FileId>,
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// What keeping one version cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBytes {
    pub bytes: u64,
    pub chunks: u64,
    pub deduplicated_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedFile {
    pub name: String,
    pub file_id: FileId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilePage {
    pub items: Vec<File>,
    #[serde(default)]
    pub prefixes: Vec<String>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// Where a file is, from its first byte to the end of its last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<FileId>,
    pub state: FileState,
    pub upload: UploadStatus,
    #[serde(default)]
    pub runs: Vec<RunStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStatus {
    pub received: u64,
    pub size: Option<u64>,
}

impl FileStatus {
    /// Whether nothing more happens by itself, neither to the file nor to any of its runs.
    pub fn is_settled(&self) -> bool {
        self.state.is_final() && self.runs.iter().all(|run| run.state.is_final())
    }

    /// Ready, and no run of it dead, not even one that was not required.
    pub fn is_well(&self) -> bool {
        self.state == FileState::Ready && self.runs.iter().all(|run| run.state != RunState::Dead)
    }
}
