//! What is exported is what the documentation and the dashboard say.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use usp_testkit::{PATIENCE, Topology, until};

use crate::{alone, prove, setup, text};

const DOCUMENTED: &str = include_str!("../../../../docs/METRICS.md");
const DASHBOARD: &str = include_str!("../../../../deploy/grafana/usp.json");

/// The names that an OpenMetrics text declares, as queries write them.
fn exported(text: &str) -> BTreeSet<String> {
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = declared.filter_map(|line| line.split_once(' ')).map(|(name, kind)| match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    });
    names.collect()
}

fn documented() -> BTreeSet<String> {
    let rows = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_exported() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let file = http.put("a.txt", "text/plain", "some text").await?.must(201)?.value()?;
        http.wait_ready(text(&file, "id")?).await?;
        http.get(&usp_testkit::file_path("default", "absent")).await?.must(404)?;
        let metrics = http.get("/metrics").await?.must(200)?.text();
        let (exported, documented) = (exported(&metrics), documented());
        let unknown: Vec<_> = exported.difference(&documented).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "exported, and not documented");
        // A family with labels shows from its first sample on.
        let unseen: Vec<_> = documented.difference(&exported).collect();
        assert_eq!(unseen, ["usp_gateway_rate_limited_total", "usp_gateway_refused_connections_total"]);
        assert!(metrics.contains("usp_storage_uploads_total 1\n"), "{metrics}");
        Ok(())
    })
    .await
}

#[test]
fn the_dashboard_asks_for_documented_metrics_and_for_all_of_storage_and_processors() -> Result<()> {
    let board: serde_json::Value = serde_json::from_str(DASHBOARD)?;
    let documented = documented();
    let mut asked = BTreeSet::new();
    for panel in board["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().context("no targets")? {
            let expression = text(target, "expr")?;
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.starts_with("usp_")) {
                let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
                let name = name.filter(|name| documented.contains(*name)).unwrap_or(word);
                assert!(documented.contains(name), "{name} of '{expression}' is not documented");
                asked.insert(name.to_owned());
            }
        }
    }
    let missing: Vec<_> =
        documented.iter().filter(|name| !asked.contains(*name) && *name != "usp_build_info").collect();
    assert_eq!(missing, Vec::<&String>::new());
    Ok(())
}

#[tokio::test]
async fn roles_without_a_gateway_show_their_metrics_on_a_listener_of_their_own() -> Result<()> {
    let config = "[metrics]\nlisten = \"127.0.0.1:0\"\n";
    prove(setup().topology(Topology::FourProcesses).config(config), async |usp| {
        let http = usp.admin().await?;
        let file = http.put("a.txt", "text/plain", "some text").await?.must(201)?.value()?;
        http.wait_ready(text(&file, "id")?).await?;
        for (server, expected) in
            [("storage", "usp_storage_uploads_total 1"), ("processor-1", "usp_processor_busy_slots")]
        {
            let url = format!("http://{}/metrics", usp.server(server)?.address("metrics")?);
            until("the metrics to say so", PATIENCE, async || {
                let metrics = reqwest::get(&url).await?.text().await?;
                Ok(metrics.contains(expected).then_some(()))
            })
            .await
            .with_context(|| server.to_owned())?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_trace_of_an_upload_goes_with_its_runs_into_events() -> Result<()> {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    crate::everywhere(async |usp| {
        let http = usp.admin().await?;
        let request = http.request(reqwest::Method::PUT, &usp_testkit::file_path("default", "a.txt"));
        let file =
            http.send(request.header("traceparent", TRACE).body("some text")).await?.must(201)?.value()?;
        let id = text(&file, "id")?;
        http.wait_ready(id).await?;
        let mut events = http.events("/api/v1/events?after=0", None).await?;
        let seen = events.through("usp.run.succeeded").await?;
        let run_events: Vec<_> = seen.iter().filter(|event| event.kind().starts_with("usp.run.")).collect();
        assert!(run_events.len() >= 3, "{seen:#?}");
        let kept = run_events.iter().filter(|event| event.kind() != "usp.run.progress");
        for event in kept {
            assert_eq!(event.data["traceparent"], TRACE, "{event:?}");
        }
        Ok(())
    })
    .await
}
