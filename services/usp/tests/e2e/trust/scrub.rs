//! T8: whatever bits flip in the packs, a scrub names them and the files they hit, and no wrong byte is served.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use usp_testkit::generate::{Numbers, bytes, sha256_hex};
use usp_testkit::{Http, PATIENCE, file_path, until};

use super::{flip, is_torture, pack_number, packs, scrubbed};
use crate::{alone, everywhere, prove, say, setup};

/// Flips, files and their size: 100 flips in 1 GiB in the long run.
fn figures() -> (usize, u64, usize) {
    if is_torture() { (100, 256, 4 << 20) } else { (12, 48, 1 << 20) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_names_every_flipped_bit_and_no_wrong_byte_is_served() -> Result<()> {
    let (flip_count, file_count, size) = figures();
    let settings =
        setup().config("[content]\npack_size_max = \"8MiB\"\n[storage]\nscrub_interval = \"0s\"\n");
    prove(settings, async |usp| {
        let http = usp.admin().await?;
        let mut digests = Vec::new();
        for n in 0..file_count {
            let content = bytes(n, size);
            digests.push(sha256_hex(&content));
            http.put(&format!("{n}"), "application/octet-stream", content).await?.must(201)?;
        }
        usp.stop().await?;
        usp.start_again().await?;
        usp.stop().await?;
        // Every pack is sealed now, and every one of its bytes counts.
        let flipped = flip_bits(&usp.data_dir(), flip_count)?;
        usp.start_again().await?;
        let cli = usp.cli().await?;
        let outcome = cli.verb(&["admin", "scrub", "--json"]).await?.must_end_with(74)?;
        let report = outcome.json()?.remove(0);
        let damage = report["damage"].as_array().context("no damage")?;
        let named = flipped.iter().filter(|(pack, byte)| {
            damage.iter().any(|place| {
                let (offset, bytes) = (place["offset"].as_u64(), place["bytes"].as_u64());
                place["pack"] == *pack
                    && offset <= Some(*byte)
                    && Some(*byte) < offset.zip(bytes).map(|(a, b)| a + b)
            })
        });
        let named = named.count();
        say(format_args!("{named} of {flip_count} flips named in {} MiB", (file_count * size as u64) >> 20));
        assert_eq!(named, flip_count, "{report:#}");

        let hit: BTreeSet<&str> = report["files"]
            .as_array()
            .context("no files")?
            .iter()
            .filter_map(|file| file["key"].as_str())
            .collect();
        let http = usp.admin().await?;
        let wrong = unreadable(&http, &digests).await?;
        let wrong: BTreeSet<&str> = wrong.iter().map(String::as_str).collect();
        assert_eq!(wrong, hit, "the files that cannot be read are those that were named");

        for n in &hit {
            let content = bytes(n.parse()?, size);
            http.put(&format!("again/{n}"), "application/octet-stream", content).await?.must(201)?;
            let mended = http.get(&file_path("default", n)).await?.must(200)?;
            assert_eq!(sha256_hex(&mended.body), digests[n.parse::<usize>()?], "{n} is mended by new bytes");
        }
        Ok(())
    })
    .await
}

/// Flips so many bits, each in a byte of its own; answers the packs and bytes.
fn flip_bits(data_dir: &Path, count: usize) -> Result<BTreeSet<(i64, u64)>> {
    let packs = packs(data_dir)?;
    let store_bytes: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
    let mut numbers = Numbers::new(8);
    let mut flipped = BTreeSet::new();
    while flipped.len() < count {
        let mut at = numbers.below(store_bytes * 8);
        for (path, bytes) in &packs {
            if at < bytes * 8 {
                if flipped.insert((pack_number(path)?, at / 8)) {
                    flip(path, at)?;
                }
                break;
            }
            at -= bytes * 8;
        }
    }
    Ok(flipped)
}

/// The files that cannot be read; those that can be are compared.
async fn unreadable(http: &Http, digests: &[String]) -> Result<BTreeSet<String>> {
    let mut wrong = BTreeSet::new();
    for (n, digest) in digests.iter().enumerate() {
        // A content that breaks off while it is read is an error of the transport.
        match http.get(&file_path("default", &n.to_string())).await {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(&sha256_hex(&answer.body), digest, "file {n}: a wrong byte was served");
            }
            Ok(answer) => {
                answer.problem(500, "corrupt")?;
                wrong.insert(n.to_string());
            }
            Err(_broken) => {
                wrong.insert(n.to_string());
            }
        }
    }
    Ok(wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verb_scrubs_in_every_topology_and_a_sound_store_ends_with_0() -> Result<()> {
    everywhere(async |usp| {
        usp.admin().await?.put("a", "text/plain", "some text").await?.must(201)?;
        scrubbed(usp).await?;
        let cli = usp.cli().await?;
        let outcome = cli.verb(&["admin", "scrub", "--pace", "50MiB", "--json"]).await?.must_end_with(0)?;
        let report = outcome.json()?.remove(0);
        assert_eq!((&report["scrub"]["damaged"], &report["files"]), (&json!(0), &json!([])), "{report}");
        assert!(report["scrub"]["frames"].as_u64() >= Some(1));
        cli.verb(&["admin", "scrub", "--report"]).await?.must_end_with(0)?;
        let status = cli.verb(&["admin", "scrub", "--status"]).await?.must_end_with(0)?;
        assert!(status.stdout.contains("ended"), "{}", status.stdout);
        cli.verb(&["admin", "scrub", "--stop"]).await?.must_end_with(0)?;
        let check = cli.verb(&["admin", "fsck", "--deep", "--json"]).await?.must_end_with(0)?;
        assert_eq!(check.json()?[0]["findings"], json!([]));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_store_is_scrubbed_by_itself_and_after_a_stop_it_is_not() -> Result<()> {
    alone(async |usp| {
        let began_at = async |usp: &usp_testkit::Installation| {
            let http = usp.admin().await?;
            until("a scrub that ended", PATIENCE, async || {
                let status = http.get("/api/v1/store/scrub").await?.must(200)?.value()?;
                Ok(status["ended_at"].is_string().then(|| status["began_at"].clone()))
            })
            .await
        };
        let first: Value = began_at(usp).await?;
        usp.admin().await?.put("a", "text/plain", "some text").await?.must(201)?;
        usp.stop().await?;
        usp.start_again().await?;
        assert_eq!(began_at(usp).await?, first, "an end in order asks for no scrub");
        usp.kill()?;
        usp.start_again().await?;
        let http = usp.admin().await?;
        until("the scrub after a crash", PATIENCE, async || {
            let status = http.get("/api/v1/store/scrub").await?.must(200)?.value()?;
            Ok((status["began_at"] != first && status["packs"].as_u64() >= Some(1)).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_stopped_store_is_checked_and_its_sums_are_mended() -> Result<()> {
    alone(async |usp| {
        usp.admin().await?.put("a", "text/plain", "some text").await?.must(201)?;
        let dir = usp.data_dir();
        let dir = dir.to_str().context("a path of text")?;
        let busy = usp.offline(&["admin", "fsck", "--data-dir", dir]).await?.must_end_with(6)?;
        assert!(busy.stderr.contains("another usp serves"), "{}", busy.stderr);
        usp.stop().await?;
        usp.offline(&["admin", "fsck", "--data-dir", dir, "--deep"]).await?.must_end_with(0)?;
        let conn = rusqlite::Connection::open(usp.data_dir().join("catalog.db"))?;
        conn.execute_batch("UPDATE usage SET file_count = 7")?;
        drop(conn);
        let found = usp.offline(&["admin", "fsck", "--data-dir", dir]).await?.must_end_with(1)?;
        assert!(found.stdout.contains("file_count of bucket default is 7, counted 1"), "{}", found.stdout);
        usp.offline(&["admin", "fsck", "--data-dir", dir, "--repair"]).await?.must_end_with(0)?;
        let (pack, _) = packs(&usp.data_dir())?.remove(0);
        std::fs::rename(&pack, usp.root().join("work.pack"))?;
        let found = usp.offline(&["admin", "fsck", "--data-dir", dir]).await?.must_end_with(74)?;
        assert!(found.stdout.contains("has no file"), "{}", found.stdout);
        std::fs::rename(usp.root().join("work.pack"), &pack)?;
        usp.offline(&["admin", "fsck", "--data-dir", "/nowhere"]).await?.must_end_with(3)?;
        Ok(())
    })
    .await
}
