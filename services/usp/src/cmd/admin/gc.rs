//! `usp admin gc`

use anyhow::Result;
use clap::Args;
use usp_client::types::CollectReport;

use crate::render::{size, table};
use crate::session::Session;

/// Collect what nothing refers to; the server also does it by itself
///
/// Deleted content leaves the disk two collections and a grace period after its packs are empty.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp admin gc --dry-run\n  usp admin gc")]
pub(super) struct GcArgs {
    /// Only count what would be swept
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: GcArgs, session: &Session) -> Result<()> {
    let report = session.client()?.collect(args.dry_run).await?;
    session.output.report(&report, || describe(&report))
}

fn describe(report: &CollectReport) -> String {
    let swept = format!("{} chunks, {}", report.swept_chunks, size(report.swept_bytes));
    let rest = format!("{} of {} on disk", size(report.dead_bytes), size(report.disk_bytes));
    let packs = |count: u64, bytes: u64| format!("{count} packs, {}", size(bytes));
    let mut rows = if report.dry_run {
        vec![("would sweep", swept)]
    } else {
        vec![
            ("swept", swept),
            ("moved", format!("{} chunks, {}", report.moved_chunks, size(report.moved_bytes))),
            ("doomed", packs(report.doomed_packs, report.doomed_bytes)),
            ("erased", packs(report.erased_packs, report.erased_bytes)),
        ]
    };
    if report.busy_packs > 0 {
        rows.push(("in use", format!("{} packs wait for the next collection", report.busy_packs)));
    }
    if report.damaged_packs > 0 {
        rows.push(("damaged", format!("{} packs were set aside", report.damaged_packs)));
    }
    rows.push(("dead", rest));
    table(&rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>())
}
