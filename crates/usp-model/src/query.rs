//! Questions about files, runs and events, and the pages that answer them.

use std::collections::BTreeMap;

use crate::{
    BucketName, EventKind, EventSeq, File, FileId, FileKey, FileState, LabelKey, Run, RunState, Timestamp,
};

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FileRef {
    Id(FileId),
    Key(BucketName, FileKey),
}

impl std::fmt::Display for FileRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Key(bucket, key) => write!(f, "{bucket}/{key}"),
        }
    }
}

/// A condition on what stands under the key at the moment of the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum KeyCondition {
    #[default]
    Any,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match`: the current version has one of these etags (without quotes). Empty: any version will do (`*`).
    Matches(Vec<String>),
}

/// A page of a file list. Cursors are opaque to callers; the catalogue makes and checks them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FileSort {
    #[default]
    KeyAscending,
    KeyDescending,
    CreatedAscending,
    CreatedDescending,
}

#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct FilePage {
    pub files: Vec<File>,
    /// Common prefixes, when a delimiter was given.
    pub prefixes: Vec<String>,
    pub next_cursor: Option<String>,
}

/// What PATCH changes. Within a map `None` removes the entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FilePatch {
    pub metadata: BTreeMap<LabelKey, Option<String>>,
    pub labels: BTreeMap<LabelKey, Option<String>>,
    pub expires_at: Change<Timestamp>,
    pub condition_etags: Option<Vec<String>>,
}

/// What to do with an optional field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RunQuery {
    pub state: Option<RunState>,
    pub bucket: Option<BucketName>,
    pub file: Option<FileId>,
    pub rule: Option<crate::RuleName>,
    /// `None`: every bucket; else only these (what the caller may see).
    pub buckets: Option<Vec<BucketName>>,
    pub limit: u32,
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct RunPage {
    pub runs: Vec<Run>,
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EventQuery {
    pub after: EventSeq,
    pub bucket: Option<BucketName>,
    pub file: Option<FileId>,
    /// `None`: every bucket; else only these.
    pub buckets: Option<Vec<BucketName>>,
    /// Empty: every kind.
    pub kinds: Vec<EventKind>,
    pub limit: u32,
}

/// Sums over a bucket, or over all (`bucket: None`).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoreTotals {
    pub chunks: u64,
    pub plain_bytes: u64,
    pub frame_bytes: u64,
    pub packs: u64,
    pub open_uploads: u64,
    pub runs_waiting: u64,
    pub runs_dead: u64,
}
