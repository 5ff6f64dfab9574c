//! e: one large file out again, whole, coded with zstd where the server can, and in random ranges.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Scenario;
use super::upload::{self, CASES};
use crate::bench::{Bench, Figures, Plan, cost_figures, float, mib};
use crate::bytes::seed;
use crate::contestant::{Running, Wanted};
use crate::http::{Answer, Body, Connection, ignore};
use crate::load::Load;
use crate::meter::Meter;
use crate::proc;
use crate::report::{Layout, Sample, column};

const SERVERS: &[&str] = &["usp", "nginx", "garage"];
const RANGE_SIZE_BYTES: u64 = 64 << 10;
const RANGE_COUNT: usize = 10_000;
const RANGE_CLIENTS: usize = 16;
/// Bytes per second of the link that slow clients have.
const LINK: f64 = 1e9 / 8.0;

pub(crate) const SCENARIO: Scenario = Scenario {
    layout: Layout {
        scenario: "e",
        title: "downloads from the page cache; at 1 Gbit/s is computed: the slower of link and server",
        columns: &[
            column("rate", "MB/s of content", 0),
            column("per_second", "ranges per s", 0),
            column("p50", "p50 ms", 2),
            column("p99", "p99 ms", 2),
            column("wire", "MB on the wire", 0),
            column("coded", "zstd in the answer (1 yes)", 0),
            column("link_rate", "MB/s at 1 Gbit/s", 0),
            column("seconds", "s", 2),
            column("server_cpu", "server CPU s", 2),
            column("client_cpu", "client CPU s", 2),
            column("others_cpu", "others CPU s", 2),
            column("memory", "peak RSS MiB", 0),
            column("sync_ms", "disk sync ms", 2),
        ],
    },
    run: run_all,
    estimate: |plan| float(plan.runs as u64) * if plan.quick { 15.0 } else { 60.0 },
};

fn run_all(bench: &mut Bench) -> Result<()> {
    let size = upload::size_bytes(&bench.plan);
    for (name, what) in CASES {
        let file = upload::open(bench, name)?;
        for turn in 0..bench.plan.runs {
            for contestant in bench.servers(SERVERS) {
                let label = format!("e {name} run {}", turn + 1);
                bench.server_turn(contestant, &label, |bench, running| {
                    let mut connection = Connection::open(running.address)?;
                    let body = Body::File { file: &file, offset: 0, size };
                    let path = running.dialect.put(&mut connection, "download", body)?;
                    crate::disk::settle(&running.storage)?;
                    let asked = Turn { running, path: &path, size, plan: &bench.plan };
                    let plain = asked.whole(Wanted::default())?;
                    let coded = asked.whole(Wanted { zstd: true, ..Wanted::default() })?;
                    let ranges = asked.ranges()?;
                    let sample = |case: String, figures| Sample {
                        scenario: "e",
                        case,
                        who: contestant.name().to_owned(),
                        run: turn,
                        figures,
                    };
                    Ok(vec![
                        sample(format!("{} MiB whole, {what}", size >> 20), plain),
                        sample(format!("{} MiB whole, Accept-Encoding: zstd, {what}", size >> 20), coded),
                        sample(format!("random ranges of 64 KiB, {RANGE_CLIENTS} clients, {what}"), ranges),
                    ])
                })?;
            }
        }
    }
    Ok(())
}

/// One contestant with its file.
struct Turn<'a> {
    running: &'a Running,
    path: &'a str,
    size: u64,
    plan: &'a Plan,
}

impl Turn<'_> {
    fn memory(&self) -> f64 {
        mib(proc::tree_memory_peak_bytes(self.running.pid()))
    }

    fn whole(&self, wanted: Wanted) -> Result<Figures> {
        let mut connection = Connection::open(self.running.address)?;
        let meter = Meter::start(Some(self.running.pid()))?;
        let answer: Answer = self.running.dialect.get(&mut connection, self.path, wanted, &mut ignore)?;
        let cost = meter.stop()?;
        let is_coded = answer.header("content-encoding").is_some_and(|coding| coding.contains("zstd"));
        let wire = answer.body_size_bytes;
        ensure!(is_coded || wire == self.size, "{wire} bytes came where {} were stored", self.size);
        let mut figures = cost_figures(&cost);
        figures.extend([
            ("rate", float(self.size) / 1e6 / cost.seconds),
            ("wire", float(wire) / 1e6),
            ("coded", f64::from(u8::from(is_coded))),
            ("link_rate", float(self.size) / 1e6 / cost.seconds.max(float(wire) / LINK)),
            ("memory", self.memory()),
        ]);
        Ok(figures)
    }

    fn ranges(&self) -> Result<Figures> {
        let requests = if self.plan.quick { RANGE_COUNT / 10 } else { RANGE_COUNT };
        let time_max: Duration = self.plan.cell_time_max * 3;
        let load = Load { clients: RANGE_CLIENTS, requests, time_max };
        let meter = Meter::start(Some(self.running.pid()))?;
        let done = load.run(self.running.address, &|connection, index| {
            let first = seed(&[index as u64]) % (self.size - RANGE_SIZE_BYTES);
            let range = Some((first, first + RANGE_SIZE_BYTES - 1));
            let wanted = Wanted { range, zstd: false };
            let answer = self.running.dialect.get(connection, self.path, wanted, &mut ignore)?;
            ensure!(answer.body_size_bytes == RANGE_SIZE_BYTES, "a range came back with another length");
            Ok(())
        })?;
        let cost = meter.stop()?;
        let mut figures = cost_figures(&cost);
        figures.extend([
            ("per_second", done.per_second()),
            ("rate", done.per_second() * float(RANGE_SIZE_BYTES) / 1e6),
            ("p50", done.percentile_ms(50)),
            ("p99", done.percentile_ms(99)),
            ("memory", self.memory()),
        ]);
        Ok(figures)
    }
}
