//! Power cuts, enumerated: a scenario is recorded once, then the disk is cut at many moments with every fate, and each disk
//! that this leaves is recovered and checked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use usp_testkit::generate::Numbers;

use crate::check::{Depth, check, scratch};
use crate::disk::{Fate, Image, SimDisk};
use crate::figures::Plan;
use crate::record::{Fault, Program, Recorded, Run};
use crate::scenario::{Scenario, Start};
use crate::trace::{Moment, Trace};

/// A recorded scenario, ready to be cut.
#[derive(Debug)]
pub struct Recording {
    pub name: String,
    pub seed: u64,
    base: SimDisk,
    pub trace: Trace,
}

/// What was cut and checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Disks that were recovered and checked, no two of one recording the same.
    pub states: u64,
    /// Moments of the recordings.
    pub moments: u64,
    pub read_bytes: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.states += other.states;
        self.moments += other.moments;
        self.read_bytes += other.read_bytes;
    }
}

/// Records a scenario from its beginning.
pub fn record(program: &Program, name: &str, seed: u64) -> Result<Recording> {
    let (recording, recorded) = record_with(program, name, seed, None, lay_out)?;
    ensure!(recorded.status.success(), "{name} did not end well: {}", recorded.said);
    Ok(recording)
}

/// What a directory holds before a scenario is prepared in it.
fn lay_out(name: &str, dir: &Path) -> Result<()> {
    if name == "migration" {
        let first = include_str!("../../../crates/usp-catalog/src/sqlite/migrations/0001.sql");
        let conn = rusqlite::Connection::open(dir.join("catalog.db"))?;
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; BEGIN; {first} PRAGMA application_id = 1970499683; PRAGMA user_version = 1; COMMIT;"
        ))?;
    }
    Ok(())
}

/// Records a scenario with a fault put in, on a directory that `lay_out` began.
pub fn record_with(
    program: &Program,
    name: &str,
    seed: u64,
    fault: Option<Fault<'_>>,
    lay_out: fn(&str, &Path) -> Result<()>,
) -> Result<(Recording, Recorded)> {
    let home = scratch()?;
    let (dir, ledger) = (home.path().join("volume"), home.path().join("ledger"));
    std::fs::create_dir(&dir)?;
    lay_out(name, &dir)?;
    let run = Run { program, scenario: name, dir: dir.clone(), ledger: ledger.clone(), seed };
    if Scenario::find(name)?.start != Start::Nothing {
        run.prepare()?;
    }
    let before = if ledger.exists() { std::fs::read(&ledger)? } else { Vec::new() };
    let base = SimDisk::of(&dir, before)?;
    let recorded = run.record(fault)?;
    let recording = Recording { name: name.to_owned(), seed, base, trace: recorded.trace.clone() };
    Ok((recording, recorded))
}

/// Records the start of a store on a disk that a power cut left.
pub fn record_recovery(program: &Program, image: &Image, ledger: &[u8], seed: u64) -> Result<Recording> {
    let home = scratch()?;
    let (dir, path) = (home.path().join("volume"), home.path().join("ledger"));
    image.write_to(&dir)?;
    std::fs::write(&path, ledger)?;
    let base = SimDisk::of(&dir, ledger.to_vec())?;
    let run = Run { program, scenario: "start_again", dir, ledger: path, seed };
    let recorded = run.record(None)?;
    ensure!(recorded.status.success(), "recovery did not end well: {}", recorded.said);
    Ok(Recording { name: "recovery".to_owned(), seed, base, trace: recorded.trace })
}

impl Recording {
    /// Cuts as often as the plan says: every moment equally often, every fate in turn.
    ///
    /// Errors: the first disk that did not hold what was promised; it is kept, and the error says where.
    pub fn cut(&self, runtime: &tokio::runtime::Runtime, plan: Plan) -> Result<Tally> {
        let mut tally = Tally { moments: self.trace.events.len() as u64, ..Tally::default() };
        let mut seen = HashSet::new();
        let mut numbers = Numbers::new(self.seed ^ 0x5eed);
        // All moments with all fates are more than enough; a round takes the moments that the rounds before left out.
        for round in 0..64_u64 {
            if !plan.goes_on(tally.states) {
                break;
            }
            let left = plan.count.saturating_sub(tally.states);
            let stride = (tally.moments * Fate::ALL.len() as u64 / left.max(1)).max(1);
            let seen_before = tally.states;
            self.round(runtime, plan, (round, stride), (&mut numbers, &mut seen), &mut tally)?;
            // Nothing new in a whole round without gaps: there is nothing more to find.
            if stride == 1 && tally.states == seen_before {
                break;
            }
        }
        Ok(tally)
    }

    fn round(
        &self,
        runtime: &tokio::runtime::Runtime,
        plan: Plan,
        (round, stride): (u64, u64),
        (numbers, seen): (&mut Numbers, &mut HashSet<[u8; 32]>),
        tally: &mut Tally,
    ) -> Result<()> {
        let home = scratch()?;
        let dir = home.path().join("volume");
        let mut disk = self.base.clone();
        let mut turn = numbers.below(stride);
        for (event, (change, moment)) in (0_u64..).zip(&self.trace.events) {
            let what = self.trace.changes.get(*change).context("a change of the trace")?;
            disk.play(*change, what, *moment)?;
            for fate in (0_u64..).zip(Fate::ALL).map(|(number, fate)| (number + round, fate)) {
                turn += 1;
                if !turn.is_multiple_of(stride) || (disk.is_settled() && fate.1 != Fate::Nothing) {
                    continue;
                }
                let seed = self.seed ^ (event << 24) ^ (fate.0 << 8);
                let image = disk.cut(fate.1, &mut Numbers::new(seed));
                let mut name = blake3::Hasher::new();
                name.update(&image.digest()).update(disk.ledger());
                if !seen.insert(*name.finalize().as_bytes()) {
                    continue;
                }
                image.write_to(&dir)?;
                let depth = if tally.states.is_multiple_of(8) { Depth::GoOn } else { Depth::Look };
                let checked = runtime.block_on(Box::pin(check(&dir, disk.ledger(), depth)));
                match checked {
                    Ok(checked) => tally.read_bytes += checked.read_bytes,
                    Err(error) => bail!("{}", self.keep(&disk, &image, (event, *moment, fate.1), &error)?),
                }
                tally.states += 1;
                if !plan.goes_on(tally.states) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The disk as a random cut leaves it, and the ledger of that moment.
    pub fn cut_somewhere(&self, numbers: &mut Numbers) -> Result<(Image, Vec<u8>)> {
        let at = numbers.below(self.trace.events.len() as u64);
        let disk = self.disk_at(usize::try_from(at)?)?;
        let fate = Fate::ALL.get(usize::try_from(numbers.below(8))?).copied().unwrap_or(Fate::Nothing);
        Ok((disk.cut(fate, numbers), disk.ledger().to_vec()))
    }

    /// The disk after so many events.
    pub fn disk_at(&self, event_count: usize) -> Result<SimDisk> {
        let mut disk = self.base.clone();
        for (change, moment) in self.trace.events.iter().take(event_count) {
            disk.play(*change, self.trace.changes.get(*change).context("a change of the trace")?, *moment)?;
        }
        Ok(disk)
    }

    /// Keeps a disk that failed, for whoever looks into it.
    fn keep(
        &self,
        disk: &SimDisk,
        image: &Image,
        (event, moment, fate): (u64, Moment, Fate),
        error: &anyhow::Error,
    ) -> Result<String> {
        let place = PathBuf::from(format!(
            "{}/usp-torture-{}-{}",
            std::env::temp_dir().display(),
            self.name,
            self.seed
        ));
        image.write_to(&place.join("volume"))?;
        std::fs::write(place.join("ledger"), disk.ledger())?;
        let change = self
            .trace
            .events
            .get(usize::try_from(event)?)
            .and_then(|(change, _)| self.trace.changes.get(*change));
        let mut call = format!("{change:?}");
        call.truncate(160);
        Ok(format!(
            "{error:#}\n  scenario {}, seed {} (USP_SEED), a cut at event {event} ({moment:?} {call}) with the fate {fate:?}\n  \
             the disk and the ledger are kept in {}: USP_TORTURE_KEPT={} replays the check",
            self.name,
            self.seed,
            place.display(),
            place.display(),
        ))
    }
}
