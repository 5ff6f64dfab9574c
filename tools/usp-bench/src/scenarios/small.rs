//! b: small files in and out, by 1, 16 and 64 clients at once.

use std::cell::RefCell;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use super::Scenario;
use super::upload::add_disk;
use crate::bench::{Bench, Figures, Plan, cost_figures, float, mib};
use crate::bytes::{fill, seed};
use crate::contestant::{Running, Wanted};
use crate::disk::Usage;
use crate::http::Body;
use crate::load::{Done, Load};
use crate::meter::{Cost, Meter};
use crate::proc;
use crate::report::{Layout, Sample, column};

const CLIENTS: [usize; 3] = [1, 16, 64];

/// Files of one size.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    size_bytes: usize,
    count: usize,
}

const KINDS: [Kind; 2] = [
    Kind { name: "4 KiB", size_bytes: 4 << 10, count: 5000 },
    Kind { name: "64 KiB", size_bytes: 64 << 10, count: 2000 },
];

pub(crate) const SCENARIO: Scenario = Scenario {
    layout: Layout {
        scenario: "b",
        title: "small files, kept connections; a cell ends early after its time limit",
        columns: &[
            column("rate", "per s", 0),
            column("p50", "p50 ms", 2),
            column("p99", "p99 ms", 2),
            column("server_cpu_each", "server CPU µs each", 0),
            column("client_cpu_each", "client CPU µs each", 0),
            column("others_cpu", "others CPU s", 2),
            column("requests", "done", 0),
            column("memory", "peak RSS MiB", 0),
            column("disk_each", "disk bytes per byte", 2),
            column("inodes_each", "inodes per file", 4),
            column("settle", "then s until written out", 2),
            column("sync_ms", "disk sync ms", 2),
        ],
    },
    run: run_all,
    estimate: |plan| float(plan.runs as u64) * if plan.quick { 35.0 } else { 110.0 },
};

fn run_all(bench: &mut Bench) -> Result<()> {
    for turn in 0..bench.plan.runs {
        for contestant in bench.servers(&[]) {
            let label = format!("b run {}", turn + 1);
            bench.server_turn(contestant, &label, |bench, running| {
                let mut samples = Vec::new();
                for kind in KINDS {
                    for clients in CLIENTS {
                        let cell = Cell { kind, clients, turn, who: contestant.name() };
                        samples.extend(cell.put_and_get(&bench.plan, running)?);
                    }
                }
                Ok(samples)
            })?;
        }
    }
    // Tables read better by what was asked than by who came first.
    bench.report.samples.sort_by_key(|sample| (sample.scenario != "a", order(sample)));
    Ok(())
}

/// PUT before GET, small before large, few clients before many.
fn order(sample: &Sample) -> (bool, usize, usize) {
    let place =
        |list: &[String]| list.iter().position(|name| sample.case.contains(name.as_str())).unwrap_or(0);
    let kinds: Vec<String> = KINDS.iter().map(|kind| format!("{},", kind.name)).collect();
    let clients: Vec<String> = CLIENTS.iter().map(|count| format!(" {count} client")).collect();
    (sample.case.starts_with("GET"), place(&kinds), place(&clients))
}

/// One number of clients with files of one size.
#[derive(Debug, Clone, Copy)]
struct Cell {
    kind: Kind,
    clients: usize,
    turn: usize,
    who: &'static str,
}

thread_local! {
    /// The body that a client sends, made anew for each request.
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Cell {
    fn count(&self, plan: &Plan) -> usize {
        if plan.quick { self.kind.count / 5 } else { self.kind.count }
    }

    /// The same for every contestant, and never the same twice for one.
    fn seed(&self, index: usize) -> u64 {
        let Self { kind, clients, turn, .. } = self;
        seed(&[kind.size_bytes as u64, *clients as u64, *turn as u64, index as u64])
    }

    fn put_and_get(&self, plan: &Plan, running: &Running) -> Result<Vec<Sample>> {
        let Self { kind, clients, .. } = *self;
        let load = Load { clients, requests: self.count(plan), time_max: plan.cell_time_max };
        let paths: Vec<Mutex<String>> = (0..load.requests).map(|_| Mutex::default()).collect();

        let before = Usage::of(&running.storage)?;
        let meter = Meter::start(Some(running.pid()))?;
        let put = load.run(running.address, &|connection, index| {
            BODY.with_borrow_mut(|body| {
                body.resize(kind.size_bytes, 0);
                fill(body, self.seed(index));
                let key = format!("{}-{clients}/{:02}/{index:05}", kind.size_bytes, index % 100);
                let path = running.dialect.put(connection, &key, Body::Bytes(body))?;
                let slot = paths.get(index).context("a request beyond the last")?;
                *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = path;
                Ok(())
            })
        })?;
        let cost = meter.stop()?;
        let mut figures = figures(running, &put, &cost);
        add_disk(&mut figures, &running.storage, before)?;
        let stored = float((put.requests * kind.size_bytes) as u64);
        let each = |figures: &Figures, key: &str| figures.get(key).copied().unwrap_or(0.0);
        figures.insert("disk_each", each(&figures, "disk") * 1e6 / stored);
        figures.insert("inodes_each", each(&figures, "inodes") / float(put.requests as u64));
        let put_sample = self.sample("PUT", figures);

        let load = Load { requests: put.requests, ..load };
        let paths: Vec<String> = paths
            .into_iter()
            .filter_map(|path| path.into_inner().ok())
            .filter(|path| !path.is_empty())
            .collect();
        let meter = Meter::start(Some(running.pid()))?;
        let got = load.run(running.address, &|connection, index| {
            let path = paths.get(index).context("a request beyond the last")?;
            let answer =
                running.dialect.get(connection, path, Wanted::default(), &mut crate::http::ignore)?;
            ensure!(answer.body_size_bytes == kind.size_bytes as u64, "{path} came back with another length");
            Ok(())
        })?;
        let cost = meter.stop()?;
        Ok(vec![put_sample, self.sample("GET", self::figures(running, &got, &cost))])
    }

    fn sample(&self, what: &str, figures: Figures) -> Sample {
        let Self { kind, clients, turn, who } = *self;
        let clients = format!("{clients} client{}", if clients == 1 { "" } else { "s" });
        let case = format!("{what} {}, {clients}", kind.name);
        Sample { scenario: "b", case, who: who.to_owned(), run: turn, figures }
    }
}

fn figures(running: &Running, done: &Done, cost: &Cost) -> Figures {
    let count = float(done.requests as u64);
    let mut figures = cost_figures(cost);
    figures.extend([
        ("rate", done.per_second()),
        ("p50", done.percentile_ms(50)),
        ("p99", done.percentile_ms(99)),
        ("server_cpu_each", cost.server_cpu * 1e6 / count),
        ("client_cpu_each", cost.client_cpu * 1e6 / count),
        ("requests", count),
        ("memory", mib(proc::tree_memory_peak_bytes(running.pid()))),
    ]);
    figures
}
