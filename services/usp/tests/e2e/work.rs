//! Steps that misbehave, processors that vanish or oversleep, and roles that are replaced while work goes on.
//!
//! The step `poison` does what its content says. It is built for tests alone (feature `poison` of usp-steps).

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use usp_testkit::{Http, PATIENCE, Topology, until};

use crate::{alone, prove, say, setup, text};

const TASTE: &str = "\
name: taste
when: file.extension == 'bin'
steps: [{name: taste, uses: poison, timeout_s: 1}]
retry: {attempts_max: 5, backoff_ms_min: 10, backoff_ms_max: 50}
";

/// Small enough for a poison to fill it at once.
const ROOM: &str = "[processor]\nconcurrency = 4\nstep_memory = \"64MiB\"\n[gateway]\n\
rate_per_principal = {per_second = 100000, burst = 100000}\nrate_per_address = {per_second = 100000, burst = 100000}\n";

fn good_count() -> usize {
    if std::env::var_os("USP_TORTURE").is_some() { 1_000 } else { 100 }
}

/// The zeros keep the built-in rule for texts away.
async fn put(http: &Http, key: &str, content: impl std::fmt::Display) -> Result<String> {
    let content = format!("{content}\n\0\0\0\0");
    let file = http.put(key, "application/octet-stream", content).await?.must(201)?.value()?;
    Ok(text(&file, "id")?.to_owned())
}

/// Puts good files, waits until no run of them is left, and gives files per second.
async fn good_rate(http: &Http, prefix: &str, count: usize) -> Result<f64> {
    let begun = Instant::now();
    for number in 0..count {
        put(http, &format!("{prefix}/{number}.bin"), format!("good {prefix} {number}")).await?;
    }
    until("the good files to be ready", PATIENCE, async || {
        let path = format!("/api/v1/buckets/default/files?limit=1000&prefix={prefix}/");
        let page = http.get(&path).await?.must(200)?.value()?;
        let states = page["items"].as_array().context("no items")?.iter().map(|file| &file["state"]);
        let mut states = states.filter(|state| **state == "ready");
        Ok((states.by_ref().count() == count).then_some(()))
    })
    .await?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// What a step does that is fed with each of these, and a word of the reason that its run is given up for.
const POISONS: [(&str, &str); 5] = [
    ("panic", "the step panicked: the poison said so"),
    ("abort", "aborted"),
    ("memory", "more memory than the 64 MiB"),
    ("stack", "stack"),
    ("loop", "longer than its 1 s"),
];

/// Rates of a second or two differ by a tenth with nothing in their way; the median of this many does not.
fn round_count() -> usize {
    if std::env::var_os("USP_TORTURE").is_some() { 9 } else { 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_among_good_files_is_dead_after_five_attempts_and_harms_nobody() -> Result<()> {
    prove(setup().rule("taste", TASTE).config(ROOM), async |usp| {
        let http = usp.admin().await?;
        for (kind, reason) in POISONS {
            let mut parts = Vec::new();
            let mut before = good_rate(&http, &format!("{kind}/alone"), good_count()).await?;
            for round in 0..round_count() {
                let poison = put(&http, &format!("{kind}/{round}.bin"), format!("poison: {kind}\n{round}")).await?;
                let among = good_rate(&http, &format!("{kind}/{round}/among"), good_count()).await?;
                let dead = http.wait_run(&poison, "dead", PATIENCE).await?;
                assert_eq!(dead["attempt"], 5, "{kind}: {dead}");
                let error = dead["error"].as_str().context("no error")?;
                ensure!(error.contains(reason), "{kind}: {error}");
                let after = good_rate(&http, &format!("{kind}/{round}/alone"), good_count()).await?;
                parts.push(2.0 * among / (before + after));
                before = after;
            }
            parts.sort_by(f64::total_cmp);
            say(format_args!(
                "among a poison of the kind {kind} good files go at {:.2} of their rate alone, {:.0}/s ({parts:.2?})",
                parts.get(parts.len() / 2).context("no round")?, before
            ));
        }
        let succeeded = http.get("/api/v1/runs?state=succeeded&limit=1000").await?.must(200)?.value()?;
        for run in succeeded["items"].as_array().context("no items")? {
            assert_eq!(run["attempt"], 1, "a good run paid for a poison: {run}");
        }
        ensure!(http.get("/readyz").await?.status == 200, "the server is not what it was");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_frees_its_slot_though_its_step_never_looks_up() -> Result<()> {
    let patient = TASTE.replace("timeout_s: 1", "timeout_s: 600");
    let config = "[processor]\nconcurrency = 1\n";
    prove(setup().rule("taste", &patient).config(config), async |usp| {
        let http = usp.admin().await?;
        let id = put(&http, "loop.bin", "poison: loop\n").await?;
        let run = http.wait_run(&id, "running", PATIENCE).await?;
        let begun = Instant::now();
        let path = format!("/api/v1/runs/{}/cancel", text(&run, "run_id")?);
        http.send(http.request(Method::POST, &path)).await?.must(200)?;
        let next = put(&http, "good.bin", "good").await?;
        http.wait_ready(&next).await?;
        say(format_args!("a cancelled step gave its slot up within {:?}", begun.elapsed()));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_runs_are_tried_again_all_at_once() -> Result<()> {
    let once = TASTE.replace("attempts_max: 5", "attempts_max: 1");
    prove(setup().rule("taste", &once), async |usp| {
        let http = usp.admin().await?;
        let mut ids = Vec::new();
        for number in 0..7 {
            ids.push(put(&http, &format!("{number}.bin"), format!("poison: panic\n{number}")).await?);
        }
        for id in &ids {
            http.wait_run(id, "dead", PATIENCE).await?;
        }
        let other = json!({"rule": "profile"});
        let none = http.post("/api/v1/runs/retry", &other).await?.must(202)?.value()?;
        assert_eq!(none, json!({"retried": 0, "next_cursor": null}));
        http.post("/api/v1/runs/retry", &json!({"state": "running"})).await?.problem(400, "invalid_input")?;
        let some = json!({"rule": "taste", "bucket": "default", "limit": 3});
        let some = http.post("/api/v1/runs/retry", &some).await?.must(202)?.value()?;
        assert_eq!(some["retried"], 3, "{some}");
        ensure!(some["next_cursor"].is_string(), "{some}");
        for id in &ids {
            http.wait_run(id, "dead", PATIENCE).await?;
        }
        let cli = usp.cli().await?;
        let outcome = cli.verb(&["retry", "--all", "--rule", "taste"]).await?.must_end_with(0)?;
        ensure!(outcome.stdout.contains("7 runs"), "{}", outcome.stdout);
        for id in &ids {
            http.wait_run(id, "dead", PATIENCE).await?;
        }
        Ok(())
    })
    .await
}

/// Sends a signal by its name.
fn signal(pid: u32, name: &str) -> Result<()> {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -s {name} {pid}")).status()?;
    ensure!(sent.success(), "no signal reached {pid}");
    Ok(())
}

/// Every file has one run, and that run one end.
async fn one_result_each(http: &Http, ids: &[String]) -> Result<()> {
    for id in ids {
        http.wait_ready(id).await?;
        let runs = http.get(&format!("/api/v1/files/{id}/runs")).await?.must(200)?.value()?;
        let states: Vec<&Value> =
            runs["items"].as_array().context("no items")?.iter().map(|run| &run["state"]).collect();
        assert_eq!(states, ["succeeded"], "{runs}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_slept_through_its_lease_changes_nothing_when_it_wakes() -> Result<()> {
    let config = "[storage]\nlease_time = \"5s\"\n[processor]\nheartbeat = \"1s\"\nconcurrency = 2\n";
    prove(setup().topology(Topology::FourProcesses).config(config), async |usp| {
        let http = usp.admin().await?;
        let sleeper = usp.server("processor-1")?.pid();
        let text = "some words to count in every line\n".repeat(200_000);
        let mut ids = Vec::new();
        for number in 0..8 {
            let file = http.put(&format!("{number}.txt"), "text/plain", format!("{number}\n{text}")).await?;
            ids.push(crate::text(&file.must(201)?.value()?, "id")?.to_owned());
        }
        until("a run to be at work", PATIENCE, async || {
            let runs = http.get("/api/v1/runs?state=running").await?.must(200)?.value()?;
            Ok(runs["items"].as_array().is_some_and(|runs| runs.len() >= 3).then_some(()))
        })
        .await?;
        signal(sleeper, "STOP")?;
        let ended = one_result_each(&http, &ids).await;
        signal(sleeper, "CONT")?;
        ended?;
        let last = http.put("last.txt", "text/plain", "a last text").await?.must(201)?.value()?;
        http.wait_ready(crate::text(&last, "id")?).await?;
        one_result_each(&http, &ids).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_replaced_one_after_the_other_and_no_upload_or_run_is_lost_or_doubled() -> Result<()> {
    let config = format!("[storage]\nlease_time = \"5s\"\n{ROOM}");
    prove(setup().topology(Topology::FourProcesses).rule("taste", TASTE).config(&config), async |usp| {
        let mut http = usp.admin().await?;
        let mut ids = Vec::new();
        for (round, role) in ["processor-1", "storage", "processor-2", "gateway"].into_iter().enumerate() {
            let stop = Arc::new(AtomicBool::new(false));
            let load = tokio::spawn(upload_until(http.clone(), round, Arc::clone(&stop)));
            until("uploads", PATIENCE, async || {
                let page = http.get(&format!("/api/v1/buckets/default/files?prefix={round}/")).await?;
                let page = page.must(200)?.value()?;
                Ok((page["items"].as_array().map_or(0, Vec::len) > 20).then_some(()))
            })
            .await?;
            usp.restart(role, true).await?;
            http = usp.admin().await?;
            if role != "gateway" {
                put(&http, &format!("{round}/after.bin"), "after").await?;
            }
            stop.store(true, Ordering::SeqCst);
            ids.extend(load.await??);
        }
        let count = ids.len();
        one_result_each(&http, &ids).await?;
        say(format_args!("{count} uploads while four roles were replaced"));
        Ok(())
    })
    .await
}

/// Uploads file after file as a client does that repeats what got no answer.
async fn upload_until(http: Http, round: usize, stop: Arc<AtomicBool>) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for number in 0_u32.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("{round}/{number}.bin");
        let path = usp_testkit::file_path("default", &key);
        let begun = Instant::now();
        let answer = loop {
            let request = http.request(Method::PUT, &path).header("idempotency-key", key.as_str());
            if let Ok(answer) = http.send(request.body(format!("good {key}\n\0\0\0\0"))).await {
                ensure!([200, 201, 502, 503].contains(&answer.status), "{}", answer.text());
                if answer.status < 300 {
                    break answer;
                }
            }
            ensure!(begun.elapsed() < PATIENCE, "no upload was taken any more");
            tokio::task::yield_now().await;
        };
        let file = answer.value()?;
        assert_eq!(file["version"], 1, "the upload was doubled: {file}");
        ids.push(text(&file, "id")?.to_owned());
    }
    Ok(ids)
}

#[tokio::test]
async fn a_worker_process_has_no_environment_and_few_rights() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let file = http.put("a.txt", "text/plain", "some text").await?.must(201)?.value()?;
        http.wait_ready(text(&file, "id")?).await?;
        let server = usp.server("usp")?.pid();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        let mut workers = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            if status.lines().any(|line| line == format!("PPid:\t{server}")) {
                workers.push(path);
            }
        }
        let worker = workers.first().with_context(|| format!("no worker process runs: {children:?}"))?;
        assert_eq!(std::fs::read(worker.join("environ"))?, b"", "its environment is not empty");
        let limits = std::fs::read_to_string(worker.join("limits"))?;
        for (name, value) in [
            ("Max data size", "536870912"),
            ("Max file size", "0"),
            ("Max open files", "16"),
            ("Max core file size", "0"),
        ] {
            let line = limits.lines().find(|line| line.starts_with(name)).context("no such limit")?;
            ensure!(line.split_whitespace().any(|word| word == value), "{line}");
        }
        let status = std::fs::read_to_string(worker.join("status"))?;
        ensure!(status.contains("NoNewPrivs:\t1"), "{status}");
        Ok(())
    })
    .await
}
