//! Scrubbing: every frame of every pack is read from the medium and checked, while uploads and reads go on.
//!
//! For each pack, from the oldest on (what a failure or a crash behind each step leaves in brackets):
//!
//! 1. Its row and its chunk rows are read. [nothing was changed]
//! 2. Its committed bytes are read and checked at the pace that was asked for. [the same pack again]
//! 3. A chunk row without a sound frame where it says is damage too. A damaged pack that takes frames is sealed, so that
//!    nothing is added to it. [it is sealed, which harms nobody]
//! 4. One transaction: the scrub stands behind this pack; damage is listed, its chunks are doubted, its pack is set aside.
//!    [all of it or nothing]
//!
//! Nothing is deleted: a damaged pack stays where it is, its sound frames are read from there, and whoever uploads a doubted
//! chunk again mends every content that has it. A restart goes on behind the last pack that was checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use usp_api::{AffectedContent, DamageReport, ScrubOptions, ScrubStatus};
use usp_catalog::records::{ScrubState, ScrubbedPack};
use usp_catalog::{StoreFacts, UpkeepFacts};
use usp_content::{ContentStore, Extent, Pace};
use usp_model::{
    Act, ChunkId, Error, ErrorKind, ManifestId, PackDamage, PackId, PackPart, PackRecord, PackState, Result,
    StoredChunk,
};
use usp_rt::Shutdown;

use crate::core::{Core, pause};

/// Manifest segments of one look for the contents that are hit.
const SEGMENT_COUNT: u32 = 64;
/// Contents that one report names.
const CONTENT_COUNT_MAX: usize = 10_000;

#[derive(Debug, Clone)]
struct Running {
    pace: Pace,
    stop: Shutdown,
}

/// Scrubs, one at a time. Clones share everything.
#[derive(Clone)]
pub(super) struct Scrubber {
    core: Arc<Core>,
    facts: Arc<dyn UpkeepFacts>,
    store: Arc<dyn StoreFacts>,
    content: ContentStore,
    /// Held by the scrub that runs.
    turn: Arc<tokio::sync::Mutex<()>>,
    running: Arc<Mutex<Option<Running>>>,
}

impl Scrubber {
    pub(super) fn new(
        core: Arc<Core>,
        facts: Arc<dyn UpkeepFacts>,
        store: Arc<dyn StoreFacts>,
        content: ContentStore,
    ) -> Self {
        Self { core, facts, store, content, turn: Arc::default(), running: Arc::default() }
    }

    /// Scrubs after an unclean end, goes on with what was cut off, and then once per interval.
    pub(super) async fn keep_scrubbing(&self, was_unclean: bool, shutdown: &Shutdown) {
        const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);
        if self.core.config.scrub_interval.is_zero() {
            return;
        }
        let mut is_wanted = was_unclean;
        while !shutdown.is_cancelled() {
            let ended = match self.scrub_at_leisure(is_wanted, shutdown).await {
                Ok(()) => self.next_scrub_in().await,
                Err(error) => Err(error),
            };
            is_wanted = true;
            let wait = match ended {
                // It was stopped by hand, or usp stops: it goes on at the next start.
                Ok(None) => self.core.config.scrub_interval,
                Ok(Some(wait)) => wait,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "scrubbing waits");
                    PAUSE_AFTER_FAILURE
                }
            };
            if pause(wait, shutdown).await {
                return;
            }
        }
    }

    /// Begins a scrub, goes on with one that was cut off, or changes the pace of the one that runs.
    ///
    /// Errors: `Locked` while one runs and another is asked for.
    pub(super) async fn start_scrub(&self, act: Act, options: ScrubOptions) -> Result<ScrubStatus> {
        let pace = options.pace_bytes_per_s.unwrap_or_default();
        let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() else {
            return self.change_pace(options).await;
        };
        let state = self.facts.scrub_state().await?;
        let goes_on = options.resume && state.began_at.is_some() && state.ended_at.is_none();
        if !goes_on {
            self.facts.begin_scrub(act).await?;
        }
        let running = Running { pace: Pace::of(pace), stop: Shutdown::new() };
        *self.running.lock() = Some(running.clone());
        let scrubber = self.clone();
        // A task of its own: it goes on when the caller goes away.
        tokio::spawn(async move {
            if let Err(error) = scrubber.scrub_packs(&running).await {
                tracing::error!(error = %error.chain(), "the scrub stopped; it goes on when it is resumed");
            }
            *scrubber.running.lock() = None;
            drop(turn);
        });
        self.scrub_status().await
    }

    async fn change_pace(&self, options: ScrubOptions) -> Result<ScrubStatus> {
        let running = self.running.lock().clone();
        match running {
            Some(running) if options.resume => {
                running.pace.set(options.pace_bytes_per_s.unwrap_or_default());
                self.scrub_status().await
            }
            _ => Err(Error::new(ErrorKind::Locked, "scrub")
                .because("a scrub is running; wait for its end, stop it, or resume it at another pace")),
        }
    }

    pub(super) async fn stop_scrub(&self) -> Result<ScrubStatus> {
        let running = self.running.lock().clone();
        if let Some(running) = running {
            running.stop.cancel();
            let _ended = self.turn.lock().await;
        }
        self.scrub_status().await
    }

    pub(super) async fn scrub_status(&self) -> Result<ScrubStatus> {
        let running = self.running.lock().clone();
        let state = self.facts.scrub_state().await?;
        Ok(ScrubStatus {
            running: running.is_some(),
            pace_bytes_per_s: running.map(|running| running.pace.bytes_per_s()),
            began_at: state.began_at,
            ended_at: state.ended_at,
            packs: state.pack_count,
            packs_left: if state.ended_at.is_some() { 0 } else { state.packs_left },
            frames: state.frame_count,
            size_bytes: state.size_bytes,
            damaged: state.damage_count,
        })
    }

    /// Scrubs because it is time for it, at the configured pace: what was cut off goes on, and what is wanted begins anew.
    pub(super) async fn scrub_at_leisure(&self, is_wanted: bool, shutdown: &Shutdown) -> Result<()> {
        // Somebody's own scrub may take hours.
        let _turn = tokio::select! {
            turn = self.turn.lock() => turn,
            () = shutdown.cancelled() => return Ok(()),
        };
        let state = self.facts.scrub_state().await?;
        let is_cut_off = state.began_at.is_some() && state.ended_at.is_none();
        if !is_cut_off {
            // A store that was never scrubbed is, so that there is a time from which to count.
            if !is_wanted && state.began_at.is_some() {
                return Ok(());
            }
            self.facts.begin_scrub(self.core.duty("scrub")).await?;
        }
        let running =
            Running { pace: Pace::of(self.core.config.scrub_pace_bytes_per_s), stop: shutdown.child_token() };
        *self.running.lock() = Some(running.clone());
        let ended = self.scrub_packs(&running).await;
        *self.running.lock() = None;
        ended
    }

    /// When the next scrub is due, from the end of the last. `None`: one was cut off.
    pub(super) async fn next_scrub_in(&self) -> Result<Option<Duration>> {
        let state = self.facts.scrub_state().await?;
        let interval = self.core.config.scrub_interval;
        let Some(ended_at) = state.ended_at else {
            return Ok(if state.began_at.is_some() { None } else { Some(interval) });
        };
        let since_ms = self.core.now().unix_ms().saturating_sub(ended_at.unix_ms());
        Ok(Some(interval.saturating_sub(Duration::from_millis(u64::try_from(since_ms).unwrap_or(0)))))
    }

    async fn scrub_packs(&self, running: &Running) -> Result<()> {
        let state = self.facts.scrub_state().await?;
        let mut pace = running.pace.clone();
        for row in self.store.packs().await? {
            if row.pack <= state.last || row.pack > state.until || row.state == PackState::Doomed {
                continue;
            }
            let scrubbed = tokio::select! {
                scrubbed = self.scrub_pack(row.pack, &mut pace) => scrubbed?,
                () = running.stop.cancelled() => return Ok(()),
            };
            if let Some(scrubbed) = scrubbed {
                self.facts.note_scrubbed(self.core.duty("scrub"), scrubbed).await?;
            }
        }
        let ended = self.facts.end_scrub(self.core.duty("scrub")).await?;
        log_end(&ended);
        Ok(())
    }

    /// `None` for a pack that went meanwhile.
    async fn scrub_pack(&self, pack: PackId, pace: &mut Pace) -> Result<Option<ScrubbedPack>> {
        let Some(row) = self.pack_row(pack).await? else { return Ok(None) };
        let mut chunks = self.store.chunks_in_pack(pack).await?;
        chunks
            .retain(|chunk| chunk.place.offset + u64::from(chunk.place.stored_bytes) <= row.committed_bytes);
        let found = match self.content.inspector().scrub(pack, extent(&row), pace).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if self.pack_row(pack).await?.is_none() {
                    return Ok(None);
                }
                return Ok(Some(absent(&row, &chunks)));
            }
            found => found?,
        };
        let mut damage = found.damage;
        let sound: BTreeMap<u64, _> = found.frames.iter().map(|frame| (frame.offset, frame)).collect();
        for chunk in &chunks {
            let is_sound = sound.get(&chunk.place.offset).is_some_and(|frame| {
                frame.digest == chunk.digest
                    && frame.plain_bytes == chunk.size_bytes
                    && frame.place(pack) == chunk.place
            });
            if is_sound {
                continue;
            }
            self.content.forget_chunk(&chunk.digest);
            match damage.iter_mut().find(|damage| damage.hits(&chunk.place)) {
                // Where footer and frames cannot be told apart, the row knows.
                Some(known) if known.part == PackPart::Footer => known.part = PackPart::Frame,
                Some(_known) => {}
                None => damage.push(damage_at(chunk)),
            }
        }
        for stretch in &damage {
            tracing::error!(
                pack.id = %pack, offset = stretch.offset, bytes = stretch.size_bytes, part = %stretch.part,
                "a pack is damaged and set aside; its sound frames stay readable"
            );
        }
        if !damage.is_empty() && row.state == PackState::Open {
            self.close_for_damage(pack).await;
        }
        let (frame_count, size_bytes) = (found.frames.len() as u64, found.size_bytes);
        Ok(Some(ScrubbedPack { pack, frame_count, size_bytes, damage }))
    }

    async fn close_for_damage(&self, pack: PackId) {
        if let Err(error) = self.content.seal(pack).await {
            tracing::warn!(pack.id = %pack, error = %error.chain(), "a damaged pack could not be sealed");
        }
    }

    /// `None` when its row is gone or it is doomed: nothing in it is needed.
    async fn pack_row(&self, pack: PackId) -> Result<Option<PackRecord>> {
        let found = self.store.pack(pack).await?.map(|usage| usage.record);
        Ok(found.filter(|row| row.state != PackState::Doomed))
    }

    /// What the last scrub found, with the contents that are hit as they stand now.
    pub(super) async fn store_damage(&self) -> Result<DamageReport> {
        let damage = self.facts.scrub_damage().await?;
        let mut hit: BTreeMap<ChunkId, BTreeSet<usize>> = BTreeMap::new();
        let mut rows: Option<(PackId, Vec<StoredChunk>)> = None;
        for (index, stretch) in damage.iter().enumerate() {
            let known = rows.take().filter(|(pack, _)| *pack == stretch.pack);
            let (pack, chunks) = match known {
                Some(known) => known,
                None => (stretch.pack, self.store.chunks_in_pack(stretch.pack).await?),
            };
            for chunk in chunks.iter().filter(|chunk| stretch.hits(&chunk.place)) {
                hit.entry(chunk.id).or_default().insert(index);
            }
            rows = Some((pack, chunks));
        }
        let mut manifests: BTreeMap<ManifestId, BTreeSet<usize>> = BTreeMap::new();
        let mut is_cut = false;
        let mut after = None;
        while !hit.is_empty() {
            let asked = hit.keys().copied().collect();
            let page = self.facts.contents_naming(asked, after, SEGMENT_COUNT).await?;
            for (chunk, manifest) in page.named {
                if manifests.len() >= CONTENT_COUNT_MAX && !manifests.contains_key(&manifest) {
                    is_cut = true;
                    continue;
                }
                let stretches = hit.get(&chunk).into_iter().flatten();
                manifests.entry(manifest).or_default().extend(stretches);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let owners = match manifests.is_empty() {
            true => Vec::new(),
            false => self.facts.owners(manifests.keys().copied().collect()).await?,
        };
        let contents = owners.into_iter().map(|owner| {
            let stretches = manifests.get(&owner.manifest).into_iter().flatten();
            AffectedContent {
                bucket: owner.bucket,
                key: owner.key,
                version: owner.version,
                file_id: owner.file_id,
                upload_id: owner.upload,
                damage: stretches.copied().collect(),
            }
        });
        Ok(DamageReport { contents: contents.collect(), damage, is_cut })
    }
}

fn extent(row: &PackRecord) -> Extent {
    match row.state {
        PackState::Sealed => Extent::Sealed(row.committed_bytes),
        PackState::SetAside => Extent::SetAside(row.committed_bytes),
        PackState::Open | PackState::Doomed => Extent::Committed(row.committed_bytes),
    }
}

fn damage_at(chunk: &StoredChunk) -> PackDamage {
    let place = chunk.place;
    let size_bytes = u64::from(place.stored_bytes);
    PackDamage { pack: place.pack, offset: place.offset, size_bytes, part: PackPart::Frame }
}

/// A pack whose file is gone. One in which nothing was committed is no loss.
fn absent(row: &PackRecord, chunks: &[StoredChunk]) -> ScrubbedPack {
    let mut scrubbed = ScrubbedPack { pack: row.pack, frame_count: 0, size_bytes: 0, damage: Vec::new() };
    if row.committed_bytes > 0 && (row.state != PackState::SetAside || !chunks.is_empty()) {
        tracing::error!(pack.id = %row.pack, "a pack file is missing: files that need it cannot be read");
        let (offset, size_bytes) = (0, row.committed_bytes);
        scrubbed.damage.push(PackDamage { pack: row.pack, offset, size_bytes, part: PackPart::Missing });
    }
    scrubbed
}

fn log_end(state: &ScrubState) {
    if state.damage_count > 0 {
        tracing::error!(
            packs = state.pack_count,
            frames = state.frame_count,
            bytes = state.size_bytes,
            damaged = state.damage_count,
            "a scrub found damage: `usp admin scrub --report` names the files"
        );
    } else {
        tracing::info!(
            packs = state.pack_count,
            frames = state.frame_count,
            bytes = state.size_bytes,
            "scrubbed"
        );
    }
}

#[cfg(test)]
pub(super) mod tests;
