//! `usp admin stats`

use anyhow::Result;
use usp_client::types::{Stats, Usage};

use crate::render::{size, table};
use crate::session::Session;

pub(super) async fn run(session: &Session) -> Result<()> {
    let stats = session.client()?.stats().await?;
    session.output.result(&stats, || describe(&stats))
}

fn describe(stats: &Stats) -> String {
    let heads =
        ["bucket", "files", "versions", "content", "stored", "deduplicated", "compressed"].map(str::to_owned);
    let mut rows = vec![heads.to_vec()];
    rows.extend(stats.usage.iter().map(row));
    let totals = &stats.totals;
    let sums = [
        ("on disk", format!("{}, of which {} dead", size(stats.disk_bytes), size(stats.dead_bytes))),
        ("chunks", format!("{} in {} packs", totals.chunks, totals.packs)),
        ("chunk bytes", format!("{} plain, {} kept", size(totals.plain_bytes), size(totals.frame_bytes))),
        ("open uploads", totals.open_uploads.to_string()),
        ("runs", format!("{} waiting, {} dead", totals.runs_waiting, totals.runs_dead)),
    ];
    let sums: Vec<_> = sums.map(|(name, value)| vec![name.to_owned(), value]).to_vec();
    format!("{}\n\n{}", table(&rows), table(&sums))
}

fn row(usage: &Usage) -> Vec<String> {
    let bucket = usage.bucket.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
    vec![
        bucket,
        usage.files.to_string(),
        usage.versions.to_string(),
        size(usage.logical_bytes),
        size(usage.stored_bytes),
        size(usage.deduplicated_bytes),
        size(usage.compressed_bytes),
    ]
}
