//! `usp admin rebuild-index`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use usp_catalog::{FoundFrame, IndexRebuild, RebuildReport};
use usp_content::pack::{FrameEntry, PACK_HEADER_BYTES};
use usp_content::{PackInspector, Survey, write_kept};
use usp_model::{DomainKey, PackId, PackRecord, PackState};

use super::fsck;
use crate::catalog_fault;
use crate::dir_lock::DirLock;
use crate::exit::{Ending, Exit};
use crate::pack_store;
use crate::paths;
use crate::render::table;
use crate::session::Session;

/// Find out anew, from the packs alone, where every chunk stands
///
/// For a stopped server whose catalogue lost or garbled its rows of chunks and packs while everything else in it is sound.
/// The old catalogue is kept in lost+found/.
#[derive(Debug, Args)]
#[command(after_help = "\
Contents name chunks by number; which number is which digest stands in the catalogue alone. So what can be rebuilt is where \
chunks stand, not which chunks a content has: for that you need a backup of the catalogue (docs/formats/catalogue.md).

Ends with 0 when every content can be read again, else with 74.

Example:
  usp admin rebuild-index --data-dir /var/lib/usp")]
pub(super) struct RebuildArgs {
    /// The data directory of a server that is stopped
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Believe what sealed packs say of themselves, without reading their frames
    #[arg(long)]
    fast: bool,
}

pub(super) async fn run(args: RebuildArgs, session: &Session) -> Result<()> {
    let dir = fsck::existing(&args.data_dir)?;
    let _lock = DirLock::take(dir)?;
    let rebuilt = catalog_fault::rebuilding(dir)?;
    let mut rebuild = begin(dir, &rebuilt).await?;
    let store = pack_store::open(dir)?;
    let packs = PackInspector::new(store.clone());
    let keys = rebuild.domain_keys()?;
    for pack in packs.list().await? {
        let known = rebuild.known(pack);
        if known.is_some_and(|row| row.state == PackState::Doomed) {
            // Nothing in it is needed; without a row the next start sets it aside.
            continue;
        }
        let kept = write_kept(&store, pack, rebuild.kept(pack)?).await?;
        let survey = packs.survey(pack, !args.fast).await?;
        let mut frames = Vec::with_capacity(survey.frames.len());
        // What fills a hole is no chunk.
        for frame in survey.frames.iter().filter(|frame| frame.digest.as_bytes() != &[0; 32]) {
            frames.push(found(&packs, &rebuild, pack, frame, &keys).await?);
        }
        // Behind a frame that is missing the survey sees nothing.
        let surveyed: BTreeSet<u64> = survey.frames.iter().map(|frame| frame.offset).collect();
        for frame in kept.iter().filter(|frame| !surveyed.contains(&frame.offset)) {
            frames.push(found(&packs, &rebuild, pack, frame, &keys).await?);
        }
        let row = row(pack, known, &survey);
        rebuild = tokio::task::spawn_blocking(move || {
            rebuild.pack(row, &frames)?;
            Ok::<_, usp_model::Error>(rebuild)
        })
        .await
        .context("the rebuild panicked")??;
    }
    let report =
        tokio::task::spawn_blocking(move || rebuild.finish()).await.context("the rebuild panicked")??;
    catalog_fault::replace(dir, &rebuilt)?;
    tell(&report, session)
}

async fn begin(dir: &Path, rebuilt: &Path) -> Result<IndexRebuild> {
    let (from, to) = (paths::catalog(dir), rebuilt.to_owned());
    let beginning = tokio::task::spawn_blocking(move || IndexRebuild::begin(&from, &to));
    Ok(beginning.await.context("the rebuild panicked")??)
}

async fn found(
    packs: &PackInspector,
    rebuild: &IndexRebuild,
    pack: PackId,
    frame: &FrameEntry,
    keys: &[DomainKey],
) -> Result<FoundFrame> {
    let (digest, size_bytes, place) = (frame.digest, frame.plain_bytes, frame.place(pack));
    let is_proven = rebuild.is_in_doubt(&digest)? && packs.proves(pack, frame, keys).await?;
    Ok(FoundFrame { digest, size_bytes, place, is_proven })
}

/// What the row of a pack becomes: as its file says, and where that leaves room, as the old row said.
fn row(pack: PackId, known: Option<PackRecord>, survey: &Survey) -> PackRecord {
    let was_aside = known.is_some_and(|row| row.state == PackState::SetAside);
    let frames_end = survey.frames.last().map_or(PACK_HEADER_BYTES, FrameEntry::end);
    let (state, committed_bytes) = match (survey.is_sealed, survey.is_sound && !was_aside) {
        (true, true) => (PackState::Sealed, survey.size_bytes),
        (true, false) => (PackState::SetAside, survey.size_bytes),
        // The next start cuts it there and seals it, which makes its frames durable.
        (false, true) => (PackState::Open, frames_end),
        (false, false) => (PackState::SetAside, frames_end),
    };
    PackRecord { pack, state, committed_bytes }
}

fn tell(report: &RebuildReport, session: &Session) -> Result<()> {
    let told = json!({
        "packs": report.packs, "placed": report.placed, "added": report.added, "lost": report.lost,
        "unknown": report.unknown,
    });
    session.output.report(&told, || {
        let rows = [
            ("packs", report.packs.to_string()),
            ("placed", format!("{} chunks", report.placed)),
            ("added", format!("{} chunks that no content names", report.added)),
            ("lost", format!("{} chunks without a frame anywhere", report.lost)),
            ("unknown", format!("{} chunks that contents name and no row knows", report.unknown)),
        ];
        table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
    })?;
    if report.is_whole() {
        return Ok(());
    }
    let sentence = format!(
        "the index is rebuilt, but {} chunks are not to be found: upload their files again, or restore a backup",
        report.lost.saturating_add(report.unknown)
    );
    Err(Ending::Found { sentence, exit: Exit::StorageFault }.into())
}
