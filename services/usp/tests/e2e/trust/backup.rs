//! T36: a backup that is made under load restores to every file that was acknowledged before its snapshot.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use serde_json::Value;
use usp_testkit::generate::{bytes, sha256_hex};
use usp_testkit::{Http, Installation, file_path};

use super::{assert_whole, fill, flip, is_torture, packs};
use crate::{alone, prove, say, setup};

const SETTINGS: &str = "[content]\npack_size_max = \"4MiB\"\n[storage]\ncollect_grace = \"0s\"\n";

/// Files before the backup and their size: 4 GiB in the long run.
fn figures() -> (u64, usize) {
    if is_torture() { (1_500, 4 << 20) } else { (60, 1 << 20) }
}

/// Puts and deletes until it is told to stop; every answer must be a success.
async fn load(http: Http, name: u64, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        let key = format!("load/{name}-{count}");
        let content = bytes((name << 32) + count, 200_000);
        http.put(&key, "application/octet-stream", content).await?.must(201)?;
        if count % 2 == 1 {
            http.delete(&file_path("default", &key)).await?.must(204)?;
        }
        if count % 8 == 7 {
            // Collections want to erase packs meanwhile.
            http.post("/api/v1/store/collect", &serde_json::json!({})).await?;
        }
        count += 1;
    }
    Ok(count)
}

async fn back_up(usp: &Installation, target: &str, more: &[&str]) -> Result<Value> {
    let dir = usp.data_dir();
    let dir = dir.to_str().context("a path of text")?;
    let args = [&["admin", "backup", target, "--data-dir", dir, "--json"], more].concat();
    Ok(usp.offline(&args).await?.must_end_with(0)?.json()?.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_does_not_go_into_the_store_itself() -> Result<()> {
    alone(async |usp| {
        let dir = usp.data_dir();
        for inside in ["", "packs", "inside", "inside/deeper"] {
            let target = dir.join(inside).display().to_string();
            let data_dir = dir.display().to_string();
            let refused = usp.offline(&["admin", "backup", &target, "--data-dir", &data_dir]).await?;
            let refused = refused.must_end_with(2)?;
            assert!(refused.stderr.contains("lies in the data directory"), "{}", refused.stderr);
        }
        assert!(!dir.join("inside").exists());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_restores_every_file_that_was_acknowledged_before_it() -> Result<()> {
    let (count, size) = figures();
    prove(setup().config(SETTINGS), async |usp| {
        let http = usp.admin().await?;
        let known = fill(&http, 1, count, size).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut loads = tokio::task::JoinSet::new();
        for name in 1..=3 {
            loads.spawn(load(http.clone(), name, Arc::clone(&stop)));
        }
        let target = usp.root().join("work");
        let target = target.to_str().context("a path of text")?.to_owned();
        let mut reports = Vec::new();
        for _again in 0..3 {
            reports.push(back_up(usp, &target, &[]).await?);
        }
        stop.store(true, Ordering::SeqCst);
        let mut load_count = 0;
        while let Some(ended) = loads.join_next().await {
            load_count += ended??;
        }
        say(format_args!("{load_count} files were put meanwhile; backups {reports:?}"));
        assert!(load_count > 0);
        let copied = |index: usize| reports[index]["copied_packs"].as_u64();
        assert!(copied(1) < copied(0), "what is there is not copied again: {reports:?}");
        restored(usp, &target, &known).await
    })
    .await
}

/// Restores into a fresh directory, starts there and reads everything.
async fn restored(usp: &mut Installation, target: &str, known: &BTreeMap<String, String>) -> Result<()> {
    usp.stop().await?;
    let dir = usp.data_dir();
    std::fs::rename(&dir, usp.root().join("gateway"))?;
    let text = dir.to_str().context("a path of text")?.to_owned();
    let outcome =
        usp.offline(&["admin", "restore", target, "--data-dir", &text, "--json"]).await?.must_end_with(0)?;
    let report = outcome.json()?.remove(0);
    assert_eq!(report["finding_count"], 0, "{report}");
    usp.offline(&["admin", "restore", target, "--data-dir", &text]).await?.must_end_with(5)?;
    usp.start_again().await?;
    let http = usp.admin().await?;
    assert_whole(&http, known).await?;
    // What the load had put when the snapshot was taken is whole too, and new content can be stored.
    let page = http.get("/api/v1/buckets/default/files?prefix=load/&limit=1000").await?.must(200)?.value()?;
    for file in page["items"].as_array().context("no items")? {
        let key = file["key"].as_str().context("no key")?;
        let answer = http.get(&file_path("default", key)).await?.must(200)?;
        assert_eq!(file["digests"]["sha256"], sha256_hex(&answer.body), "{key}");
    }
    fill(&http, 1_000, 3, 100_000).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_on_after_a_restore_and_mixes_no_two_pasts() -> Result<()> {
    prove(setup().config(SETTINGS), async |usp| {
        let target = usp.root().join("work");
        let target = target.to_str().context("a path of text")?.to_owned();
        let known = fill(&usp.admin().await?, 1, 12, 1 << 20).await?;
        back_up(usp, &target, &[]).await?;
        // What comes now is backed up too, and lost by the restore of an older copy of the backup.
        let old = usp.root().join("processor-1");
        copy_all(Path::new(&target), &old)?;
        fill(&usp.admin().await?, 100, 12, 1 << 20).await?;
        usp.kill()?;
        usp.start_again().await?;
        back_up(usp, &target, &[]).await?;
        restored(usp, old.to_str().context("a path of text")?, &known).await?;
        // Packs get the numbers that those which were lost had. The backup must not take one for the other.
        let more = fill(&usp.admin().await?, 200, 12, 1 << 20).await?;
        usp.kill()?;
        usp.start_again().await?;
        back_up(usp, &target, &[]).await?;
        let both = known.into_iter().chain(more).collect();
        std::fs::rename(usp.root().join("gateway"), usp.root().join("processor-2"))?;
        restored(usp, &target, &both).await
    })
    .await
}

/// A backup never takes what only it still has: not for a store that lost a pack, nor for one that lost its catalogue, nor
/// for another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_keeps_what_the_store_has_lost() -> Result<()> {
    prove(setup().config(SETTINGS), async |usp| {
        let target = usp.root().join("work");
        let target = target.to_str().context("a path of text")?.to_owned();
        let dir = usp.data_dir();
        let data_dir = dir.to_str().context("a path of text")?.to_owned();
        let known = fill(&usp.admin().await?, 1, 12, 1 << 20).await?;
        // The next start seals the packs.
        usp.kill()?;
        usp.start_again().await?;
        back_up(usp, &target, &[]).await?;
        usp.stop().await?;
        let again = ["admin", "backup", &target, "--data-dir", &data_dir];

        let (lost, _) = packs(&dir)?.remove(0);
        std::fs::remove_file(&lost)?;
        let told = usp.offline(&again).await?.must_end_with(74)?;
        assert!(told.stderr.contains("(of 1 of them the backup keeps its earlier copy)"), "{}", told.stderr);
        let whole = files_of(Path::new(&target))?;

        std::fs::rename(dir.join("catalog.db"), usp.root().join("catalog"))?;
        let refused = usp.start_refused().await?.must_end_with(74)?;
        assert!(refused.stderr.contains("nothing was touched"), "{}", refused.stderr);
        assert!(!dir.join("catalog.db").exists());
        std::fs::write(dir.join("catalog.db"), b"")?;
        usp.start_refused().await?.must_end_with(74)?;
        let told = usp.offline(&again).await?.must_end_with(74)?;
        assert!(told.stderr.contains("the catalogue knows no pack"), "{}", told.stderr);
        let found = usp.offline(&["admin", "fsck", "--data-dir", &data_dir]).await?.must_end_with(74)?;
        assert!(found.stdout.contains("it was lost, and with it every file"), "{}", found.stdout);
        assert_eq!(files_of(Path::new(&target))?, whole);

        std::fs::rename(&dir, usp.root().join("gateway"))?;
        usp.start_again().await?;
        let told = usp.offline(&again).await?.must_end_with(5)?;
        assert!(told.stderr.contains("of another store"), "{}", told.stderr);
        assert_eq!(files_of(Path::new(&target))?, whole);
        std::fs::rename(usp.root().join("gateway"), usp.root().join("processor-2"))?;
        restored(usp, &target, &known).await
    })
    .await
}

/// Every file with its length.
fn files_of(dir: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().is_dir() {
            found.extend(files_of(&entry.path())?);
        } else {
            found.insert(entry.path(), entry.metadata()?.len());
        }
    }
    Ok(found)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_backup_is_refused_by_name_and_mended_by_the_next() -> Result<()> {
    alone(async |usp| {
        let known = fill(&usp.admin().await?, 1, 4, 300_000).await?;
        usp.stop().await?;
        usp.start_again().await?;
        let target = usp.root().join("work");
        let text = target.to_str().context("a path of text")?.to_owned();
        back_up(usp, &text, &[]).await?;
        for entry in walk(&target)? {
            let mode = std::fs::metadata(&entry)?.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is for its owner alone", entry.display());
        }
        let (pack, _) = packs(&target)?.remove(0);
        flip(&pack, 8_000)?;
        let elsewhere = usp.root().join("processor-1");
        let elsewhere = elsewhere.to_str().context("a path of text")?.to_owned();
        let refused =
            usp.offline(&["admin", "restore", &text, "--data-dir", &elsewhere]).await?.must_end_with(74)?;
        assert!(refused.stderr.contains(".pack is not what was backed up"), "{}", refused.stderr);
        assert_eq!(back_up(usp, &text, &[]).await?["copied_packs"], 0, "only --verify reads what is there");
        assert_eq!(back_up(usp, &text, &["--verify"]).await?["copied_packs"], 1);
        let none = usp.offline(&["admin", "restore", "/nowhere", "--data-dir", &elsewhere]).await?;
        assert_ne!(none.code, 0);
        let listing = std::fs::read_to_string(target.join("backup.json"))?;
        std::fs::write(target.join("backup.json"), listing.replacen("\"format\": 1", "\"format\": 9", 1))?;
        let newer =
            usp.offline(&["admin", "restore", &text, "--data-dir", &elsewhere]).await?.must_end_with(1)?;
        assert!(newer.stderr.contains("its format 9 is newer than 1"), "{}", newer.stderr);
        std::fs::write(target.join("backup.json"), listing)?;
        restored(usp, &text, &known).await
    })
    .await
}

fn walk(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(walk(&path)?);
        }
        found.push(path);
    }
    Ok(found)
}
