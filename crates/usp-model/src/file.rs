//! Files, their versions, and the uploads that make them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::limits::{LABEL_COUNT_MAX, LABEL_VALUE_BYTES_MAX};
use crate::{
    BucketName, ContentDigests, FileId, FileKey, LabelKey, MediaType, Timestamp, UploadId, Violation,
};

words! {
    /// `uploading → stored → processing → ready | failed | quarantined | rejected`.
    pub enum FileState {
        Uploading = "uploading",
        Stored = "stored",
        Processing = "processing",
        Ready = "ready",
        Failed = "failed",
        Quarantined = "quarantined",
        Rejected = "rejected",
    }
}

impl FileState {
    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Failed | Self::Quarantined | Self::Rejected)
    }
}

words! {
    pub enum UploadState {
        Open = "open",
        Completed = "completed",
        Terminated = "terminated",
        Expired = "expired",
    }
}

/// How uploads make one file together.
///
/// Source: tus 1.0.0, extension concatenation.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum UploadShape {
    /// This one becomes a file by itself.
    #[default]
    Whole,
    /// Becomes a piece of another, and no file.
    Part,
    /// Has what these parts had, in this order, and takes no bytes of its own.
    Joined(Vec<UploadId>),
}

/// What a user stores under bucket and key, as its current version stands.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct File {
    pub id: FileId,
    pub bucket: BucketName,
    pub key: FileKey,
    /// Counts from 1.
    pub version: u32,
    pub size_bytes: u64,
    /// Decided from the bytes; rules and serving rely on this one.
    pub media_type: MediaType,
    /// What the client said.
    pub declared_media_type: Option<MediaType>,
    /// Strong validator without quotes; changes with every version.
    pub etag: String,
    pub digests: ContentDigests,
    pub state: FileState,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub owner: String,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub stored: StoredBytes,
    /// Step name → report of the current version.
    pub reports: BTreeMap<String, Value>,
    pub derived: Vec<DerivedFile>,
    pub derived_from: Option<FileId>,
    pub expires_at: Option<Timestamp>,
    /// Readers without processing rights may read it (see `Release`).
    pub released: bool,
}

/// What keeping one version cost when it was committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredBytes {
    /// Bytes of new frames, headers included.
    pub bytes: u64,
    /// Chunks of the version, new or not.
    pub chunks: u64,
    /// Plain bytes that were stored already.
    pub deduplicated_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DerivedFile {
    pub name: String,
    pub file_id: FileId,
}

/// A resumable append session. Bytes `0..received` are durable.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Upload {
    pub id: UploadId,
    /// Preliminary until the upload completes: a file that stands under the key by then keeps its own id.
    pub file_id: FileId,
    pub bucket: BucketName,
    pub key: FileKey,
    /// `None` while the client has not said it.
    pub size_bytes: Option<u64>,
    pub received_bytes: u64,
    pub state: UploadState,
    pub shape: UploadShape,
    pub declared_media_type: Option<MediaType>,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub owner: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// All that is wrong with a map of labels or metadata, with pointers below `base` (`/labels`).
pub fn label_violations(map: &BTreeMap<LabelKey, String>, base: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    if map.len() > LABEL_COUNT_MAX {
        found.push(Violation::new(base, format!("at most {LABEL_COUNT_MAX} entries")));
    }
    for (key, value) in map {
        if value.len() > LABEL_VALUE_BYTES_MAX {
            let pointer = format!("{base}/{}", key.as_str().replace('~', "~0").replace('/', "~1"));
            found.push(Violation::new(pointer, format!("at most {LABEL_VALUE_BYTES_MAX} bytes")));
        }
    }
    found
}
