//! g: the work engine, on the embedded queue and over NATS: runs of one small step that are queued at once, files one by
//! one from stored to ready, and many small files through the default rules.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Scenario;
use crate::bench::{Bench, Figures, float, mib};
use crate::bytes::{fill, seed};
use crate::contestants::usp::{self, Rest};
use crate::http::Connection;
use crate::load::Load;
use crate::meter::{Cost, Meter};
use crate::proc;
use crate::process::{Process, free_address};
use crate::report::{Layout, Sample, column};
use crate::stats::percentile;

/// The lightest step: it reads the content and does next to nothing, in the process itself.
const RULE: &str = "name: empty\nwhen: file.extension == 'bin'\nsteps: [{name: digest, uses: digest}]\n";
const CONTENT_SIZE_BYTES: usize = 64;
const RUNS: usize = 10_000;
const SINGLE_FILES: usize = 500;
const REAL_FILES: usize = 20_000;
const REAL_FILE_SIZE_BYTES_MAX: u64 = 64 << 10;
const CLIENTS: usize = 16;
/// Runs that have not ended by then never will.
const END_TIME_MAX: Duration = Duration::from_secs(300);
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// A retry of many queues this many, the most that one request may.
const RETRY_COUNT_MAX: usize = 10_000;

pub(crate) const SCENARIO: Scenario = Scenario {
    layout: Layout {
        scenario: "g",
        title: "the work engine: runs of one small step queued at once, from stored to ready, small sources through the default rules",
        columns: &[
            column("rate", "per s", 0),
            column("p50", "p50 ms", 2),
            column("p99", "p99 ms", 2),
            column("seconds", "s", 2),
            column("server_cpu_each", "server CPU µs each", 0),
            column("client_cpu", "client CPU s", 2),
            column("others_cpu", "others CPU s", 2),
            column("requests", "done", 0),
            column("memory", "peak RSS MiB", 0),
            column("sync_ms", "disk sync ms", 2),
        ],
    },
    run: run_all,
    estimate: |plan| float(plan.runs as u64) * if plan.quick { 20.0 } else { 110.0 },
};

fn run_all(bench: &mut Bench) -> Result<()> {
    let server = bench.places.nats_server.clone();
    let mut queues: Vec<(&str, Option<Sync>)> = vec![("embedded", None)];
    if server.is_file() {
        queues.extend([("NATS", Some(Sync::AsItIs)), ("NATS-synced", Some(Sync::Always))]);
    } else {
        bench.say("nats-server is not installed, so g measures the embedded queue alone; install it with: tools/setup-test.sh");
        bench.report.missing.push(("nats-server".to_owned(), "tools/setup-test.sh".to_owned()));
    }
    queues.retain(|(who, _)| bench.takes_part(who));
    for run in 0..bench.plan.runs {
        for (who, sync) in &queues {
            bench.turn(who, &format!("g run {}", run + 1), |bench, dir| {
                let turn = Turn { bench, dir, run, who };
                let broker = sync.map(|sync| Broker::start(&server, dir, sync)).transpose()?;
                let queue = broker.as_ref().map_or(String::new(), Broker::config);
                Ok(vec![turn.queued_at_once(&queue)?, turn.one_by_one(&queue)?, turn.real_files(&queue)?])
            })?;
        }
    }
    Ok(())
}

/// What an acknowledgement of nats-server means.
#[derive(Debug, Clone, Copy)]
enum Sync {
    /// As it comes: written, and synced within two minutes.
    AsItIs,
    /// On disk: each message is synced before it is acknowledged.
    Always,
}

impl Sync {
    fn words(self) -> &'static str {
        match self {
            Self::AsItIs => "",
            Self::Always => ", sync_interval: always",
        }
    }
}

/// A nats-server of its own.
struct Broker {
    _process: Process,
    url: String,
}

impl Broker {
    fn start(program: &Path, dir: &Path, sync: Sync) -> Result<Self> {
        let address = free_address()?;
        let config = dir.join("nats.conf");
        let store = dir.join("nats");
        fs::write(
            &config,
            format!("listen: {address}\njetstream {{ store_dir: {store:?}{} }}\n", sync.words()),
        )?;
        let mut process = Process::start("nats-server", Command::new(program).arg("-c").arg(&config), dir)?;
        process.wait_for_door(address)?;
        Ok(Self { _process: process, url: format!("nats://{address}") })
    }

    fn config(&self) -> String {
        format!("[queue]\nkind = \"nats\"\nurl = \"{}\"\n", self.url)
    }
}

/// One queue's turn. Each case has a store of its own.
struct Turn<'a> {
    bench: &'a Bench,
    dir: &'a Path,
    run: usize,
    who: &'a str,
}

impl Turn<'_> {
    fn count(&self, count: usize) -> usize {
        if self.bench.plan.quick { count / 10 } else { count }
    }

    fn home(&self, name: &str) -> Result<PathBuf> {
        let home = self.dir.join(name);
        fs::create_dir_all(home.join("data/rules"))?;
        fs::write(home.join("data/rules/empty.yaml"), RULE)?;
        Ok(home)
    }

    fn sample(&self, case: String, figures: Figures) -> Sample {
        Sample { scenario: "g", case, who: self.who.to_owned(), run: self.run, figures }
    }

    /// Files are stored where nobody works on them, and their runs cancelled; then one request queues all runs again.
    fn queued_at_once(&self, queue: &str) -> Result<Sample> {
        let count = self.count(RUNS).min(RETRY_COUNT_MAX);
        let home = self.home("queued")?;
        {
            let (running, rest) =
                usp::launch(&self.bench.places, &home, "roles = [\"gateway\", \"storage\"]\n", "")?;
            // Some contents look like a text, which would have a run of the built-in rule besides.
            let only = json!({"policy": {"rules": ["empty"]}});
            rest.patch(&mut Connection::open(running.address)?, "/api/v1/buckets/default", &only)?;
            let load = Load { clients: CLIENTS, requests: count, time_max: END_TIME_MAX };
            load.run(running.address, &|connection, index| {
                let path = usp::path_of(&format!("queued/{index:06}.bin"));
                let file = rest.put_file(connection, &path, &content(&[self.run as u64, index as u64]))?;
                let id = text(&file, "/id")?;
                let runs = rest.document(connection, &format!("/api/v1/files/{id}/runs"))?;
                let run = text(&runs, "/items/0/run_id")?;
                rest.post(connection, &format!("/api/v1/runs/{run}/cancel"), &json!({})).map(drop)
            })?;
        }
        let (running, rest) = usp::launch(&self.bench.places, &home, "", queue)?;
        let mut connection = Connection::open(running.address)?;
        let meter = Meter::start(Some(running.pid()))?;
        let body = json!({"state": "cancelled", "rule": "empty", "limit": RETRY_COUNT_MAX});
        let told = rest.post(&mut connection, "/api/v1/runs/retry", &body)?;
        ensure!(told.get("retried") == Some(&json!(count)), "{count} runs were to be queued: {told}");
        until_all_ended(&mut connection, &rest)?;
        let cost = meter.stop()?;
        let done = self::count(&mut connection, &rest, "/api/v1/runs?state=succeeded")?;
        ensure!(done == count, "{done} of {count} runs succeeded");
        let mut figures = figures(&cost, count);
        figures.insert("memory", mib(proc::tree_memory_peak_bytes(running.pid())));
        Ok(self.sample(format!("{} runs queued at once", thousands(count)), figures))
    }

    /// From the answer to the upload until the file's status says `ready`, asked for without a pause.
    fn one_by_one(&self, queue: &str) -> Result<Sample> {
        let count = self.count(SINGLE_FILES);
        let home = self.home("single")?;
        let (running, rest) = usp::launch(&self.bench.places, &home, "", queue)?;
        let mut connection = Connection::open(running.address)?;
        let mut micros = Vec::with_capacity(count);
        let meter = Meter::start(Some(running.pid()))?;
        for index in 0..count {
            let path = usp::path_of(&format!("single/{index:06}.bin"));
            let file =
                rest.put_file(&mut connection, &path, &content(&[99, self.run as u64, index as u64]))?;
            let stored = Instant::now();
            let path = format!("/api/v1/files/{}/status", text(&file, "/id")?);
            while text(&rest.document(&mut connection, &path)?, "/state")? != "ready" {
                ensure!(stored.elapsed() < END_TIME_MAX, "{path} never said ready");
            }
            micros.push(u32::try_from(stored.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        let cost = meter.stop()?;
        micros.sort_unstable();
        let mut figures = figures(&cost, count);
        figures.extend([
            ("p50", f64::from(percentile(&micros, 50)) / 1000.0),
            ("p99", f64::from(percentile(&micros, 99)) / 1000.0),
            ("memory", mib(proc::tree_memory_peak_bytes(running.pid()))),
        ]);
        Ok(self.sample(format!("stored to ready, {count} files one by one"), figures))
    }

    /// From the first upload until the last run has ended.
    fn real_files(&self, queue: &str) -> Result<Sample> {
        let files = small_sources(&self.bench.corpus, self.count(REAL_FILES))?;
        let home = self.home("real")?;
        let (running, rest) = usp::launch(&self.bench.places, &home, "", queue)?;
        let load = Load { clients: CLIENTS, requests: files.len(), time_max: END_TIME_MAX };
        let meter = Meter::start(Some(running.pid()))?;
        let sizes = Mutex::new(0);
        load.run(running.address, &|connection, index| {
            let path = files.get(index).context("a request beyond the last")?;
            let mut bytes = Vec::new();
            File::open(path)?.read_to_end(&mut bytes)?;
            let name = path.extension().map_or("txt".into(), |extension| extension.to_string_lossy());
            rest.put_file(connection, &usp::path_of(&format!("real/{index:06}.{name}")), &bytes)?;
            *sizes.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += bytes.len();
            Ok(())
        })?;
        let mut connection = Connection::open(running.address)?;
        until_all_ended(&mut connection, &rest)?;
        let cost = meter.stop()?;
        let done = count(&mut connection, &rest, "/api/v1/runs?state=succeeded")?;
        ensure!(done * 10 > files.len() * 9, "{done} runs succeeded of {} files", files.len());
        let mut figures = figures(&cost, files.len());
        figures.insert("memory", mib(proc::tree_memory_peak_bytes(running.pid())));
        Ok(self.sample(
            format!("{} sources put by {CLIENTS} clients and profiled", thousands(files.len())),
            figures,
        ))
    }
}

/// Different for each index, and no text.
fn content(parts: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; CONTENT_SIZE_BYTES];
    let (head, _zeros) = bytes.split_at_mut(CONTENT_SIZE_BYTES / 2);
    fill(head, seed(parts));
    bytes
}

/// Small files of a kernel's sources, the same ones each time.
fn small_sources(corpus: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let tree = corpus.join("versions");
    let is_small = |entry: &walkdir::DirEntry| {
        let size = entry.metadata().map_or(0, |meta| meta.len());
        entry.file_type().is_file() && entry.depth() > 1 && size > 0 && size <= REAL_FILE_SIZE_BYTES_MAX
    };
    let all = walkdir::WalkDir::new(&tree).sort_by_file_name().into_iter();
    let some: Vec<PathBuf> =
        all.filter_map(Result::ok).filter(is_small).map(walkdir::DirEntry::into_path).take(count).collect();
    ensure!(!some.is_empty(), "{} has no files: run tools/bench-corpus.sh versions", tree.display());
    Ok(some)
}

fn until_all_ended(connection: &mut Connection, rest: &Rest) -> Result<()> {
    let begun = Instant::now();
    for state in ["queued", "running", "retrying"] {
        loop {
            let page = rest.document(connection, &format!("/api/v1/runs?state={state}&limit=1"))?;
            if items(&page).is_some_and(Vec::is_empty) {
                break;
            }
            ensure!(begun.elapsed() < END_TIME_MAX, "runs are still {state} after {END_TIME_MAX:?}: {page}");
            sleep(LOOK_PAUSE);
        }
    }
    Ok(())
}

fn count(connection: &mut Connection, rest: &Rest, path: &str) -> Result<usize> {
    let (mut count, mut at) = (0, String::new());
    loop {
        let page = rest.document(connection, &format!("{path}&limit=1000{at}"))?;
        count += items(&page).map_or(0, Vec::len);
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(cursor) => at = format!("&cursor={cursor}"),
            None => return Ok(count),
        }
    }
}

fn items(page: &Value) -> Option<&Vec<Value>> {
    page.get("items").and_then(Value::as_array)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer} in {value}"))
}

fn figures(cost: &Cost, count: usize) -> Figures {
    let count = float(count as u64);
    [
        ("rate", count / cost.seconds),
        ("seconds", cost.seconds),
        ("server_cpu_each", cost.server_cpu * 1e6 / count),
        ("client_cpu", cost.client_cpu),
        ("others_cpu", cost.others_cpu),
        ("requests", count),
    ]
    .into()
}

fn thousands(count: usize) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}
