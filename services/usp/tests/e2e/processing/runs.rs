//! From rule to run to report.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use usp_testkit::generate::{bytes, ndjson};
use usp_testkit::{Http, PATIENCE, file_path, until};

use super::ORDERS_RULE;
use crate::{everywhere, everywhere_with, prove, setup, text};

const GOOD: &str = "order_id,name\n1,a\n2,b\n";
const BAD: &str = "order_id,name\n1,a\nx,b\n";

async fn put_order(http: &Http, key: &str, body: &'static str) -> Result<Value> {
    http.put(key, "text/csv", body).await?.must(201)?.value()
}

#[tokio::test]
async fn lines_of_json_and_text_are_profiled_without_any_setup() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let lines =
            http.put("e.ndjson", "application/x-ndjson", ndjson(1, 2_000)).await?.must(201)?.value()?;
        let prose = "It was the best of times, it was the worst of times.\n".repeat(10);
        let prose = http.put("a.txt", "text/plain", prose).await?.must(201)?.value()?;
        let document = r#"{"name": "usp", "list": [1, 2, {"deep": null}]}"#;
        let document = http.put("d.json", "application/json", document).await?.must(201)?.value()?;
        let lines = http.wait_ready(text(&lines, "id")?).await?;
        assert_eq!(lines["reports"]["profile"]["valid_lines"], 2_000, "{lines}");
        let prose = http.wait_ready(text(&prose, "id")?).await?;
        assert_eq!(prose["reports"]["profile"]["lines"], 10);
        assert_eq!(prose["reports"]["profile"]["words"], 120);
        assert_eq!(prose["reports"]["sniff"]["language"], "eng", "{prose}");
        let document = http.wait_ready(text(&document, "id")?).await?;
        assert_eq!(document["reports"]["profile"]["valid"], true);
        assert_eq!(document["reports"]["profile"]["depth_max"], 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_that_breaks_its_rule_fails_says_where_and_can_be_tried_again() -> Result<()> {
    everywhere_with(setup().rule("orders", ORDERS_RULE), async |usp| {
        let http = usp.admin().await?;
        let good = put_order(&http, "orders/good.csv", GOOD).await?;
        http.wait_ready(text(&good, "id")?).await?;
        let bad = put_order(&http, "orders/bad.csv", BAD).await?;
        let id = text(&bad, "id")?;
        let failed = http.wait_final(id).await?;
        assert_eq!(failed["state"], "failed");
        let error = &failed["reports"]["check"]["errors"][0];
        assert_eq!((&error["row"], &error["column"]), (&2.into(), &"order_id".into()), "{failed}");

        let dead = http.wait_run(id, "dead", PATIENCE).await?;
        assert_eq!((&dead["attempt"], &dead["attempts_max"]), (&1.into(), &1.into()), "{dead}");
        assert!(dead["error"].is_string(), "{dead}");
        let listed = http.get("/api/v1/runs?state=dead").await?.must(200)?.value()?;
        assert_eq!(listed["items"][0]["run_id"], dead["run_id"]);
        let path = format!("/api/v1/runs/{}", text(&dead, "run_id")?);
        assert_eq!(http.get(&path).await?.must(200)?.value()?["state"], "dead");

        let mut events = http.events(&format!("/api/v1/files/{id}/events"), None).await?;
        let retried = http.send(http.request(Method::POST, &format!("{path}/retry"))).await?;
        assert!(retried.status == 200 || retried.status == 202, "{}", retried.text());
        let seen = events.through("usp.file.failed").await?;
        assert!(seen.iter().any(|event| event.kind() == "usp.file.processing"), "{seen:#?}");

        // A new version that keeps the rule mends the file.
        http.put("orders/bad.csv", "text/csv", GOOD).await?.must(200)?;
        http.wait_ready(id).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_run_waits_for_a_worker_survives_a_restart_and_can_be_cancelled() -> Result<()> {
    let without_processor = setup().rule("orders", ORDERS_RULE).roles("gateway,storage");
    prove(without_processor, async |usp| {
        let http = usp.admin().await?;
        let kept = put_order(&http, "orders/kept.csv", GOOD).await?;
        let dropped = put_order(&http, "orders/dropped.csv", GOOD).await?;
        for file in [&kept, &dropped] {
            http.wait_run(text(file, "id")?, "queued", PATIENCE).await?;
        }
        let runs =
            http.get(&format!("/api/v1/files/{}/runs", text(&dropped, "id")?)).await?.must(200)?.value()?;
        for run in runs["items"].as_array().into_iter().flatten() {
            let path = format!("/api/v1/runs/{}/cancel", text(run, "run_id")?);
            let cancelled = http.send(http.request(Method::POST, &path)).await?;
            assert!(cancelled.status == 200 || cancelled.status == 202, "{}", cancelled.text());
            http.send(http.request(Method::POST, &path)).await?.problem(409, "conflict")?;
        }
        http.wait_run(text(&dropped, "id")?, "cancelled", PATIENCE).await?;

        usp.kill()?;
        usp.set_roles(None);
        usp.start_again().await?;
        let http = usp.admin().await?;
        http.wait_ready(text(&kept, "id")?).await?;
        let runs =
            http.get(&format!("/api/v1/files/{}/runs", text(&dropped, "id")?)).await?.must(200)?.value()?;
        assert!(
            runs["items"].as_array().is_some_and(|runs| runs.iter().all(|run| run["state"] == "cancelled"))
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_rule_can_be_asked_for_by_name_and_tried_without_effect() -> Result<()> {
    everywhere_with(setup().rule("orders", ORDERS_RULE), async |usp| {
        let http = usp.admin().await?;
        let file = put_order(&http, "elsewhere.csv", BAD).await?;
        let id = text(&file, "id")?;
        http.wait_ready(id).await?;
        let rules = http.get("/api/v1/rules").await?.must(200)?.value()?;
        let names: Vec<&Value> =
            rules["items"].as_array().into_iter().flatten().map(|rule| &rule["name"]).collect();
        assert_eq!(names, ["orders", "profile"]);
        assert_eq!(http.get("/api/v1/rules/orders").await?.must(200)?.value()?["retry"]["attempts_max"], 1);
        http.get("/api/v1/rules/absent").await?.problem(404, "not_found")?;
        let test =
            http.post("/api/v1/rules/orders/test", &json!({"file_id": id})).await?.must(200)?.value()?;
        assert_eq!(test["matches"], false, "{test}");

        let runs = format!("/api/v1/files/{id}/runs");
        http.post(&runs, &json!({"rule": "absent"})).await?.problem(404, "not_found")?;
        let run = http.post(&runs, &json!({"rule": "orders"})).await?.must(202)?.value()?;
        assert_eq!((&run["rule"], &run["file_id"]), (&"orders".into(), &file["id"]));
        until("the file to fail", PATIENCE, async || {
            let file = http.get(&format!("/api/v1/files/{id}")).await?.must(200)?.value()?;
            Ok((file["state"] == "failed").then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_file_of_a_quarantining_bucket_is_hidden_from_readers_until_its_runs_succeeded() -> Result<()> {
    everywhere_with(setup().rule("orders", ORDERS_RULE), async |usp| {
        let admin = usp.admin().await?;
        let bucket = json!({"name": "inbox", "policy": {"release": "after_success"}});
        admin.post("/api/v1/buckets", &bucket).await?.must(201)?;
        let reader = usp.caller(&["--user", "rita", "--role", "reader", "--bucket", "inbox"]).await?;
        let put = async |key: &str, body: &'static str| {
            let request =
                admin.request(Method::PUT, &file_path("inbox", key)).header("content-type", "text/csv");
            admin.send(request.body(body)).await?.must(201)?.value()
        };
        let good = put("orders/good.csv", GOOD).await?;
        admin.wait_ready(text(&good, "id")?).await?;
        assert_eq!(reader.get(&file_path("inbox", "orders/good.csv")).await?.must(200)?.text(), GOOD);

        let bad = put("orders/bad.csv", BAD).await?;
        admin.wait_final(text(&bad, "id")?).await?;
        reader.get(&file_path("inbox", "orders/bad.csv")).await?.problem(404, "not_found")?;
        reader.get(&format!("/api/v1/files/{}", text(&bad, "id")?)).await?.problem(404, "not_found")?;
        let list = reader.get("/api/v1/buckets/inbox/files").await?.must(200)?.value()?;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
        admin.get(&file_path("inbox", "orders/bad.csv")).await?.must(200)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_processors_share_two_hundred_files() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let put = async |n: u32| http.put(&format!("{n}.txt"), "text/plain", format!("file {n}\n")).await;
        let puts = (0..200).map(put);
        let mut ids = Vec::new();
        for answer in futures::future::join_all(puts).await {
            ids.push(text(&answer?.must(201)?.value()?, "id")?.to_owned());
        }
        for id in &ids {
            let file = http.wait_ready(id).await?;
            assert_eq!(file["reports"]["profile"]["lines"], 1);
        }
        let runs = http.get("/api/v1/runs?limit=1000").await?.must(200)?.value()?;
        assert_eq!(runs["items"].as_array().map(Vec::len), Some(200), "one run for each file");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_that_is_deleted_while_it_is_processed_leaves_no_run_behind() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let file = http.put("gone.txt", "text/plain", "words ".repeat(100_000)).await?.must(201)?.value()?;
        http.delete(&format!("/api/v1/files/{}", text(&file, "id")?)).await?.must(204)?;
        until("all runs to end", Duration::from_secs(60), async || {
            let stats = http.get("/api/v1/stats").await?.must(200)?.value()?;
            Ok((stats["totals"]["runs_waiting"] == 0).then_some(()))
        })
        .await?;
        // The workers go on.
        let next =
            http.put("next.bin", "application/octet-stream", bytes(1, 10)).await?.must(201)?.value()?;
        http.wait_ready(text(&next, "id")?).await?;
        Ok(())
    })
    .await
}
