//! a: one large upload, once of bytes that do not compress, once of sources and programs.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Scenario;
use crate::bench::{Bench, Figures, Plan, cost_figures, float, mib};
use crate::disk::{self, Usage};
use crate::http::{Body, Connection};
use crate::meter::Meter;
use crate::proc;
use crate::process::run;
use crate::report::{Column, Layout, Sample, column};

pub(crate) const COLUMNS: &[Column] = &[
    column("rate", "MB/s", 0),
    column("seconds", "s", 2),
    column("settle", "then s until written out", 2),
    column("server_cpu", "server CPU s", 2),
    column("client_cpu", "client CPU s", 2),
    column("others_cpu", "others CPU s", 2),
    column("memory", "peak RSS MiB", 0),
    column("disk", "MB on disk", 0),
    column("inodes", "inodes", 0),
    column("sync_ms", "disk sync ms", 2),
];

pub(crate) const SCENARIO: Scenario = Scenario {
    layout: Layout { scenario: "a", title: "one large upload", columns: COLUMNS },
    run: run_all,
    estimate: |plan| float(plan.runs as u64) * 2.0 * if plan.quick { 12.0 } else { 50.0 },
};

const DD_TIME_MAX: Duration = Duration::from_secs(120);
pub(crate) const CASES: [(&str, &str); 2] =
    [("random.bin", "does not compress"), ("sources.tar", "kernel sources and programs as tar")];

/// How much of a file of the corpus is used.
pub(crate) fn size_bytes(plan: &Plan) -> u64 {
    if plan.quick { 256 << 20 } else { 1 << 30 }
}

pub(crate) fn open(bench: &Bench, name: &str) -> Result<File> {
    let path = bench.corpus.join(name);
    let file = disk::warm(&path).context("make the corpus with: tools/bench-corpus.sh upload")?;
    let size = size_bytes(&bench.plan);
    ensure!(file.metadata()?.len() >= size, "{} is shorter than {size} bytes", path.display());
    Ok(file)
}

fn run_all(bench: &mut Bench) -> Result<()> {
    let size = size_bytes(&bench.plan);
    for (name, what) in CASES {
        let file = open(bench, name)?;
        let case = format!("{} MiB, {what}", size >> 20);
        for turn in 0..bench.plan.runs {
            for contestant in bench.servers(&[]) {
                let sample = |figures| sample(&case, contestant.name(), turn, figures);
                bench.server_turn(contestant, &format!("a {name} run {}", turn + 1), |_, running| {
                    let before = Usage::of(&running.storage)?;
                    let meter = Meter::start(Some(running.pid()))?;
                    let mut connection = Connection::open(running.address)?;
                    let body = Body::File { file: &file, offset: 0, size };
                    running.dialect.put(&mut connection, "upload", body)?;
                    let cost = meter.stop()?;
                    let mut figures = cost_figures(&cost);
                    figures.insert("memory", mib(proc::tree_memory_peak_bytes(running.pid())));
                    add_disk(&mut figures, &running.storage, before)?;
                    figures.insert("rate", float(size) / 1e6 / cost.seconds);
                    Ok(vec![sample(figures)])
                })?;
            }
            if bench.takes_part("dd") {
                dd(bench, name, &case, turn)?;
            }
        }
    }
    Ok(())
}

fn sample(case: &str, who: &str, run: usize, figures: Figures) -> Sample {
    Sample { scenario: "a", case: case.to_owned(), who: who.to_owned(), run, figures }
}

/// What came to lie on the disk, once it does.
pub(crate) fn add_disk(figures: &mut Figures, storage: &Path, before: Usage) -> Result<()> {
    figures.insert("settle", disk::settle(storage)?);
    let usage = Usage::of(storage)?.since(before);
    figures.insert("disk", float(usage.bytes) / 1e6);
    figures.insert("inodes", float(usage.inodes));
    Ok(())
}

/// The disk itself: the same bytes written and synced by `dd`, without any network.
fn dd(bench: &mut Bench, name: &str, case: &str, turn: usize) -> Result<()> {
    let size = size_bytes(&bench.plan);
    bench.turn("dd", &format!("a {name} run {}", turn + 1), |bench, dir| {
        let storage = dir.join("data");
        std::fs::create_dir(&storage)?;
        let before = Usage::of(&storage)?;
        let mut command = Command::new("dd");
        command.arg(format!("if={}", bench.corpus.join(name).display()));
        command.arg(format!("of={}", storage.join("copy").display()));
        command.args(["bs=1M", "conv=fdatasync", "status=none"]).arg(format!("count={}", size >> 20));
        let ran = run("dd", &command, dir, DD_TIME_MAX)?;
        let mut figures: Figures = [
            ("rate", float(size) / 1e6 / ran.seconds),
            ("seconds", ran.seconds),
            ("server_cpu", ran.cpu_seconds),
            ("memory", mib(ran.memory_peak_bytes)),
        ]
        .into();
        add_disk(&mut figures, &storage, before)?;
        Ok(vec![sample(case, "dd (the disk, synced)", turn, figures)])
    })
}
