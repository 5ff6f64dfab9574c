//! What an operator trusts: damage is named, backups restore, a failed catalogue recovers, a full disk lets one delete.

mod backup;
mod fault;
mod formats;
mod full_disk;
mod index;
mod scrub;
mod space;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use usp_testkit::generate::{bytes, csv, sha256_hex};
use usp_testkit::{Http, Installation, PATIENCE, file_path, until};

fn is_torture() -> bool {
    std::env::var_os("USP_TORTURE").is_some()
}

/// Every pack file of a data directory with its length, in order.
fn packs(data_dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(data_dir.join("packs"))? {
        for file in std::fs::read_dir(folder?.path())? {
            let file = file?;
            found.push((file.path(), file.metadata()?.len()));
        }
    }
    found.sort();
    Ok(found)
}

/// The number in the name of a pack file.
fn pack_number(path: &Path) -> Result<i64> {
    let name = path.file_stem().and_then(|name| name.to_str()).context("a pack has a name")?;
    Ok(i64::from_str_radix(name, 16)?)
}

fn flip(path: &Path, bit: u64) -> Result<()> {
    let file = std::fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8)?;
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8)?;
    Ok(file.sync_all()?)
}

/// Puts files of all sorts and answers their digests by key.
async fn fill(http: &Http, seed: u64, count: u64, size: usize) -> Result<BTreeMap<String, String>> {
    let mut known = BTreeMap::new();
    for n in 0..count {
        let content = match n % 3 {
            0 => csv(seed + n, size as u64 / 80).into_bytes(),
            1 => bytes(seed + n, size),
            _ => bytes(seed + n, usize::try_from(100 + n)?),
        };
        let key = format!("{seed}/{n}.bin");
        let digest = sha256_hex(&content);
        let answer = http.put(&key, "application/octet-stream", content).await?;
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        known.insert(key, digest);
    }
    Ok(known)
}

/// Every file reads back as what was stored.
async fn assert_whole(http: &Http, known: &BTreeMap<String, String>) -> Result<()> {
    for (key, digest) in known {
        let answer = http.get(&file_path("default", key)).await?.must(200)?;
        assert_eq!(&sha256_hex(&answer.body), digest, "{key}");
    }
    Ok(())
}

async fn stats(http: &Http) -> Result<Value> {
    http.get("/api/v1/stats").await?.must(200)?.value()
}

/// Waits until no scrub runs.
async fn scrubbed(usp: &Installation) -> Result<()> {
    let http = usp.admin().await?;
    until("the scrub to end", PATIENCE, async || {
        let status = http.get("/api/v1/store/scrub").await?.must(200)?.value()?;
        Ok((status["running"] == Value::Bool(false)).then_some(()))
    })
    .await
}
