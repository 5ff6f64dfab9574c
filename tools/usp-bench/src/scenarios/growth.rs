//! f: what a store of many files costs: ingest rate, list latency, start-up time, index bytes and memory at 0, 1 and
//! 10 million chunks.
//!
//! Everything goes through the front door of the real binary. While it fills, usp cuts chunks of 256 bytes on average,
//! so that ten million of them fit on the disk and into the time: each has its row, its frame and its place in a
//! manifest, only its content is short. At each point usp is started anew with its default chunks, and measured.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Scenario;
use crate::bench::{Bench, Figures, Plan, float, mib};
use crate::bytes::{fill, seed};
use crate::contestant::Running;
use crate::contestants::usp::{self, Rest};
use crate::http::{Body, Connection};
use crate::load::Load;
use crate::proc;
use crate::report::{Layout, Sample, column};

/// Ten chunks each.
const FILE_SIZE_BYTES: usize = 2900;
const SMALL_CHUNKS: &str = "[content]\nchunk_size_avg = \"256B\"\n";
const FILL_CLIENTS: usize = 64;
const DIRECTORIES: u64 = 1000;
const PAGES: usize = 300;
const INGEST_SIZE_BYTES: usize = 64 << 20;
const INGEST_COUNT: usize = 4;
const SMALL_COUNT: usize = 2000;

pub(crate) const SCENARIO: Scenario = Scenario {
    layout: Layout {
        scenario: "f",
        title: "growth, filled through the front door with chunks of 256 bytes, measured with the default chunks",
        columns: &[
            column("rate", "ingest MB/s, 4 × 64 MiB", 0),
            column("empty_rate", "into an empty store in turn with it MB/s", 0),
            column("part", "of that", 2),
            column("small_rate", "4 KiB puts per s, 16 clients", 0),
            column("list_p50", "list page of 100 p50 ms", 2),
            column("list_p99", "p99 ms", 2),
            column("walk_p50", "next page by cursor p50 ms", 2),
            column("walk_p99", "p99 ms", 2),
            column("start", "start-up s", 2),
            column("rest_after", "at rest after s", 0),
            column("start_memory", "RSS after start MiB", 0),
            column("memory", "peak RSS MiB", 0),
            column("index", "index MB", 0),
            column("chunks", "chunks", 0),
            column("files", "files", 0),
            column("fill_rate", "files filled per s", 0),
            column("fill_memory", "peak RSS while filling MiB", 0),
            column("sync_ms", "disk sync ms", 2),
        ],
    },
    run: run_all,
    estimate: |plan| if plan.quick { 20.0 } else { 60.0 + float(plan.grow_time_max.as_secs()) },
};

/// Files at the points of measurement.
fn points(plan: &Plan) -> Vec<usize> {
    if plan.quick { vec![0, 10_000] } else { vec![0, 100_000, 1_000_000] }
}

fn run_all(bench: &mut Bench) -> Result<()> {
    if bench.servers(&["usp"]).is_empty() {
        return Ok(());
    }
    let dir = tempfile::Builder::new().prefix("growth-").tempdir_in(bench.work.path())?;
    let until = Instant::now() + bench.plan.grow_time_max;
    let mut files = 0;
    for (number, point) in points(&bench.plan).into_iter().enumerate() {
        let mut filled = Figures::new();
        if point > files {
            let fill = Fill { first: files, count: point - files, until };
            let (done, figures) = fill.run(bench, dir.path())?;
            files += done;
            filled = figures;
            if files < point {
                let text = format!(
                    "f: the time for filling ended at {files} of {point} files; the last row is of that store"
                );
                bench.say(&text);
                bench.report.notes.push(text);
            }
        }
        let figures = measure(bench, dir.path(), number as u64, files)?;
        let figures: Figures = figures.into_iter().chain(filled).collect();
        let shown = figures.get("rate").copied().unwrap_or(0.0);
        bench.say(&format!("f {files} files: {shown:.0} MB/s"));
        let (case, who) = ("usp".to_owned(), format!("{files} files"));
        bench.report.samples.push(Sample { scenario: "f", case, who, run: 0, figures });
        if files < point {
            break;
        }
    }
    Ok(())
}

thread_local! {
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Fill {
    first: usize,
    count: usize,
    until: Instant,
}

impl Fill {
    /// Shape: how many files came to be, and the figures of that.
    fn run(&self, bench: &Bench, dir: &Path) -> Result<(usize, Figures)> {
        let running = usp::start_with(&bench.places, dir, SMALL_CHUNKS)?;
        let time_max = self.until.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
        bench.say(&format!("f filling {} files, at most {} s", self.count, time_max.as_secs()));
        let load = Load { clients: FILL_CLIENTS, requests: self.count, time_max };
        let done = load.run(running.address, &|connection, index| {
            BODY.with_borrow_mut(|body| {
                body.resize(FILE_SIZE_BYTES, 0);
                let number = (self.first + index) as u64;
                fill(body, seed(&[7, number]));
                let key = format!("fill/{:03}/{number:07}", number % DIRECTORIES);
                running.dialect.put(connection, &key, Body::Bytes(body)).map(|_| ())
            })
        })?;
        let memory = mib(proc::tree_memory_peak_bytes(running.pid()));
        Ok((done.requests, [("fill_rate", done.per_second()), ("fill_memory", memory)].into()))
    }
}

fn measure(bench: &Bench, dir: &Path, point: u64, files: usize) -> Result<Figures> {
    let sync_ms = crate::disk::sync_ms(dir)?;
    let begun = Instant::now();
    let (running, rest) = usp::start_rest(&bench.places, dir, "")?;
    let ready = running.process.ready_after(begun);
    let start_memory = mib(proc::tree_memory_bytes(running.pid()));
    let mut connection = Connection::open(running.address)?;
    let stats = rest.document(&mut connection, "/api/v1/stats")?;
    let chunks = stats.pointer("/totals/chunks").and_then(Value::as_u64).context("stats name no chunks")?;
    let lists = list(&running, &rest)?;
    wait_for_rest(running.pid())?;
    let rest_after = begun.elapsed().as_secs_f64();
    let small = small(&running, point)?;
    let mut figures = ingest(bench, &running, point)?;
    figures.extend(lists);
    figures.extend([
        ("small_rate", small),
        ("start", ready),
        ("rest_after", rest_after),
        ("start_memory", start_memory),
        ("memory", mib(proc::tree_memory_peak_bytes(running.pid()))),
        ("index", index_megabytes(&running.storage)?),
        ("chunks", float(chunks)),
        ("files", float(files as u64)),
        ("sync_ms", sync_ms),
    ]);
    Ok(figures)
}

/// After its start usp reads what its filter of known chunks needs, ten million rows at the last point, and takes bytes in
/// meanwhile. What a store of that size takes in is measured when that is over.
fn wait_for_rest(server: u32) -> Result<()> {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    const PART_MAX: f64 = 0.05;
    let until = Instant::now() + Duration::from_secs(120);
    let ticks_per_look = proc::ticks_per_second()? * LOOK_EVERY.as_secs_f64();
    loop {
        let before = proc::tree_ticks(server);
        std::thread::sleep(LOOK_EVERY);
        let used = proc::tree_ticks(server).saturating_sub(before);
        if float(used) < PART_MAX * ticks_per_look {
            return Ok(());
        }
        ensure!(Instant::now() < until, "usp is not at rest two minutes after its start");
    }
}

/// The catalogue with its log, and whatever else lies beside the packs.
fn index_megabytes(storage: &Path) -> Result<f64> {
    let mut bytes = 0;
    for entry in fs::read_dir(storage)? {
        let meta = entry?.metadata()?;
        bytes += if meta.is_file() { meta.len() } else { 0 };
    }
    Ok(float(bytes) / 1e6)
}

/// Contents of this size in turn into the store and into an empty one, A B A B: what a write costs on this machine changes
/// while a store grows, with the memory that its cache takes anew.
fn ingest(bench: &Bench, grown: &Running, point: u64) -> Result<Figures> {
    let dir = tempfile::Builder::new().prefix("empty-").tempdir_in(bench.work.path())?;
    let empty = usp::start_with(&bench.places, dir.path(), "")?;
    let mut body = vec![0; INGEST_SIZE_BYTES];
    let mut seconds = [0.0; 2];
    for index in 0..INGEST_COUNT as u64 {
        fill(&mut body, seed(&[11, point, index]));
        for (store, spent) in [&empty, grown].into_iter().zip(&mut seconds) {
            crate::disk::settle(&store.storage)?;
            let mut connection = Connection::open(store.address)?;
            let begun = Instant::now();
            store.dialect.put(&mut connection, &format!("ingest/{point}/{index}"), Body::Bytes(&body))?;
            *spent += begun.elapsed().as_secs_f64();
        }
    }
    let [of_empty, of_grown] =
        seconds.map(|spent| float((INGEST_SIZE_BYTES * INGEST_COUNT) as u64) / 1e6 / spent);
    Ok([("rate", of_grown), ("empty_rate", of_empty), ("part", of_grown / of_empty)].into())
}

fn small(running: &Running, point: u64) -> Result<f64> {
    let load = Load { clients: 16, requests: SMALL_COUNT, time_max: Duration::from_secs(10) };
    let done = load.run(running.address, &|connection, index| {
        let mut body = [0; 4096];
        fill(&mut body, seed(&[13, point, index as u64]));
        let key = format!("small/{point}/{index:05}");
        running.dialect.put(connection, &key, Body::Bytes(&body)).map(|_| ())
    })?;
    Ok(done.per_second())
}

/// Pages of directories picked at random, and a walk over all files page by page.
fn list(running: &Running, rest: &Rest) -> Result<Figures> {
    let load = Load { clients: 1, requests: PAGES, time_max: Duration::from_secs(20) };
    let random = load.run(running.address, &|connection, index| {
        let directory = seed(&[17, index as u64]) % DIRECTORIES;
        let path = format!("/api/v1/buckets/default/files?limit=100&prefix=fill/{directory:03}/");
        let answer = rest.document(connection, &path)?;
        ensure!(answer.get("items").is_some(), "a page has no items");
        Ok(())
    })?;
    let cursor = Mutex::new(None::<String>);
    let walk = load.run(running.address, &|connection, _| {
        let mut cursor = cursor.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = cursor.take().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = rest.document(connection, &format!("/api/v1/buckets/default/files?limit=100{at}"))?;
        *cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        Ok(())
    })?;
    Ok([
        ("list_p50", random.percentile_ms(50)),
        ("list_p99", random.percentile_ms(99)),
        ("walk_p50", walk.percentile_ms(50)),
        ("walk_p99", walk.percentile_ms(99)),
    ]
    .into())
}
