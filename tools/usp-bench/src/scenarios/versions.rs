//! d: versions of a source tree, then the last one with one file in a hundred edited, then that one back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Scenario;
use crate::bench::{Bench, Figures, Plan, float, mib};
use crate::disk::{self, Usage};
use crate::keeper::{self, Keeper, STEP_TIME_MAX, Step};
use crate::process::run;
use crate::report::{Layout, Sample, column};

const VERSIONS: [&str; 4] = ["v1", "v2", "v3", "v3e"];

pub(crate) const SCENARIO: Scenario = Scenario {
    layout: Layout {
        scenario: "d",
        title: "versions of kernel sources, as a tree of files and as one tar, then 1 % edited, then restored",
        columns: &[
            column("seconds", "s", 2),
            column("cpu", "CPU s, client and server", 2),
            column("disk", "MB on disk after it", 1),
            column("inodes", "inodes after it", 0),
            column("memory", "peak RSS MiB", 0),
            column("settle", "then s until written out", 2),
            column("sync_ms", "disk sync ms", 2),
        ],
    },
    run: run_all,
    estimate: |plan| float(runs(plan) as u64) * if plan.quick { 50.0 } else { 150.0 },
};

/// Long steps vary less: half as many turns.
fn runs(plan: &Plan) -> usize {
    plan.runs.div_ceil(2)
}

fn run_all(bench: &mut Bench) -> Result<()> {
    let corpus = bench.corpus.join("versions");
    ensure!(corpus.join("v3e").is_dir(), "make the corpus with: tools/bench-corpus.sh versions");
    let shapes: &[&str] = if bench.plan.quick { &["tar"] } else { &["tree", "tar"] };
    for shape in shapes {
        for turn in 0..runs(&bench.plan) {
            for keeper in keeper::ALL.iter().copied() {
                if !bench.takes_part(keeper.name()) || keeper.missing(&bench.places).is_some() {
                    continue;
                }
                let label = format!("d {shape} run {}", turn + 1);
                let round = Round { shape, turn, keeper, corpus: &corpus };
                bench.turn(keeper.name(), &label, |bench, dir| round.run(bench, dir))?;
            }
        }
    }
    Ok(())
}

/// One keeper's turn with one shape of the corpus.
struct Round<'a> {
    shape: &'a str,
    turn: usize,
    keeper: &'static dyn Keeper,
    corpus: &'a Path,
}

impl Round<'_> {
    fn source(&self, version: &str) -> PathBuf {
        let name = if self.shape == "tar" { format!("{version}.tar") } else { version.to_owned() };
        self.corpus.join(name)
    }

    fn run(&self, bench: &Bench, dir: &Path) -> Result<Vec<Sample>> {
        let mut store = self.keeper.open(&bench.places, dir)?;
        let mut samples = Vec::new();
        let mut sum = Step::default();
        for version in VERSIONS {
            let step = store.ingest(&self.source(version), version)?;
            sum.seconds += step.seconds;
            sum.cpu_seconds += step.cpu_seconds;
            sum.memory_peak_bytes = sum.memory_peak_bytes.max(step.memory_peak_bytes);
            let mut figures = figures(&step);
            figures.insert("settle", disk::settle(store.place())?);
            add_usage(&mut figures, Usage::of(store.place())?);
            samples.push(self.sample(&format!("{version} in"), figures));
        }
        let mut together = figures(&sum);
        add_usage(&mut together, Usage::of(store.place())?);
        samples.push(self.sample("all four in, together", together));

        let target = dir.join("restored");
        fs::create_dir(&target)?;
        let last = "v3e";
        let step = store.restore(last, &target)?;
        samples.push(self.sample("v3e out", figures(&step)));
        self.check(&target, last, dir)?;
        Ok(samples)
    }

    /// What came back is what went in, wherever below `target` the program put it.
    fn check(&self, target: &Path, version: &str, dir: &Path) -> Result<()> {
        let source = self.source(version);
        let name = source.file_name().context("a source has a name")?;
        let found = walkdir::WalkDir::new(target)
            .into_iter()
            .filter_map(Result::ok)
            .find(|it| it.file_name() == name);
        let restored = found.map_or_else(|| target.to_owned(), walkdir::DirEntry::into_path);
        let mut diff = Command::new("diff");
        diff.args(["-rq", "--no-dereference"]).arg(&source).arg(&restored);
        run("diff", &diff, dir, STEP_TIME_MAX).context("the restored version differs")?;
        Ok(())
    }

    fn sample(&self, step: &str, figures: Figures) -> Sample {
        let case = format!("{}: {step}", self.shape);
        Sample { scenario: "d", case, who: self.keeper.name().to_owned(), run: self.turn, figures }
    }
}

fn add_usage(figures: &mut Figures, usage: Usage) {
    figures.insert("disk", float(usage.bytes) / 1e6);
    figures.insert("inodes", float(usage.inodes));
}

fn figures(step: &Step) -> Figures {
    [("seconds", step.seconds), ("cpu", step.cpu_seconds), ("memory", mib(step.memory_peak_bytes))].into()
}
