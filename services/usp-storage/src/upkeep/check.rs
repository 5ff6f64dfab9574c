//! Checking a store: the catalogue against itself and against the packs, both ways. Nothing is changed.
//!
//! It works on a store that is served and on one that is stopped. While it is served nothing may be erased meanwhile
//! (the caller holds collections up), and everything is asked in the order in which it comes about: a file is listed before
//! the row that must be older, a chunk row is read before the pack row that must cover it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use usp_api::CheckReport;
use usp_catalog::records::PackUsage;
use usp_catalog::{StoreFacts, UpkeepFacts};
use usp_content::pack::{FrameEntry, PACK_HEADER_BYTES};
use usp_content::{Extent, Pace, PackInspector};
use usp_model::{
    ErrorKind, Finding, FindingKind, ManifestId, PackDamage, PackId, PackPart, PackState, Result, StoredChunk,
};

/// Findings that a report lists; the rest is counted.
const FINDING_COUNT_MAX: usize = 1_000;
/// Contents of one look.
const CONTENT_COUNT: u32 = 2_000;
/// Findings about chunks of one pack: the pack is what is wrong then.
const CHUNK_FINDING_COUNT_MAX: usize = 10;

/// What a check stands on: facts and packs, of an open store or not.
pub struct Checker {
    /// What the catalogue says of itself.
    pub facts: Arc<dyn UpkeepFacts>,
    /// Its rows of packs and chunks.
    pub store: Arc<dyn StoreFacts>,
    /// The packs as they lie there.
    pub packs: PackInspector,
    /// Reads every frame too; else what sealed packs say of themselves is believed.
    pub is_deep: bool,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("is_deep", &self.is_deep).finish_non_exhaustive()
    }
}

impl Checker {
    /// Looks at everything. Errors: what keeps it from looking; what it finds is no error.
    pub async fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport { is_deep: self.is_deep, ..CheckReport::default() };
        let found = self.facts.check_file().await?;
        let is_damaged = !found.is_empty();
        add(&mut report, found);
        match self.check_rest(&mut report).await {
            // A damaged file may not let the rest be read; what was found so far says why.
            Err(error) if is_damaged && error.kind() == ErrorKind::Corrupt => {
                let text = format!("the catalogue could not be read further: {}", error.detail());
                add(&mut report, [Finding::new(FindingKind::Catalog, text)]);
            }
            checked => checked?,
        }
        Ok(report)
    }

    async fn check_rest(&self, report: &mut CheckReport) -> Result<()> {
        let mut after = ManifestId(0);
        loop {
            let page = self.facts.check_contents(after, CONTENT_COUNT).await?;
            report.contents += page.count;
            add(report, page.findings);
            let Some(next) = page.next else { break };
            after = next;
        }
        add(report, self.facts.check_versions().await?);
        add(report, self.facts.check_sums().await?);
        self.check_files(report).await?;
        for row in self.store.packs().await? {
            if row.state != PackState::Doomed {
                let found = self.check_pack(row.pack, report).await?;
                add(report, found);
            }
        }
        Ok(())
    }

    /// What lies there without a row.
    async fn check_files(&self, report: &mut CheckReport) -> Result<()> {
        let files = self.packs.list().await?;
        let strays = self.packs.strays().await?;
        let rows: BTreeSet<PackId> = self.store.packs().await?.into_iter().map(|row| row.pack).collect();
        if rows.is_empty() && !files.is_empty() {
            let text = format!(
                "the catalogue knows none of the {} packs: it was lost, and with it every file",
                files.len()
            );
            add(report, [Finding::new(FindingKind::Catalog, text)]);
            return Ok(());
        }
        let unknown = files.into_iter().filter(|pack| !rows.contains(pack));
        add(
            report,
            unknown.map(|pack| {
                let text =
                    format!("pack {pack} has a file and no row; the next start moves it to lost+found");
                Finding::new(FindingKind::Stray, text)
            }),
        );
        add(
            report,
            strays.into_iter().map(|path| {
                Finding::new(FindingKind::Stray, format!("{path} lies among the packs and is none"))
            }),
        );
        Ok(())
    }

    async fn check_pack(&self, pack: PackId, report: &mut CheckReport) -> Result<Vec<Finding>> {
        let chunks = self.store.chunks_in_pack(pack).await?;
        let Some(usage) = self.store.pack(pack).await? else { return Ok(Vec::new()) };
        let row = usage.record;
        report.packs += 1;
        report.chunks += chunks.len() as u64;
        let size_bytes = match self.packs.len(pack).await {
            Ok(size_bytes) => size_bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.absent(&usage, &chunks).await,
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        // What the catalogue keeps of frames that were committed without a sync: a start writes them to their places.
        let kept = self.store.redo(pack).await?;
        let kept: BTreeSet<u64> = kept.iter().map(|frame| frame.place.offset).collect();
        let chunks: Vec<StoredChunk> =
            chunks.into_iter().filter(|chunk| !kept.contains(&chunk.place.offset)).collect();
        let chunks_end = chunks.last().map_or(PACK_HEADER_BYTES, end_of);
        let needed_bytes = if kept.is_empty() { row.committed_bytes } else { chunks_end };
        if size_bytes < needed_bytes {
            let text = format!("pack {pack} has {size_bytes} bytes, commits rely on {needed_bytes} of it");
            found.push(Finding::new(FindingKind::Pack, text));
        }
        if row.state == PackState::Sealed && size_bytes > row.committed_bytes {
            let text = format!("pack {pack} is sealed at {} bytes and has {size_bytes}", row.committed_bytes);
            found.push(Finding::new(FindingKind::Pack, text));
        }
        let (frames, damage) = self.frames(&usage).await?;
        // In a pack that takes frames only what chunks need counts: a start fills the holes that a crash left between.
        let is_open = row.state == PackState::Open;
        let counts = |damage: &PackDamage| {
            damage.part == PackPart::Header || chunks.iter().any(|chunk| damage.hits(&chunk.place))
        };
        // Of a pack that was set aside, what is damaged and needed by nobody harms nobody.
        let is_aside = row.state == PackState::SetAside;
        let damage = damage.into_iter().filter(|damage| !is_open || counts(damage));
        found.extend(damage.map(|damage| {
            let kind = if is_aside && !counts(&damage) { FindingKind::Remains } else { FindingKind::Pack };
            let text = format!(
                "pack {pack}: {} bytes at offset {} failed their check ({})",
                damage.size_bytes, damage.offset, damage.part
            );
            Finding::new(kind, text)
        }));
        compare(pack, &chunks, &frames, row.committed_bytes, &mut found);
        Ok(found)
    }

    async fn absent(&self, usage: &PackUsage, chunks: &[StoredChunk]) -> Result<Vec<Finding>> {
        let pack = usage.record.pack;
        // It may have been erased just now.
        let still = self.store.pack(pack).await?.filter(|row| row.record.state != PackState::Doomed);
        let is_empty = chunks.is_empty()
            && (usage.record.committed_bytes <= PACK_HEADER_BYTES
                || usage.record.state == PackState::SetAside);
        if still.is_none() || is_empty {
            return Ok(Vec::new());
        }
        let text = format!("pack {pack} has no file; {} chunks stand in it", chunks.len());
        Ok(vec![Finding::new(FindingKind::Pack, text)])
    }

    /// The frames of a pack, and what is wrong with it.
    async fn frames(&self, usage: &PackUsage) -> Result<(Vec<FrameEntry>, Vec<PackDamage>)> {
        let row = usage.record;
        if row.state == PackState::Sealed && !self.is_deep {
            match self.packs.frames(row.pack).await {
                Ok(frames) => return Ok((frames, Vec::new())),
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        let extent = match row.state {
            PackState::Sealed => Extent::Sealed(row.committed_bytes),
            PackState::SetAside => Extent::SetAside(row.committed_bytes),
            PackState::Open | PackState::Doomed => Extent::Committed(row.committed_bytes),
        };
        let scrubbed = self.packs.scrub(row.pack, extent, &mut Pace::unlimited()).await?;
        Ok((scrubbed.frames, scrubbed.damage))
    }
}

fn end_of(chunk: &StoredChunk) -> u64 {
    chunk.place.offset.saturating_add(u64::from(chunk.place.stored_bytes))
}

/// Each chunk row against the frame at its place.
fn compare(
    pack: PackId,
    chunks: &[StoredChunk],
    frames: &[FrameEntry],
    committed_bytes: u64,
    found: &mut Vec<Finding>,
) {
    let frames: BTreeMap<u64, &FrameEntry> = frames.iter().map(|frame| (frame.offset, frame)).collect();
    let mut wrong_count = 0_usize;
    for chunk in chunks {
        let place = chunk.place;
        let reason = match frames.get(&place.offset) {
            None => "no sound frame begins there",
            Some(frame) if frame.digest != chunk.digest => "the frame there is of another chunk",
            Some(frame) if frame.place(pack) != place || frame.plain_bytes != chunk.size_bytes => {
                "the frame there has another length"
            }
            Some(_) if place.offset + u64::from(place.stored_bytes) > committed_bytes => {
                "the row of the pack says that nothing is committed there"
            }
            Some(_) => continue,
        };
        wrong_count += 1;
        if wrong_count <= CHUNK_FINDING_COUNT_MAX {
            let text =
                format!("chunk {} is said to stand in pack {pack} at {}: {reason}", chunk.id, place.offset);
            found.push(Finding::new(FindingKind::Chunk, text));
        }
    }
    if let Some(more) = wrong_count.checked_sub(CHUNK_FINDING_COUNT_MAX).filter(|&more| more > 0) {
        found.push(Finding::new(
            FindingKind::Chunk,
            format!("{more} more chunks of pack {pack} have no frame"),
        ));
    }
}

fn add(report: &mut CheckReport, findings: impl IntoIterator<Item = Finding>) {
    for finding in findings {
        report.finding_count += 1;
        report.is_grave |= finding.kind.is_grave();
        if report.findings.len() < FINDING_COUNT_MAX {
            report.findings.push(finding);
        }
    }
}

#[cfg(test)]
mod tests;
