//! Everything that happens to a file can be seen, live and afterwards.

use anyhow::{Context, Result, ensure};
use usp_testkit::generate::{bytes, csv};
use usp_testkit::{Installation, ServerEvent};

use crate::{everywhere, text};

const READY: &str = "usp.file.ready";

fn kinds(events: &[ServerEvent]) -> Vec<&str> {
    events.iter().map(ServerEvent::kind).filter(|kind| !kind.ends_with(".progress")).collect()
}

fn kept(events: &[ServerEvent]) -> Vec<&ServerEvent> {
    events.iter().filter(|event| !event.kind().ends_with(".progress")).collect()
}

/// Watches a bucket while a table lands in it.
async fn watch_one(usp: &Installation) -> Result<(String, Vec<ServerEvent>)> {
    let http = usp.admin().await?;
    let mut events = http.events("/api/v1/events?bucket=default", None).await?;
    let file = http.put("orders.csv", "text/csv", csv(1, 20_000)).await?.must(201)?.value()?;
    Ok((text(&file, "id")?.to_owned(), events.through(READY).await?))
}

#[tokio::test]
async fn a_watcher_sees_a_file_from_its_bytes_through_each_step_to_ready() -> Result<()> {
    everywhere(async |usp| {
        let (id, events) = watch_one(usp).await?;
        for event in &events {
            assert_eq!(event.data["specversion"], "1.0");
            assert_eq!(event.data["subject"], id, "{event:?}");
            assert_eq!(event.data["data"]["bucket"], "default");
            for member in ["id", "source", "time", "type"] {
                assert!(event.data[member].is_string(), "no {member} in {event:?}");
            }
        }
        let found = kinds(&events);
        let place = |kind: &str| {
            found.iter().position(|found| *found == kind).with_context(|| format!("no {kind} in {found:?}"))
        };
        let order = ["usp.file.stored", "usp.file.processing", "usp.run.started", "usp.run.succeeded", READY];
        let places = order.iter().map(|kind| place(kind)).collect::<Result<Vec<_>>>()?;
        assert!(places[0] < places[1] && places[0] < places[2], "{found:?}");
        assert!(places[2] < places[3] && places[3] <= places[4], "{found:?}");
        assert!(place("usp.run.queued")? < places[2], "{found:?}");
        let progress = events.iter().filter(|event| event.kind() == "usp.run.progress");
        let progress: String = progress.map(|event| event.data.to_string()).collect();
        assert!(progress.contains("sniff") && progress.contains("profile"), "{events:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_lost_its_connection_misses_nothing() -> Result<()> {
    everywhere(async |usp| {
        let (id, events) = watch_one(usp).await?;
        let http = usp.admin().await?;
        let seen = kept(&events);
        let first_id = seen[0].id.clone().context("a kept event has no id")?;
        let mut replay = http.events("/api/v1/events?bucket=default", Some(&first_id)).await?;
        let again = replay.through(READY).await?;
        assert_eq!(kept(&again), seen[1..]);

        let mut of_file = http.events(&format!("/api/v1/files/{id}/events"), Some("0")).await?;
        let of_file = of_file.through(READY).await?;
        let (of_file, all) = (kept(&of_file), kept(&events));
        assert!(of_file.ends_with(&all), "{of_file:#?}\n{all:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_watcher_sees_only_buckets_that_it_may_read() -> Result<()> {
    everywhere(async |usp| {
        let admin = usp.admin().await?;
        admin.post("/api/v1/buckets", &serde_json::json!({"name": "secret"})).await?.must(201)?;
        let eve = usp.caller(&["--user", "eve", "--role", "reader", "--bucket", "default"]).await?;
        let mut events = eve.events("/api/v1/events", None).await?;
        let put = admin.request(reqwest::Method::PUT, &usp_testkit::file_path("secret", "a.bin"));
        admin.send(put.body(bytes(1, 100))).await?.must(201)?;
        let file = admin.put("b.bin", "application/octet-stream", bytes(2, 100)).await?.must(201)?.value()?;
        for event in events.through(READY).await? {
            assert_eq!(event.data["subject"], file["id"], "{event:?}");
        }
        eve.get("/api/v1/events?bucket=secret").await?.problem(404, "not_found")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn status_shows_received_bytes_and_every_step() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let table = csv(1, 100);
        let file = http.put("orders.csv", "text/csv", table.clone()).await?.must(201)?.value()?;
        http.wait_ready(text(&file, "id")?).await?;
        let status =
            http.get(&format!("/api/v1/files/{}/status", text(&file, "id")?)).await?.must(200)?.value()?;
        assert_eq!(status["state"], "ready");
        assert_eq!(status["upload"]["received"], table.len());
        assert_eq!(status["upload"]["size"], table.len());
        let run = &status["runs"][0];
        assert_eq!((&run["rule"], &run["state"]), (&"profile".into(), &"succeeded".into()), "{status}");
        let steps = run["steps"].as_array().context("no steps")?;
        assert_eq!(steps.len(), 2);
        for (step, name) in steps.iter().zip(["sniff", "profile"]) {
            assert_eq!(step["name"], name);
            assert_eq!(step["state"], "succeeded");
            assert_eq!(step["percent"], 100);
            ensure!(step["attempt"] == 1, "an attempt failed: {status}");
            assert!(step["started_at"].is_string() && step["ended_at"].is_string(), "{step}");
        }
        Ok(())
    })
    .await
}
