//! Half of a store is deleted while others upload and read: its space comes back, and nobody sees an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use usp_testkit::generate::{bytes, sha256_hex};
use usp_testkit::{Cli, Http, file_path};

use super::{assert_whole, is_torture, stats};
use crate::{prove, say, setup};

/// Files of 2 MiB: 2 GiB in the long run.
fn file_count() -> u64 {
    if is_torture() { 1_024 } else { 48 }
}

const SIZE: usize = 2 << 20;

async fn upload(http: Http, name: u64, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Result<()> {
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let content = bytes((name << 40) + n, 400_000);
        let digest = sha256_hex(&content);
        let key = format!("load/{name}-{n}");
        http.put(&key, "application/octet-stream", content).await?.must(201)?;
        let read = http.get(&file_path("default", &key)).await?.must(200)?;
        assert_eq!(sha256_hex(&read.body), digest);
        if n % 4 != 0 {
            http.delete(&file_path("default", &key)).await?.must(204)?;
        }
        count.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

async fn read(
    http: Http,
    keys: Vec<(String, String)>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
) -> Result<()> {
    for (key, digest) in keys.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let answer = http.get(&file_path("default", key)).await?.must(200)?;
        assert_eq!(&sha256_hex(&answer.body), digest, "{key}");
        count.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Moving a GiB may take longer than a test waits for a verb.
async fn collect(cli: &Cli<'_>) -> Result<()> {
    let ended = cli.start(&["admin", "gc", "--quiet"])?.wait_with_output().await?;
    ensure!(ended.status.success(), "usp admin gc ended with {}", ended.status);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_half_of_a_store_was_deleted_under_load_the_disk_holds_hardly_more_than_what_lives()
-> Result<()> {
    const SETTINGS: &str =
        "[storage]\ncollect_grace = \"0s\"\nscrub_interval = \"0s\"\n[content]\npack_size_max = \"16MiB\"\n";
    prove(setup().config(SETTINGS), async |usp| {
        let http = usp.admin().await?;
        let mut known = std::collections::BTreeMap::new();
        for n in 0..file_count() {
            let content = bytes(n, SIZE);
            known.insert(format!("half/{n}"), sha256_hex(&content));
            http.put(&format!("half/{n}"), "application/octet-stream", content).await?.must(201)?;
        }
        let full = stats(&http).await?["disk_bytes"].as_u64().context("no disk_bytes")?;
        let gone: Vec<String> =
            known.keys().enumerate().filter(|(n, _)| n % 2 == 0).map(|(_, key)| key.clone()).collect();
        let kept: std::collections::BTreeMap<_, _> = known
            .iter()
            .filter(|(key, _)| !gone.contains(key))
            .map(|(key, digest)| (key.clone(), digest.clone()))
            .collect();

        let stop = Arc::new(AtomicBool::new(false));
        let (uploads, reads) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut loads = tokio::task::JoinSet::new();
        for name in 1..=2 {
            loads.spawn(upload(http.clone(), name, Arc::clone(&stop), Arc::clone(&uploads)));
            let keys = kept.clone().into_iter().collect();
            loads.spawn(read(http.clone(), keys, Arc::clone(&stop), Arc::clone(&reads)));
        }
        let cli = usp.cli().await?;
        for key in &gone {
            http.delete(&file_path("default", key)).await?.must(204)?;
        }
        for _cycle in 0..4 {
            collect(&cli).await?;
        }
        stop.store(true, Ordering::SeqCst);
        while let Some(ended) = loads.join_next().await {
            ended??;
        }
        // What the last uploads left behind goes with the load gone: the first cycle seals what was still open, the second
        // dooms it, and what is doomed is erased three cycles later.
        for _cycle in 0..6 {
            collect(&cli).await?;
        }
        let stats = stats(&http).await?;
        let live = stats["totals"]["frame_bytes"].as_u64().context("no frame_bytes")?;
        let on_disk: u64 = super::packs(&usp.data_dir())?.iter().map(|(_, bytes)| bytes).sum();
        say(format_args!(
            "{} uploads, {} reads meanwhile; {} MiB became {} MiB on disk, {} MiB live, ratio {:.3}",
            uploads.load(Ordering::SeqCst),
            reads.load(Ordering::SeqCst),
            full >> 20,
            on_disk >> 20,
            live >> 20,
            on_disk as f64 / live as f64,
        ));
        assert!(uploads.load(Ordering::SeqCst) > 0 && reads.load(Ordering::SeqCst) > 0);
        assert!(on_disk * 10 <= live * 11, "{on_disk} bytes on disk for {live} that live");
        assert_whole(&http, &kept).await
    })
    .await
}
