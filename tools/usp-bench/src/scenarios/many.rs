//! c: sixteen large uploads at once, and what they do to memory.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Scenario;
use super::upload::{self, CASES, COLUMNS, add_disk};
use crate::bench::{Bench, Plan, cost_figures, float, mib};
use crate::contestant::Running;
use crate::disk::Usage;
use crate::http::Body;
use crate::load::Load;
use crate::meter::Meter;
use crate::proc;
use crate::report::{Layout, Sample};

const UPLOADS: usize = 16;
const TIME_MAX: Duration = Duration::from_secs(300);

pub(crate) const SCENARIO: Scenario = Scenario {
    layout: Layout { scenario: "c", title: "sixteen large uploads at once", columns: COLUMNS },
    run: run_all,
    estimate: |plan| float(plan.runs as u64) * if plan.quick { 20.0 } else { 75.0 },
};

fn size_bytes(plan: &Plan) -> u64 {
    // Two files of the corpus, eight pieces of each.
    upload::size_bytes(plan) * CASES.len() as u64 / UPLOADS as u64
}

fn run_all(bench: &mut Bench) -> Result<()> {
    let size = size_bytes(&bench.plan);
    let case = format!("16 × {} MiB, half of them sources and programs", size >> 20);
    for (name, _) in CASES {
        upload::open(bench, name)?;
    }
    for turn in 0..bench.plan.runs {
        for contestant in bench.servers(&[]) {
            let label = format!("c run {}", turn + 1);
            bench.server_turn(contestant, &label, |bench, running| {
                let files = CASES.map(|(name, _)| bench.corpus.join(name));
                let before = Usage::of(&running.storage)?;
                let meter = Meter::start(Some(running.pid()))?;
                let load = Load { clients: UPLOADS, requests: UPLOADS, time_max: TIME_MAX };
                load.run(running.address, &|connection, index| {
                    // A position of its own for each: `sendfile` moves it.
                    let file = File::open(files.get(index % CASES.len()).context("a file of the corpus")?)?;
                    let offset = (index / CASES.len()) as u64 * size;
                    let body = Body::File { file: &file, offset, size };
                    running.dialect.put(connection, &format!("many/{index}"), body).map(|_| ())
                })?;
                let cost = meter.stop()?;
                let mut figures = cost_figures(&cost);
                figures.insert("memory", memory(running));
                figures.insert("rate", float(size * UPLOADS as u64) / 1e6 / cost.seconds);
                add_disk(&mut figures, &running.storage, before)?;
                let who = contestant.name().to_owned();
                Ok(vec![Sample { scenario: "c", case: case.clone(), who, run: turn, figures }])
            })?;
        }
    }
    Ok(())
}

fn memory(running: &Running) -> f64 {
    mib(proc::tree_memory_peak_bytes(running.pid()))
}
