//! Rules that are written over the API.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::{alone, everywhere, everywhere_with, setup, text};

const RULES: &str = "/api/v1/rules";

#[tokio::test]
async fn a_rule_that_is_written_counts_at_once_and_after_a_restart() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let rule = json!({
            "when": "file.key.startsWith('scans/')",
            "steps": [{"name": "sum", "uses": "digest", "with": {"algorithms": ["md5"]}}],
        });
        let path = format!("{RULES}/scans");
        let made = http.json(Method::PUT, &path, &rule).await?.must(201)?.value()?;
        assert_eq!(
            (&made["name"], &made["version"], &made["timeout_s"]),
            (&json!("scans"), &json!(1), &json!(3600))
        );
        usp.kill()?;
        usp.start_again().await?;
        let http = usp.admin().await?;
        let put =
            http.put("scans/a.bin", "application/octet-stream", "a scan\0").await?.must(201)?.value()?;
        let file = http.wait_ready(text(&put, "id")?).await?;
        assert!(file["reports"]["sum"].is_object(), "{file}");
        // What is shown can be sent back, and means the same.
        let shown = http.get(&path).await?.must(200)?.value()?;
        assert_eq!(http.json(Method::PUT, &path, &shown).await?.must(200)?.value()?, made);
        http.send(http.request(Method::DELETE, &path)).await?.must(204)?;
        let put =
            http.put("scans/b.bin", "application/octet-stream", "another\0").await?.must(201)?.value()?;
        assert_eq!((&put["state"], &put["reports"]), (&json!("ready"), &json!({})));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rule_that_cannot_be_is_refused_with_a_pointer() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let path = format!("{RULES}/wrong");
        let step = json!({"name": "a", "uses": "sniff"});
        for (rule, pointer) in [
            (json!({"name": "other", "steps": [step]}), "/name"),
            (json!({"steps": [step], "when": "file.size >"}), "/when"),
            (json!({"steps": []}), "/steps"),
            (json!({"steps": [{"name": "a", "uses": "magic"}]}), "/steps/0/uses"),
            (json!({"steps": [{"name": "a", "uses": "sniff", "with": {"depth": 3}}]}), "/steps/0/with/depth"),
            (json!({"steps": [step], "timeout": 5}), "/timeout"),
            (json!({"steps": [step], "retry": {"attempts_max": 0}}), "/retry/attempts_max"),
        ] {
            let refused = http.json(Method::PUT, &path, &rule).await?;
            let problem = refused.problem(400, "invalid_input")?;
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        }
        http.get(&path).await?.problem(404, "not_found")?;
        let writer = usp.caller(&["--user", "wri", "--role", "writer"]).await?;
        writer.json(Method::PUT, &path, &json!({"steps": [step]})).await?.problem(403, "denied")?;
        writer
            .send(writer.request(Method::DELETE, &format!("{RULES}/profile")))
            .await?
            .problem(403, "denied")?;
        let built_in = http.send(http.request(Method::DELETE, &format!("{RULES}/profile"))).await?;
        built_in.problem(409, "conflict")?;
        Ok(())
    })
    .await
}

const FILE_RULE: &str = "name: kept\nwhen: file.extension == 'kept'\nsteps: [{name: sniff, uses: sniff}]\n";

#[tokio::test]
async fn the_command_line_applies_shows_and_deletes_rules() -> Result<()> {
    everywhere_with(setup().rule("kept", FILE_RULE), async |usp| {
        let cli = usp.cli().await?;
        let yaml = "name: one\nsteps: [{name: sniff, uses: sniff}]\n---\nname: two\nsteps: [{name: d, uses: digest}]\n";
        let applied = cli.verb_with_input(&["rules", "apply", "-"], yaml.as_bytes()).await?.must_end_with(0)?;
        assert!(applied.stdout.contains("one is version 1\ntwo is version 1"), "{}", applied.stdout);
        let shown = cli.verb(&["rules", "get", "one"]).await?.must_end_with(0)?.stdout;
        let again = cli.verb_with_input(&["rules", "apply", "-", "--json"], shown.as_bytes()).await?;
        assert_eq!(again.must_end_with(0)?.json_items()?[0]["version"], 1);
        cli.verb(&["rules", "rm", "one"]).await?.must_end_with(0)?;
        cli.verb(&["rules", "rm", "one"]).await?.must_end_with(3)?;
        let in_file = cli.verb_with_input(&["rules", "apply", "-"], FILE_RULE.as_bytes()).await?.must_end_with(5)?;
        assert!(in_file.stderr.contains("rules directory"), "{}", in_file.stderr);
        let wrong = cli.verb_with_input(&["rules", "apply", "-"], b"name: three\n").await?;
        assert!(wrong.must_end_with(2)?.stderr.contains("steps"));
        let listed = cli.verb(&["rules", "ls", "--json"]).await?.must_end_with(0)?.json_items()?;
        let names: Vec<&str> = listed.iter().filter_map(|rule| rule["name"].as_str()).collect();
        assert_eq!(names, ["kept", "profile", "two"]);
        Ok(())
    })
    .await
}
