//! What all scenarios share: the plan, the places, the turns.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::contestant::{Contestant, Places, Running};
use crate::contestants;
use crate::disk;
use crate::meter::Cost;
use crate::report::{Report, Sample};

/// Figures of one turn, by key.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// How much is done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) runs: usize,
    pub(crate) quick: bool,
    /// Contestants that take part; empty: all.
    pub(crate) who: Vec<String>,
    /// How long one cell of small requests may take.
    pub(crate) cell_time_max: Duration,
    /// How long the store of the growth scenario may take to fill.
    pub(crate) grow_time_max: Duration,
}

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) places: Places,
    pub(crate) corpus: PathBuf,
    pub(crate) report: Report,
    /// Everything that a run writes goes below this; it vanishes at the end.
    pub(crate) work: TempDir,
    begun: Instant,
}

impl Bench {
    pub(crate) fn new(plan: Plan, places: Places, target: &Path) -> Result<Self> {
        let out = target.join("bench");
        fs::create_dir_all(&out)?;
        let work = tempfile::Builder::new().prefix("work-").tempdir_in(&out).context("create a directory")?;
        let corpus = target.join("bench-corpus");
        Ok(Self { plan, places, corpus, report: Report::default(), work, begun: Instant::now() })
    }

    pub(crate) fn takes_part(&self, name: &str) -> bool {
        self.plan.who.is_empty() || self.plan.who.iter().any(|who| who == name)
    }

    /// Those of `names` that are wanted and installed; all contestants without names.
    pub(crate) fn servers(&self, names: &[&str]) -> Vec<&'static dyn Contestant> {
        let is_in = |contestant: &&&dyn Contestant| {
            (names.is_empty() || names.contains(&contestant.name()))
                && self.takes_part(contestant.name())
                && contestant.missing(&self.places).is_none()
        };
        contestants::ALL.iter().filter(is_in).copied().collect()
    }

    /// A line for whoever watches.
    pub(crate) fn say(&self, line: &str) {
        let seconds = self.begun.elapsed().as_secs();
        // Nobody may be watching.
        let _ = writeln!(stderr(), "[{:>2}:{:02}] {line}", seconds / 60, seconds % 60);
    }

    /// One contestant's turn on a fresh directory and a settled disk. A failure is noted and the others go on.
    pub(crate) fn turn(
        &mut self,
        who: &str,
        label: &str,
        work: impl FnOnce(&mut Self, &Path) -> Result<Vec<Sample>>,
    ) -> Result<()> {
        let dir = tempfile::Builder::new().prefix("turn-").tempdir_in(self.work.path())?;
        disk::settle(dir.path())?;
        let sync_ms = disk::sync_ms(dir.path())?;
        match work(self, dir.path()) {
            Ok(mut samples) => {
                for sample in &mut samples {
                    sample.figures.insert("sync_ms", sync_ms);
                }
                self.say(&line_of(who, label, &samples));
                self.report.samples.extend(samples);
            }
            Err(error) => {
                self.say(&format!("{label}: {who} FAILED: {error:#}"));
                self.report.failures.push(format!("{label}: {who}: {error:#}"));
            }
        }
        Ok(())
    }

    /// A turn of a server, which ends with it.
    pub(crate) fn server_turn(
        &mut self,
        contestant: &dyn Contestant,
        label: &str,
        work: impl FnOnce(&mut Self, &Running) -> Result<Vec<Sample>>,
    ) -> Result<()> {
        self.turn(contestant.name(), label, |bench, dir| {
            let running = contestant.start(&bench.places, dir)?;
            let samples = work(bench, &running);
            samples.with_context(|| format!("it printed: {}", last_lines(&running.process.printed())))
        })
    }
}

fn last_lines(printed: &str) -> String {
    const LINES: usize = 5;
    let lines: Vec<&str> = printed.lines().collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" / ")
}

fn line_of(who: &str, label: &str, samples: &[Sample]) -> String {
    let mut line = format!("{label}: {who}");
    for sample in samples {
        let speed = sample.figures.get("rate").map(|rate| format!("{rate:.0}"));
        let seconds = sample.figures.get("seconds").map(|seconds| format!("{seconds:.2} s"));
        if let Some(text) = speed.or(seconds) {
            line.push_str(&format!("  {text}"));
        }
    }
    if let Some(sync) = samples.first().and_then(|sample| sample.figures.get("sync_ms")) {
        line.push_str(&format!("  (sync {sync:.2} ms)"));
    }
    line
}

#[expect(clippy::cast_precision_loss, reason = "bytes and counts of a benchmark are far below 2^52")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

pub(crate) fn mib(bytes: u64) -> f64 {
    float(bytes) / f64::from(1 << 20)
}

/// The figures that every timed piece of work has.
pub(crate) fn cost_figures(cost: &Cost) -> Figures {
    [
        ("seconds", cost.seconds),
        ("server_cpu", cost.server_cpu),
        ("client_cpu", cost.client_cpu),
        ("others_cpu", cost.others_cpu),
    ]
    .into()
}
