//! A catalogue that fails ends the process with 74, and the next start copies it whole before it goes on.

use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use rusqlite::Connection;
use usp_testkit::{PATIENCE, until};

use super::{assert_whole, fill};
use crate::alone;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_stops_the_server_and_the_next_start_recovers_by_copy_or_says_why_not() -> Result<()> {
    alone(async |usp| {
        let known = fill(&usp.admin().await?, 1, 6, 50_000).await?;
        usp.stop().await?;
        let path = usp.data_dir().join("catalog.db");
        // The page where the labels of files stand: a start does not look at it, a file with labels does.
        let conn = Connection::open(&path)?;
        let page_bytes: u32 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let page_bytes = u64::from(page_bytes);
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'tags'";
        let page: u32 = conn.query_row(sql, [], |row| row.get(0))?;
        drop(conn);
        let file = std::fs::File::options().read(true).write(true).open(&path)?;
        let at = u64::from(page - 1) * page_bytes;
        let mut sound = vec![0; usize::try_from(page_bytes)?];
        file.read_exact_at(&mut sound, at)?;
        file.write_all_at(&vec![0x5a; sound.len()], at)?;

        usp.start_again().await?;
        let http = usp.admin().await?;
        let request = http.request(reqwest::Method::PUT, "/api/v1/buckets/default/files/labelled");
        // The server may end before it answers.
        let _unanswered = http.send(request.header("x-usp-label-a", "b").body("content")).await;
        until("the server to end", PATIENCE, async || Ok(usp.servers_mut()[0].has_ended()?.then_some(())))
            .await
            .context("a put that must touch the damaged page")?;
        assert_eq!(usp.servers_mut()[0].ended().await?.code(), Some(74));
        usp.kill()?;
        assert!(usp.data_dir().join("catalog.fault").exists(), "it leaves its mark");

        let refused = usp.start_refused().await?.must_end_with(74)?;
        assert!(refused.stderr.contains("Nothing was changed"), "{}", refused.stderr);
        assert!(refused.stderr.contains("usp admin restore"), "{}", refused.stderr);

        // The disk is mended: the mark is still there, so the catalogue is copied before it is used.
        let file = std::fs::File::options().write(true).open(&path)?;
        file.write_all_at(&sound, at)?;
        usp.start_again().await?;
        assert!(!usp.data_dir().join("catalog.fault").exists());
        assert!(usp.data_dir().join("lost+found/catalog.db").exists(), "the old file is kept");
        assert_whole(&usp.admin().await?, &known).await?;
        fill(&usp.admin().await?, 50, 3, 10_000).await?;
        Ok(())
    })
    .await
}
