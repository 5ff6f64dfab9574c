//! What upkeep of the store takes and tells.

use serde::{Deserialize, Serialize};
use usp_api::CollectReport;
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
