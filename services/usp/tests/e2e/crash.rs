//! `kill -9` in the middle of uploads (T4): what was acknowledged is there, what was not is not half there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::task::JoinSet;
use usp_testkit::generate::{Numbers, bytes, csv, sha256_hex};
use usp_testkit::{Http, Installation, PATIENCE, Topology, file_path, until};

use crate::{alone, prove, say, setup};

const UPLOADERS: u64 = 20;
/// The promise is 2 s for a release build on a quiet machine; more than this is a fault in any build.
const RESTART_MAX: Duration = Duration::from_secs(10);

fn rounds() -> u64 {
    let asked = std::env::var("USP_TORTURE_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if std::env::var_os("USP_TORTURE").is_some() { 50 } else { 5 })
}

/// Every acknowledged file: key and SHA-256, on disk outside the data directory before the next upload begins.
struct Ledger {
    file: File,
    acknowledged: BTreeMap<String, String>,
}

impl Ledger {
    fn add(&mut self, key: &str, sha256: &str) -> Result<()> {
        writeln!(self.file, "{sha256} {key}")?;
        self.file.sync_data()?;
        self.acknowledged.insert(key.to_owned(), sha256.to_owned());
        Ok(())
    }
}

/// Sends file after file until the server is gone.
async fn upload_until_death(
    http: Http,
    name: String,
    seed: u64,
    ledger: Arc<Mutex<Ledger>>,
    acks: Arc<AtomicU64>,
) -> Result<()> {
    let mut numbers = Numbers::new(seed);
    for file in 0.. {
        let size = usize::try_from(1 << numbers.below(21))?;
        let content = if numbers.below(2) == 0 {
            bytes(seed + file, size)
        } else {
            csv(seed + file, size as u64 / 80).into_bytes()
        };
        let key = format!("{name}/{file}.csv");
        let sha256 = sha256_hex(&content);
        let Ok(answer) = http.put(&key, "text/csv", content).await else { break };
        if answer.status == 503 {
            // The gateway outlived storage by a moment; the outcome is unknown, as it is without an answer.
            break;
        }
        assert_eq!(answer.status, 201, "{}", answer.text());
        // A lock that a panic left behind is another task's failure.
        ledger.lock().unwrap_or_else(PoisonError::into_inner).add(&key, &sha256)?;
        acks.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_in_the_middle_of_uploads_loses_nothing_acknowledged() -> Result<()> {
    kill_again_and_again(Topology::OneProcess, rounds()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_of_all_four_processes_loses_nothing_acknowledged() -> Result<()> {
    kill_again_and_again(Topology::FourProcesses, rounds().div_ceil(2)).await
}

async fn kill_again_and_again(topology: Topology, rounds: u64) -> Result<()> {
    let mut usp = setup().topology(topology).start().await?;
    std::fs::create_dir(usp.root().join("work"))?;
    let file = File::create(usp.root().join("work/ledger"))?;
    let ledger = Arc::new(Mutex::new(Ledger { file, acknowledged: BTreeMap::new() }));
    let mut numbers = Numbers::new(4);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let http = usp.admin().await?;
        let acks = Arc::new(AtomicU64::new(0));
        let mut uploaders = JoinSet::new();
        for uploader in 0..UPLOADERS {
            let name = format!("{round}-{uploader}");
            let seed = (round * UPLOADERS + uploader) << 20;
            uploaders.spawn(upload_until_death(
                http.clone(),
                name,
                seed,
                Arc::clone(&ledger),
                Arc::clone(&acks),
            ));
        }
        // The moment is drawn by work done, not by time, so that a slow machine is killed in the middle too.
        let enough = numbers.below(60);
        until("uploads", PATIENCE, async || Ok((acks.load(Ordering::SeqCst) >= enough).then_some(())))
            .await?;
        usp.kill()?;
        while let Some(ended) = uploaders.join_next().await {
            ended??;
        }
        slowest = slowest.max(usp.start_again().await?);
        let prefix = format!("{round}-");
        check(&usp, &ledger, &prefix).await.with_context(|| format!("round {round}\n{}", usp.log_end()))?;
    }
    check(&usp, &ledger, "").await.with_context(|| usp.log_end())?;
    let count = ledger.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.len();
    say(format_args!("{rounds} rounds, {count} files acknowledged, slowest restart {slowest:?}"));
    assert!(count > 0);
    assert!(slowest <= RESTART_MAX, "{slowest:?}");
    Ok(())
}

/// Everything acknowledged is listed and reads back; everything listed reads back as the whole that it claims to be.
async fn check(usp: &Installation, ledger: &Mutex<Ledger>, prefix: &str) -> Result<()> {
    let http = usp.admin().await?;
    let mut listed = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/buckets/default/files?limit=1000&prefix={prefix}{cursor}");
        let page = http.get(&path).await?.must(200)?.value()?;
        for file in page["items"].as_array().context("no items")? {
            let key = file["key"].as_str().context("no key")?;
            listed.insert(key.to_owned(), file.clone());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    for (key, file) in &listed {
        let content = http.get(&file_path("default", key)).await?.must(200)?;
        assert_eq!(file["digests"]["sha256"], sha256_hex(&content.body), "{key} is not what it claims to be");
        assert_eq!(file["size"], content.body.len(), "{key}");
        assert_ne!(file["state"], "uploading", "{key} is half visible");
    }
    let acknowledged = ledger.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.clone();
    for (key, sha256) in acknowledged.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let digest = listed.get(key).map(|file| &file["digests"]["sha256"]);
        assert_eq!(digest, Some(&Value::from(sha256.as_str())), "{key} was acknowledged and is lost");
    }
    Ok(())
}

/// Short enough for a test, long enough for the heartbeat.
const SHORT_LEASE: &str = "[storage]\nlease_time = \"6s\"\n[processor]\nheartbeat = \"1s\"\n";

/// Puts texts that take a while to profile and waits until a worker is at one of them.
async fn put_long_texts(http: &Http) -> Result<Vec<String>> {
    let text = "some words to count in every line\n".repeat(200_000);
    let mut ids = Vec::new();
    for n in 0..6 {
        let body = format!("{n}\n{text}");
        let file = http.put(&format!("{n}.txt"), "text/plain", body).await?.must(201)?.value()?;
        ids.push(crate::text(&file, "id")?.to_owned());
    }
    until("a run to be at work", PATIENCE, async || {
        let runs = http.get("/api/v1/runs?state=running").await?.must(200)?.value()?;
        Ok(runs["items"].as_array().is_some_and(|runs| !runs.is_empty()).then_some(()))
    })
    .await?;
    Ok(ids)
}

async fn all_are_profiled_once(http: &Http, ids: &[String]) -> Result<()> {
    for id in ids {
        let file = http.wait_ready(id).await?;
        assert_eq!(file["reports"]["profile"]["lines"], 200_001);
        let runs = http.get(&format!("/api/v1/files/{id}/runs")).await?.must(200)?.value()?;
        assert_eq!(runs["items"].as_array().map(Vec::len), Some(1), "{runs}");
    }
    Ok(())
}

#[tokio::test]
async fn when_a_processor_dies_the_other_one_takes_its_runs_over() -> Result<()> {
    prove(setup().topology(Topology::FourProcesses).config(SHORT_LEASE), async |usp| {
        let http = usp.admin().await?;
        let ids = put_long_texts(&http).await?;
        usp.kill_server("processor-1")?;
        all_are_profiled_once(&http, &ids).await
    })
    .await
}

#[tokio::test]
async fn a_run_that_a_crash_interrupted_is_taken_up_again() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let ids = put_long_texts(&http).await?;
        usp.kill()?;
        usp.start_again().await?;
        all_are_profiled_once(&usp.admin().await?, &ids).await
    })
    .await
}

#[tokio::test]
async fn the_other_roles_come_back_by_themselves_when_storage_was_away() -> Result<()> {
    prove(setup().topology(Topology::FourProcesses), async |usp| {
        let http = usp.admin().await?;
        http.put("before.txt", "text/plain", "before").await?.must(201)?;
        usp.restart_storage().await?;
        let put = until("storage to be reached again", PATIENCE, async || {
            let answer = http.put("after.txt", "text/plain", "after").await?;
            assert!([201, 503].contains(&answer.status), "{}", answer.text());
            Ok((answer.status == 201).then_some(answer))
        })
        .await?;
        http.wait_ready(crate::text(&put.value()?, "id")?).await?;
        let before = http.get(&file_path("default", "before.txt")).await?.must(200)?;
        assert_eq!(before.text(), "before");
        Ok(())
    })
    .await
}
