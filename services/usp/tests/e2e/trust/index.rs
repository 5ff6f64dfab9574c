//! The drill: rows of chunks and packs are garbled or gone, and every file reads back after they were rebuilt from packs.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rusqlite::Connection;
use serde_json::Value;
use usp_testkit::generate::{bytes, sha256_hex};
use usp_testkit::{Installation, file_path};

use super::{assert_whole, fill, packs};
use crate::{prove, setup};

const SETTINGS: &str =
    "[content]\npack_size_max = \"1MiB\"\n[storage]\ncollect_grace = \"0s\"\nscrub_interval = \"0s\"\n";

/// What happens to the catalogue, with its own rules switched off.
const MISHAPS: [(&str, &str); 4] = [
    (
        "every place is garbled",
        "UPDATE chunks SET pack = 1 + abs(random() % 3), offset = abs(random() % 100000), stored_bytes = 100",
    ),
    ("the rows of packs are gone", "DELETE FROM packs; UPDATE meta SET value = 0 WHERE name <> 'epoch'"),
    (
        "every chunk is in doubt and long or short",
        "UPDATE chunks SET doubted = 1, size_bytes = 1 + size_bytes % 7",
    ),
    (
        "states and sums of packs are garbled",
        "UPDATE packs SET state = 'open', committed_bytes = 64, live_bytes = 1",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn places_that_were_lost_are_found_in_the_packs_and_every_file_reads_back() -> Result<()> {
    for (mishap, sql) in MISHAPS {
        drill(sql).await.with_context(|| mishap.to_owned())?;
    }
    Ok(())
}

/// What was acknowledged a moment ago may stand in the catalogue alone, until its pack is synced.
#[tokio::test(flavor = "multi_thread")]
async fn short_files_that_no_pack_has_yet_outlive_a_rebuild() -> Result<()> {
    prove(setup().config(SETTINGS), async |usp| {
        let http = usp.admin().await?;
        let mut known = BTreeMap::new();
        for n in 0..5 {
            let content = bytes(n, 2_000);
            known.insert(format!("{n}.bin"), sha256_hex(&content));
            http.put(&format!("{n}.bin"), "application/octet-stream", content).await?.must(201)?;
        }
        usp.kill()?;
        let conn = Connection::open(usp.data_dir().join("catalog.db"))?;
        let kept: i64 = conn.query_row("SELECT count(*) FROM redo", [], |row| row.get(0))?;
        assert_eq!(kept, 5, "the frames are not in the catalogue: this test tests nothing");
        drop(conn);
        // As a power cut may leave them: their headers, and nothing behind.
        for (pack, _) in packs(&usp.data_dir())? {
            std::fs::File::options().write(true).open(pack)?.set_len(64)?;
        }
        let report = rebuild(usp, 0).await?;
        assert_eq!((&report["lost"], &report["placed"]), (&Value::from(0), &Value::from(5)), "{report}");
        usp.start_again().await?;
        assert_whole(&usp.admin().await?, &known).await
    })
    .await
}

async fn drill(sql: &str) -> Result<()> {
    prove(setup().config(SETTINGS), async |usp| {
        let http = usp.admin().await?;
        let known = fill(&http, 1, 15, 300_000).await?;
        // Some is deleted, moved and doomed, so that packs hold what no row speaks of.
        for n in 0..8 {
            http.put(&format!("gone/{n}"), "application/octet-stream", bytes(100 + n, 300_000))
                .await?
                .must(201)?;
        }
        for n in 0..8 {
            http.delete(&file_path("default", &format!("gone/{n}"))).await?.must(204)?;
        }
        usp.cli().await?.verb(&["admin", "gc"]).await?.must_end_with(0)?;
        usp.kill()?;
        let conn = Connection::open(usp.data_dir().join("catalog.db"))?;
        conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;")?;
        conn.execute_batch(sql)?;
        drop(conn);
        let report = rebuild(usp, 0).await?;
        assert_eq!((&report["lost"], &report["unknown"]), (&Value::from(0), &Value::from(0)), "{report}");
        assert!(usp.data_dir().join("lost+found/catalog.db").exists(), "the old catalogue is kept");
        usp.start_again().await?;
        let http = usp.admin().await?;
        assert_whole(&http, &known).await?;
        fill(&http, 500, 3, 100_000).await?;
        let cli = usp.cli().await?;
        cli.verb(&["admin", "gc"]).await?.must_end_with(0)?;
        let checked = cli.verb(&["admin", "fsck", "--deep", "--json"]).await?;
        assert_eq!(checked.json()?[0]["grave"], false, "{}", checked.stdout);
        assert_whole(&http, &known).await
    })
    .await
}

async fn rebuild(usp: &Installation, code: i32) -> Result<Value> {
    let dir = usp.data_dir();
    let dir = dir.to_str().context("a path of text")?;
    let outcome =
        usp.offline(&["admin", "rebuild-index", "--data-dir", dir, "--json"]).await?.must_end_with(code)?;
    Ok(outcome.json()?.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_damaged_page_is_read_from_its_index() -> Result<()> {
    use std::os::unix::fs::FileExt;
    prove(setup().config(SETTINGS), async |usp| {
        let known = fill(&usp.admin().await?, 1, 12, 300_000).await?;
        usp.stop().await?;
        let path = usp.data_dir().join("catalog.db");
        let conn = Connection::open(&path)?;
        let page_bytes: u32 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let page_bytes = u64::from(page_bytes);
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'chunks' AND type = 'table'";
        let page: u32 = conn.query_row(sql, [], |row| row.get(0))?;
        drop(conn);
        let file = std::fs::File::options().write(true).open(&path)?;
        file.write_all_at(&vec![0x5a; usize::try_from(page_bytes)?], u64::from(page - 1) * page_bytes)?;
        drop(file);
        let report = rebuild(usp, 0).await?;
        assert_eq!((&report["lost"], &report["unknown"]), (&Value::from(0), &Value::from(0)), "{report}");
        usp.start_again().await?;
        assert_whole(&usp.admin().await?, &known).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_no_row_knows_are_counted_and_never_given_again() -> Result<()> {
    prove(setup().config(SETTINGS), async |usp| {
        let known = fill(&usp.admin().await?, 1, 6, 200_000).await?;
        usp.stop().await?;
        let conn = Connection::open(usp.data_dir().join("catalog.db"))?;
        conn.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM chunks; DELETE FROM sqlite_sequence;")?;
        let last: i64 = conn.query_row("SELECT count(*) FROM segments", [], |row| row.get(0))?;
        assert!(last > 0);
        drop(conn);
        let report = rebuild(usp, 74).await?;
        assert!(report["unknown"].as_u64() > Some(0) && report["added"].as_u64() > Some(0), "{report}");
        usp.start_again().await?;
        let http = usp.admin().await?;
        // Their numbers are lost; what is stored anew must not be taken for them.
        fill(&http, 900, 6, 200_000).await?;
        for key in known.keys() {
            let answer = http.get(&file_path("default", key)).await;
            assert!(
                answer.is_err() || answer.is_ok_and(|answer| answer.status == 500),
                "{key} cannot be read"
            );
        }
        // Uploaded again they cost nothing: the frames are there.
        let before = super::stats(&http).await?["totals"]["frame_bytes"].clone();
        let again = fill(&http, 1, 6, 200_000).await?;
        assert_eq!(super::stats(&http).await?["totals"]["frame_bytes"], before);
        assert_whole(&http, &again).await
    })
    .await
}
