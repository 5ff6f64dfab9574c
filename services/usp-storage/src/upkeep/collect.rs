//! Collection: gives back the space of what nothing refers to, while uploads and reads go on.
//!
//! One cycle, and why a failure or a crash behind each step is harmless (docs/adr/0010-collection.md):
//!
//! 1. Packs that were doomed two cycles and the grace period ago are erased: file first, then row. [the row is found again]
//! 2. The epoch rises to E. References that are made from now on carry E. [an epoch without a collection means nothing]
//! 3. Every chunk that a manifest names is marked in memory; open uploads have manifests too. [nothing was changed]
//! 4. Chunks that are not marked and were last referred to before E lose their rows, some per transaction. An upload that
//!    found such a row before gets it back in its commit, for the same frame. [the next cycle takes the rest]
//! 5. What is alive in packs that are mostly dead is copied, synced, and its rows are moved. [copies without rows are dead]
//! 6. A pack without rows is blocked in memory, which fails while an upload is about to refer to it, and doomed in the
//!    catalogue, which fails while a row names it. No commit makes a row in a doomed pack. [it is sealed still, or doomed]
//!
//! A disk that is nearly full stops step 5 alone: rows, dooms and erasures need little or no space, and copies leave it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};
use usp_api::CollectReport;
use usp_catalog::StoreFacts;
use usp_catalog::records::{ChunkMove, PackUsage};
use usp_content::pack::{ENTRY_BYTES, PACK_HEADER_BYTES, TRAILER_BYTES};
use usp_content::{ContentStore, CopiedFrames};
use usp_model::{Act, ChunkId, Error, ErrorKind, PackId, PackState, Result, StoredChunk};
use usp_rt::Shutdown;

use crate::core::{Core, ms, pause, run_to_end};
use crate::disk::DiskSpace;

mod marks;

use marks::Marks;

/// Manifest segments of one page: a quarter of a million chunks at most.
const SEGMENT_COUNT: u32 = 64;
/// Chunk rows of one look.
const LOOK_COUNT: u32 = 4_096;
/// Rows of one transaction, so that uploads need not wait long for it.
const SWEEP_COUNT: usize = 500;
/// Bytes that are copied in one go.
const COPY_BYTES: u64 = 4 << 20;
/// Frames, and what the catalogue notes of them.
const SPACE_FOR_ONE_COPY: u64 = 2 * COPY_BYTES;
/// A pack of which less than this is alive is always emptied.
const LIVE_PERCENT_MIN: u64 = 60;
/// While more than `DEAD_PERCENT_MAX` of the store is dead, so is one of which less than this is alive.
const LIVE_PERCENT_WANTED: u64 = 90;
const DEAD_PERCENT_MAX: u64 = 5;

/// Less than this in a pack that is still appended to is left until it is full.
const DEAD_BYTES_IN_OPEN: u64 = 256 << 10;

/// Bytes of packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PackBytes {
    pub(super) disk_bytes: u64,
    /// What the packs would lose if only what is alive were kept.
    pub(super) dead_bytes: u64,
}

impl PackBytes {
    pub(super) fn of(packs: &[PackUsage]) -> Self {
        packs.iter().fold(Self::default(), |sum, pack| Self {
            disk_bytes: sum.disk_bytes.saturating_add(pack.record.committed_bytes),
            dead_bytes: sum.dead_bytes.saturating_add(dead_bytes(pack)),
        })
    }

    /// Whether what is dead in the pack is worth the copies of what lives in it.
    fn is_worth_emptying(self, pack: &PackUsage) -> bool {
        let percent = live_percent(pack);
        let much_is_dead =
            self.dead_bytes.saturating_mul(100) > self.disk_bytes.saturating_mul(DEAD_PERCENT_MAX);
        percent < LIVE_PERCENT_MIN || (percent < LIVE_PERCENT_WANTED && much_is_dead)
    }
}

/// Header and footer entries of living frames count as alive: a pack of nothing else could not be smaller.
fn live_bytes(pack: &PackUsage) -> u64 {
    let footer_bytes = match pack.record.state {
        PackState::Sealed => TRAILER_BYTES as u64 + pack.live_chunks.saturating_mul(ENTRY_BYTES as u64),
        PackState::Open | PackState::SetAside => 0,
        PackState::Doomed => return 0,
    };
    let live_bytes = if pack.live_chunks == 0 && pack.record.state == PackState::Sealed {
        0
    } else {
        PACK_HEADER_BYTES + pack.live_bytes + footer_bytes
    };
    live_bytes.min(pack.record.committed_bytes)
}

fn dead_bytes(pack: &PackUsage) -> u64 {
    pack.record.committed_bytes.saturating_sub(live_bytes(pack))
}

fn live_percent(pack: &PackUsage) -> u64 {
    live_bytes(pack).saturating_mul(100) / pack.record.committed_bytes.max(1)
}

/// How much of the machine a collection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Somebody waits for its end.
    Full,
    /// After every step it rests as long as the step took.
    Half,
}

/// Collects, one cycle at a time. Clones share everything.
#[derive(Clone)]
pub(super) struct Collector {
    core: Arc<Core>,
    facts: Arc<dyn StoreFacts>,
    content: ContentStore,
    disk: DiskSpace,
    /// Held by the cycle that runs, and by whoever may not have one.
    turn: Arc<Mutex<()>>,
}

impl Collector {
    pub(super) fn new(
        core: Arc<Core>,
        facts: Arc<dyn StoreFacts>,
        content: ContentStore,
        disk: DiskSpace,
    ) -> Self {
        Self { core, facts, content, disk, turn: Arc::default() }
    }

    /// Keeps collections from beginning as long as what it gives lives; `None` while one runs.
    pub(super) fn hold(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// One cycle because someone asked for it. It goes on when the caller goes away. Errors: `Locked` while one runs.
    pub(super) async fn collect(&self, act: Act, dry_run: bool) -> Result<CollectReport> {
        match self.collect_once(act.clone(), dry_run).await {
            // Collecting is what frees space: the ballast was kept for it.
            Err(error) if error.kind() == ErrorKind::StorageFull && self.disk.drop_ballast() => {
                self.collect_once(act, dry_run).await
            }
            collected => collected,
        }
    }

    async fn collect_once(&self, act: Act, dry_run: bool) -> Result<CollectReport> {
        let turn = self.hold().ok_or_else(|| {
            Error::new(ErrorKind::Locked, "collect").because("a collection is running; wait for its end")
        })?;
        let collector = self.clone();
        run_to_end("collect", async move {
            let cycle = Cycle::new(&collector, act, Pace::Full);
            let report = if dry_run { cycle.look().await } else { cycle.run().await };
            drop(turn);
            report
        })
        .await
    }

    /// One cycle because it is time for one.
    async fn collect_at_leisure(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        Cycle::new(self, self.core.duty("collection"), Pace::Half).run().await.map(|_report| ())
    }

    /// Collects once per interval until `shutdown`.
    pub(super) async fn keep_collecting(&self, shutdown: &Shutdown) {
        let interval = self.core.config.collect_interval;
        while !interval.is_zero() && !pause(interval, shutdown).await {
            // Cut anywhere it leaves nothing that the next cycle does not take up.
            let ended = tokio::select! {
                ended = self.collect_at_leisure() => ended,
                () = shutdown.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::warn!(error = %error.chain(), "collection waits for its next turn");
            }
        }
    }
}

struct Cycle<'s> {
    collector: &'s Collector,
    act: Act,
    pace: Pace,
    step_began: Instant,
    report: CollectReport,
}

impl<'s> Cycle<'s> {
    fn new(collector: &'s Collector, act: Act, pace: Pace) -> Self {
        Self { collector, act, pace, step_began: Instant::now(), report: CollectReport::default() }
    }

    /// Steps are long apart: each is of the time when it is made.
    fn act(&self) -> Act {
        self.collector.core.redated(&self.act)
    }

    async fn run(mut self) -> Result<CollectReport> {
        self.erase_doomed().await?;
        let epoch = self.collector.facts.raise_epoch(self.act()).await?;
        let marks = self.mark().await?;
        self.sweep(&marks, epoch).await?;
        drop(marks);
        self.compact().await?;
        self.measure().await?;
        let report = self.report;
        if report.swept_chunks + report.doomed_packs + report.erased_packs > 0 {
            tracing::info!(
                epoch,
                swept_chunks = report.swept_chunks,
                moved_bytes = report.moved_bytes,
                doomed_packs = report.doomed_packs,
                erased_bytes = report.erased_bytes,
                dead_bytes = report.dead_bytes,
                "collected"
            );
        }
        Ok(report)
    }

    /// Counts what a cycle would sweep, and changes nothing.
    async fn look(mut self) -> Result<CollectReport> {
        self.report.dry_run = true;
        let marks = self.mark().await?;
        let mut after = ChunkId(0);
        loop {
            let page = self.collector.facts.stale_chunks(after, i64::MAX, LOOK_COUNT).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for chunk in page.iter().filter(|chunk| !marks.has(chunk.id)) {
                self.report.swept_chunks += 1;
                self.report.swept_bytes += u64::from(chunk.place.stored_bytes);
            }
        }
        self.measure().await?;
        Ok(self.report)
    }

    async fn erase_doomed(&mut self) -> Result<()> {
        let grace_ms = ms(self.collector.core.config.collect_grace);
        let doomed_before = self.collector.core.now().plus_ms(-grace_ms);
        for pack in self.collector.facts.erasable_packs(self.act(), doomed_before).await? {
            match self.collector.content.delete_pack(pack.record.pack).await {
                // A backup copies packs: the next cycle has them.
                Err(error) if error.kind() == ErrorKind::Locked => return Ok(()),
                erased => erased?,
            }
            self.collector.facts.forget_pack(self.act(), pack.record.pack).await?;
            self.report.erased_packs += 1;
            self.report.erased_bytes += pack.record.committed_bytes;
            self.rest().await;
        }
        Ok(())
    }

    async fn mark(&mut self) -> Result<Marks> {
        let mut marks = Marks::default();
        let mut after = None;
        loop {
            let page = self.collector.facts.references(after, SEGMENT_COUNT).await?;
            page.chunks.into_iter().for_each(|chunk| marks.add(chunk));
            self.rest().await;
            after = page.next;
            if after.is_none() {
                return Ok(marks);
            }
        }
    }

    async fn sweep(&mut self, marks: &Marks, epoch: i64) -> Result<()> {
        let mut after = ChunkId(0);
        loop {
            let page = self.collector.facts.stale_chunks(after, epoch, LOOK_COUNT).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            let garbage: Vec<ChunkId> =
                page.iter().map(|chunk| chunk.id).filter(|&id| !marks.has(id)).collect();
            for some in garbage.chunks(SWEEP_COUNT) {
                let swept = self.collector.facts.sweep_chunks(self.act(), some.to_vec(), epoch).await?;
                self.report.swept_chunks += swept.chunk_count;
                self.report.swept_bytes += swept.stored_bytes;
                self.rest().await;
            }
        }
    }

    /// Empties packs, the deadest first, as long as that is worth its copies.
    async fn compact(&mut self) -> Result<()> {
        self.seal_dead_open().await?;
        let mut packs = self.collector.facts.pack_usage().await?;
        packs.retain(|pack| pack.record.state != PackState::Doomed);
        let mut space = PackBytes::of(&packs);
        packs.retain(|pack| pack.record.state == PackState::Sealed);
        packs.sort_by_key(live_percent);
        let mut has_space = true;
        for pack in packs {
            if !space.is_worth_emptying(&pack) {
                return Ok(());
            }
            if pack.live_chunks > 0 {
                // Without space the packs that need no copies still have their turn.
                let emptied = if has_space { self.empty(pack.record.pack).await? } else { Emptied::NoSpace };
                has_space = emptied != Emptied::NoSpace;
                if emptied != Emptied::Wholly {
                    continue;
                }
            }
            self.doom(&pack).await?;
            space.dead_bytes = space.dead_bytes.saturating_sub(dead_bytes(&pack));
        }
        Ok(())
    }

    /// Seals open packs of which much is dead: in a store that grows slowly they would stay as they are for long.
    async fn seal_dead_open(&mut self) -> Result<()> {
        let mut packs = self.collector.facts.pack_usage().await?;
        packs.retain(|pack| pack.record.state != PackState::Doomed);
        let space = PackBytes::of(&packs);
        for pack in packs {
            let is_dead = dead_bytes(&pack) >= DEAD_BYTES_IN_OPEN && space.is_worth_emptying(&pack);
            if pack.record.state != PackState::Open || !is_dead {
                continue;
            }
            match self.collector.content.seal(pack.record.pack).await {
                // It could not be sealed when usp was started, or was sealed just now.
                Ok(_is_sealed) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
            self.rest().await;
        }
        Ok(())
    }

    /// Moves what is alive out of a pack.
    async fn empty(&mut self, pack: PackId) -> Result<Emptied> {
        let chunks = self.collector.facts.chunks_in_pack(pack).await?;
        let mut rest = chunks.as_slice();
        while !rest.is_empty() {
            if !self.collector.disk.spares(SPACE_FOR_ONE_COPY) {
                tracing::warn!(
                    "packs are not compacted: the space that is left is for deleting and collecting"
                );
                return Ok(Emptied::NoSpace);
            }
            let (some, later) = rest.split_at(count_for_one_copy(rest));
            rest = later;
            match self.move_chunks(some).await {
                Ok(()) => self.rest().await,
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    tracing::warn!(error = %error.chain(), "no space to compact packs");
                    return Ok(Emptied::NoSpace);
                }
                Err(error) if is_damage(error.kind()) => {
                    tracing::error!(pack.id = %pack, error = %error.chain(), "a damaged pack is set aside");
                    self.collector.facts.set_pack_aside(self.act(), pack).await?;
                    self.report.damaged_packs += 1;
                    return Ok(Emptied::Damaged);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Emptied::Wholly)
    }

    async fn move_chunks(&mut self, chunks: &[StoredChunk]) -> Result<()> {
        let from = chunks.iter().map(|chunk| chunk.place).collect();
        let CopiedFrames { places, pins } = self.collector.content.copy_frames(from).await?;
        self.collector.content.sync(&places.iter().map(|place| place.pack).collect()).await?;
        let pairs = chunks.iter().zip(places);
        let moves = pairs.map(|(chunk, to)| ChunkMove { chunk: chunk.id, from: chunk.place, to }).collect();
        self.report.moved_chunks += self.collector.facts.move_chunks(self.act(), moves).await?;
        drop(pins);
        self.report.moved_bytes +=
            chunks.iter().map(|chunk| u64::from(chunk.place.stored_bytes)).sum::<u64>();
        Ok(())
    }

    async fn doom(&mut self, pack: &PackUsage) -> Result<()> {
        let id = pack.record.pack;
        if !self.collector.content.block_references(id) {
            self.report.busy_packs += 1;
            return Ok(());
        }
        if self.collector.facts.doom_pack(self.act(), id).await? {
            self.report.doomed_packs += 1;
            self.report.doomed_bytes += pack.record.committed_bytes;
        } else {
            // A commit was faster, or it was set aside. After an error it stays blocked: it may be doomed.
            self.collector.content.allow_references(id);
            self.report.busy_packs += 1;
        }
        self.rest().await;
        Ok(())
    }

    async fn measure(&mut self) -> Result<()> {
        let space = PackBytes::of(&self.collector.facts.pack_usage().await?);
        (self.report.disk_bytes, self.report.dead_bytes) = (space.disk_bytes, space.dead_bytes);
        Ok(())
    }

    async fn rest(&mut self) {
        const REST_MAX: Duration = Duration::from_secs(1);
        if self.pace == Pace::Half {
            tokio::time::sleep(self.step_began.elapsed().min(REST_MAX)).await;
        }
        self.step_began = Instant::now();
    }
}

/// What became of the living frames of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emptied {
    Wholly,
    /// Some failed their check. The pack is kept, and what is sound in it is read from there.
    Damaged,
    /// The disk is full.
    NoSpace,
}

/// A frame that fails its check, a pack that is too short, a pack that is not there.
fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::OutOfRange | ErrorKind::NotFound)
}

/// At least one.
fn count_for_one_copy(chunks: &[StoredChunk]) -> usize {
    let mut copied_bytes = 0;
    let fits = |chunk: &&StoredChunk| {
        copied_bytes += u64::from(chunk.place.stored_bytes);
        copied_bytes <= COPY_BYTES
    };
    chunks.iter().take(SWEEP_COUNT).take_while(fits).count().max(1).min(chunks.len())
}

#[cfg(test)]
mod tests;
