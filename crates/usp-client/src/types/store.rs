//! Upkeep of the store.

use serde::{Deserialize, Serialize};
use usp_model::{BucketName, FileId, FileKey, Timestamp, UploadId};

/// Where the scrub that runs, or ran last, stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    pub running: bool,
    /// Bytes per second of the one that runs; 0: as fast as the disk.
    #[serde(default)]
    pub pace: Option<u64>,
    #[serde(default)]
    pub began_at: Option<Timestamp>,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    pub packs: u64,
    pub packs_left: u64,
    pub frames: u64,
    pub bytes: u64,
    /// Stretches of packs that failed their check.
    pub damaged: u64,
}

/// What the last scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageReport {
    pub damage: Vec<PackDamage>,
    pub files: Vec<AffectedFile>,
    /// More are hit than are listed.
    #[serde(default)]
    pub more: bool,
}

/// A stretch of a pack that failed its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackDamage {
    pub pack: i64,
    pub offset: u64,
    pub bytes: u64,
    /// `header`, `frame`, `footer` or `missing`.
    pub part: String,
}

/// A version, or an open upload, that cannot be read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffectedFile {
    pub bucket: BucketName,
    pub key: FileKey,
    #[serde(default)]
    pub version: Option<u32>,
    pub id: FileId,
    #[serde(default)]
    pub upload_id: Option<UploadId>,
    /// Places in the list of damage, from 0.
    pub damage: Vec<usize>,
}

/// What a check of catalogue and packs found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    pub deep: bool,
    pub contents: u64,
    pub packs: u64,
    pub chunks: u64,
    pub finding_count: u64,
    /// Bytes that were acknowledged may be unreadable.
    pub grave: bool,
    pub findings: Vec<Finding>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: String,
    pub text: String,
}
