//! Every byte is kept once.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;
use usp_testkit::generate::{csv, with_line_inserted};
use usp_testkit::{Http, file_path};

use crate::{everywhere, everywhere_with, say, setup};

async fn total(http: &Http, member: &str) -> Result<u64> {
    let stats = http.get("/api/v1/stats").await?.must(200)?.value()?;
    stats["totals"][member].as_u64().with_context(|| format!("no {member} in {stats}"))
}

async fn put(http: &Http, key: &str, content: &str) -> Result<u64> {
    let file = http.put(key, "application/octet-stream", content.to_owned()).await?.must(201)?.value()?;
    file["stored"]["bytes"].as_u64().context("no stored bytes")
}

#[tokio::test]
async fn ten_keys_with_one_content_cost_hardly_more_than_one() -> Result<()> {
    let content = csv(21, 60_000);
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let once = put(&http, "copy-0", &content).await?;
        assert!(once > 0);
        let mut all = once;
        for copy in 1..10 {
            all += put(&http, &format!("copy-{copy}"), &content).await?;
        }
        assert!(all as f64 <= once as f64 * 1.01, "{all} bytes for ten, {once} for one");
        let kept = total(&http, "frame_bytes").await?;
        assert!(kept as f64 <= once as f64 * 1.01, "{kept} bytes of frames, {once} for one");
        let list = http.get("/api/v1/buckets/default/files?prefix=copy-9").await?.must(200)?.value()?;
        assert_eq!(list["items"][0]["stored"]["deduplicated_bytes"], content.len());
        let copy = http.get(&file_path("default", "copy-9")).await?.must(200)?;
        assert!(copy.body == content.as_bytes());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_line_inserted_in_the_middle_adds_at_most_five_chunks() -> Result<()> {
    let content = csv(22, 130_000);
    everywhere(async |usp| {
        let http = usp.admin().await?;
        put(&http, "original", &content).await?;
        let before = total(&http, "chunks").await?;
        let line = "9999999,2026-01-01T00:00:00Z,Customer 00000,DE,1,1.00,true,inserted";
        let longer = with_line_inserted(&content, line);
        put(&http, "longer", &longer).await?;
        let added = total(&http, "chunks").await? - before;
        say(format_args!("one inserted line added {added} chunks to {before}"));
        assert!((1..=5).contains(&added), "{added}");
        let read = http.get(&file_path("default", "longer")).await?.must(200)?;
        assert!(read.body == longer.as_bytes());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn buckets_share_chunks_only_when_they_name_one_domain() -> Result<()> {
    let content = csv(23, 5_000);
    everywhere(async |usp| {
        let http = usp.admin().await?;
        for (name, domain) in [("apart", None), ("team-a", Some("team")), ("team-b", Some("team"))] {
            let bucket = json!({"name": name, "policy": {"dedup_domain": domain}});
            http.post("/api/v1/buckets", &bucket).await?.must(201)?;
        }
        let mut known = Vec::new();
        for bucket in ["default", "apart", "team-a", "team-b"] {
            let request = http.request(Method::PUT, &file_path(bucket, "a"));
            let file = http.send(request.body(content.clone())).await?.must(201)?.value()?;
            known.push(file["stored"]["deduplicated_bytes"].as_u64());
        }
        let all = Some(content.len() as u64);
        assert_eq!(known, [Some(0), Some(0), Some(0), all]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn deleted_content_leaves_the_disk_and_what_it_shared_stays() -> Result<()> {
    const SETTINGS: &str = "[storage]\ncollect_grace = \"0s\"\n[content]\npack_size_max = \"1MiB\"\n";
    let (shared, own) =
        (usp_testkit::generate::bytes(31, 2 << 20), usp_testkit::generate::bytes(32, 4 << 20));
    everywhere_with(setup().config(SETTINGS), async |usp| {
        let http = usp.admin().await?;
        let both = [shared.as_slice(), own.as_slice()].concat();
        for (key, content) in [("both", &both), ("kept", &shared)] {
            http.put(key, "application/octet-stream", content.clone()).await?.must(201)?;
        }
        let disk_bytes = async || {
            let stats = http.get("/api/v1/stats").await?.must(200)?.value()?;
            stats["disk_bytes"].as_u64().context("no disk_bytes")
        };
        let before = disk_bytes().await?;
        http.send(http.request(Method::DELETE, &file_path("default", "both"))).await?.must(204)?;
        let cli = usp.cli().await?;
        let looked = cli.verb(&["admin", "gc", "--dry-run", "--json"]).await?.must_end_with(0)?.json()?;
        assert!(looked[0]["swept_bytes"].as_u64().context("no swept_bytes")? > 3 << 20, "{looked:?}");
        assert_eq!(disk_bytes().await?, before);
        for _cycle in 0..4 {
            cli.verb(&["admin", "gc"]).await?.must_end_with(0)?;
        }
        let after = disk_bytes().await?;
        assert!(after + (3 << 20) < before, "{before} bytes became {after}");
        let kept = http.get(&file_path("default", "kept")).await?.must(200)?;
        assert!(kept.body == shared.as_slice());
        Ok(())
    })
    .await
}
