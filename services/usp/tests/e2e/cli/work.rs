//! Processing, seen and steered from the command line.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use usp_testkit::PATIENCE;
use usp_testkit::generate::csv;

use crate::{everywhere, everywhere_with, setup, text};

const STRICT_RULE: &str = "\
name: strict
when: file.key.startsWith('strict/')
steps:
  - name: check
    uses: validate
    with:
      columns:
        - {name: order_id, type: integer}
retry: {attempts_max: 1}
";
const BAD: &[u8] = b"order_id\nx\n";

#[tokio::test]
async fn waiting_for_a_file_that_breaks_its_rule_ends_with_seven() -> Result<()> {
    everywhere_with(setup().rule("strict", STRICT_RULE), async |usp| {
        let cli = usp.cli().await?;
        let put = ["put", "-", "usp://default/strict/bad.csv", "--wait", "--json"];
        let put = cli.verb_with_input(&put, BAD).await?.must_end_with(7)?;
        let file = put.json_items()?.pop().context("nothing printed")?;
        assert_eq!(file["state"], "failed", "{file}");
        let id = text(&file, "id")?;
        let status =
            cli.verb(&["status", id, "--json"]).await?.must_end_with(0)?.json()?.pop().context("nothing")?;
        assert_eq!(status["state"], "failed");
        let failed = &status["runs"].as_array().context("no runs")?;
        assert!(failed.iter().any(|run| run["rule"] == "strict" && run["state"] == "dead"), "{status}");
        let dead = cli.verb(&["runs", "--state", "dead", "--json"]).await?.must_end_with(0)?.json_items()?;
        assert_eq!(dead.len(), 1);
        let run_id = text(&dead[0], "run_id")?;
        cli.verb(&["cancel", run_id]).await?.must_end_with(5)?;
        cli.verb(&["retry", run_id]).await?.must_end_with(0)?;
        let by_name = ["put", "-", "usp://default/elsewhere.csv", "--rule", "strict", "--wait"];
        cli.verb_with_input(&by_name, BAD).await?.must_end_with(7)?;
        cli.verb_with_input(&["put", "-", "usp://default/other.csv", "--wait"], BAD)
            .await?
            .must_end_with(0)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn watch_shows_each_step_as_it_happens() -> Result<()> {
    everywhere(async |usp| {
        let cli = usp.cli().await?;
        let mut watch = cli.start(&["watch", "usp://default", "--json"])?;
        let stdout = watch.stdout.take().context("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        // What is put before the watch is connected may go unseen: put until the first line comes.
        let mut first = None;
        for _ in 0..600 {
            cli.verb_with_input(&["put", "-", "usp://default/first.bin"], b"\0x").await?.must_end_with(0)?;
            if let Ok(line) = tokio::time::timeout(Duration::from_millis(100), lines.next_line()).await {
                first = line?;
                break;
            }
        }
        first.context("watch shows nothing")?;
        let table = csv(43, 20_000);
        let put = ["put", "-", "usp://default/orders.csv", "--wait", "--json"];
        let put = cli.verb_with_input(&put, table.as_bytes()).await?.must_end_with(0)?.json_items()?;
        let id = text(put.first().context("nothing printed")?, "id")?.to_owned();
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line: &String| !(line.contains(&id) && line.contains("usp.file.ready")))
        {
            let line = tokio::time::timeout(PATIENCE, lines.next_line())
                .await
                .with_context(|| format!("{seen:#?}"))??;
            seen.push(line.context("watch ended")?);
        }
        let seen = seen.join("\n");
        for word in ["usp.file.stored", "usp.run.started", "sniff", "profile", "usp.run.succeeded"] {
            assert!(seen.contains(word), "no {word} in\n{seen}");
        }
        let ended = cli.verb(&["watch", &id]).await?.must_end_with(0)?;
        assert!(ended.stdout.contains("ready"), "{}", ended.stdout);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rules_are_listed_shown_and_tried() -> Result<()> {
    everywhere_with(setup().rule("strict", STRICT_RULE), async |usp| {
        let cli = usp.cli().await?;
        let rules = cli.verb(&["rules", "ls", "--json"]).await?.must_end_with(0)?.json_items()?;
        let names: Vec<&str> = rules.iter().filter_map(|rule| rule["name"].as_str()).collect();
        assert_eq!(names, ["profile", "strict"]);
        let put = ["put", "-", "usp://default/strict/a.csv", "--json"];
        let put = cli.verb_with_input(&put, b"order_id\n1\n").await?.must_end_with(0)?.json_items()?;
        let id = text(put.first().context("nothing printed")?, "id")?;
        let test = cli.verb(&["rules", "test", "strict", id, "--json"]).await?.must_end_with(0)?;
        assert_eq!(test.json()?.first().context("nothing printed")?["matches"], true);
        cli.verb(&["rules", "test", "absent", id]).await?.must_end_with(3)?;
        Ok(())
    })
    .await
}
