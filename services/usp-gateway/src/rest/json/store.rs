//! Requests and answers of the upkeep of the store.

use serde::{Deserialize, Serialize};
use usp_api::{AffectedContent, CheckReport, CollectReport, DamageReport, ScrubOptions, ScrubStatus};
use usp_model::{BucketName, FileId, FileKey, Finding, PackDamage, Timestamp, UploadId};
use utoipa::ToSchema;

/// What to collect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Collect)]
pub(crate) struct CollectJson {
    /// Only count what would be swept.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What one cycle did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CollectReport)]
pub(crate) struct CollectReportJson {
    /// Nothing was changed: only what would be swept was counted.
    dry_run: bool,
    /// Chunks that nothing refers to.
    swept_chunks: u64,
    /// Their bytes as they are kept.
    swept_bytes: u64,
    /// Chunks that were copied out of packs which hold little else.
    moved_chunks: u64,
    moved_bytes: u64,
    /// Packs that hold nothing any more; they are erased two cycles and the grace period later.
    doomed_packs: u64,
    doomed_bytes: u64,
    /// Packs whose space was given back.
    erased_packs: u64,
    erased_bytes: u64,
    /// Packs that uploads were about to refer to; their turn comes in the next cycle.
    busy_packs: u64,
    /// Packs with damaged frames; they were set aside and are kept.
    damaged_packs: u64,
    /// Bytes of all packs on disk after the cycle.
    disk_bytes: u64,
    /// Those of them that nothing refers to.
    dead_bytes: u64,
}

impl From<CollectReport> for CollectReportJson {
    fn from(report: CollectReport) -> Self {
        Self {
            dry_run: report.dry_run,
            swept_chunks: report.swept_chunks,
            swept_bytes: report.swept_bytes,
            moved_chunks: report.moved_chunks,
            moved_bytes: report.moved_bytes,
            doomed_packs: report.doomed_packs,
            doomed_bytes: report.doomed_bytes,
            erased_packs: report.erased_packs,
            erased_bytes: report.erased_bytes,
            busy_packs: report.busy_packs,
            damaged_packs: report.damaged_packs,
            disk_bytes: report.disk_bytes,
            dead_bytes: report.dead_bytes,
        }
    }
}

/// How to scrub.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Scrub)]
pub(crate) struct ScrubJson {
    /// Bytes per second; without it as fast as the disk.
    #[schema(example = 33_554_432)]
    pace: Option<u64>,
    /// Go on with a scrub that was cut off, or change the pace of the one that runs.
    #[serde(default)]
    resume: bool,
}

impl From<ScrubJson> for ScrubOptions {
    fn from(asked: ScrubJson) -> Self {
        Self { pace_bytes_per_s: asked.pace, resume: asked.resume }
    }
}

/// Where the scrub that runs, or ran last, stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScrubStatus)]
pub(crate) struct ScrubStatusJson {
    running: bool,
    /// Bytes per second of the one that runs; 0: as fast as the disk.
    pace: Option<u64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    began_at: Option<Timestamp>,
    /// Absent while packs are left.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Packs that were checked, and that are left.
    packs: u64,
    packs_left: u64,
    /// Frames and bytes that were checked and are sound.
    frames: u64,
    bytes: u64,
    /// Stretches of packs that failed their check.
    damaged: u64,
}

impl From<ScrubStatus> for ScrubStatusJson {
    fn from(status: ScrubStatus) -> Self {
        Self {
            running: status.running,
            pace: status.pace_bytes_per_s,
            began_at: status.began_at,
            ended_at: status.ended_at,
            packs: status.packs,
            packs_left: status.packs_left,
            frames: status.frames,
            bytes: status.size_bytes,
            damaged: status.damaged,
        }
    }
}

/// What is damaged, and which files are affected.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DamageReport)]
pub(crate) struct DamageReportJson {
    damage: Vec<PackDamageJson>,
    /// Contents that cannot be read whole.
    files: Vec<AffectedContentJson>,
    /// More are hit than are listed.
    more: bool,
}

/// A stretch of a pack that failed its check.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PackDamage)]
pub(crate) struct PackDamageJson {
    pack: i64,
    offset: u64,
    bytes: u64,
    /// `header`, `frame`, `footer` or `missing`.
    #[schema(example = "frame")]
    part: &'static str,
}

/// A version or an open upload that is hit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AffectedContent)]
pub(crate) struct AffectedContentJson {
    #[schema(value_type = String)]
    bucket: BucketName,
    #[schema(value_type = String)]
    key: FileKey,
    /// Absent for an open upload.
    version: Option<u32>,
    #[schema(value_type = String)]
    id: FileId,
    #[schema(value_type = Option<String>)]
    upload_id: Option<UploadId>,
    /// Places in the list of damage, from 0.
    damage: Vec<usize>,
}

impl From<DamageReport> for DamageReportJson {
    fn from(report: DamageReport) -> Self {
        Self {
            damage: report.damage.into_iter().map(PackDamageJson::from).collect(),
            files: report.contents.into_iter().map(AffectedContentJson::from).collect(),
            more: report.is_cut,
        }
    }
}

impl From<PackDamage> for PackDamageJson {
    fn from(damage: PackDamage) -> Self {
        Self {
            pack: damage.pack.0,
            offset: damage.offset,
            bytes: damage.size_bytes,
            part: damage.part.as_str(),
        }
    }
}

impl From<AffectedContent> for AffectedContentJson {
    fn from(content: AffectedContent) -> Self {
        Self {
            bucket: content.bucket,
            key: content.key,
            version: content.version,
            id: content.file_id,
            upload_id: content.upload_id,
            damage: content.damage,
        }
    }
}

/// How to check.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Check)]
pub(crate) struct CheckJson {
    /// Read every frame too.
    #[serde(default)]
    pub(crate) deep: bool,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckReport)]
pub(crate) struct CheckReportJson {
    deep: bool,
    /// Contents, packs and chunks that were looked at.
    contents: u64,
    packs: u64,
    chunks: u64,
    /// How many findings there are; the first 1,000 are listed.
    finding_count: u64,
    /// Bytes that were acknowledged may be unreadable.
    grave: bool,
    findings: Vec<FindingJson>,
}

/// One inconsistency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingJson {
    /// `catalog`, `content`, `chunk`, `pack`, `remains`, `orphan`, `sum` or `stray`.
    #[schema(example = "sum")]
    kind: &'static str,
    text: String,
}

impl From<CheckReport> for CheckReportJson {
    fn from(report: CheckReport) -> Self {
        Self {
            deep: report.is_deep,
            contents: report.contents,
            packs: report.packs,
            chunks: report.chunks,
            finding_count: report.finding_count,
            grave: report.is_grave,
            findings: report.findings.into_iter().map(FindingJson::from).collect(),
        }
    }
}

impl From<Finding> for FindingJson {
    fn from(finding: Finding) -> Self {
        Self { kind: finding.kind.as_str(), text: finding.text }
    }
}
