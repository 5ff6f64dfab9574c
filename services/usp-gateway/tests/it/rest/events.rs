//! Server-sent events: framing, where a stream begins, and when it ends.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use usp_gateway::GatewayConfig;

use super::{ADMIN, Rest, refused};

/// Reads messages as an `EventSource` does.
struct Messages {
    stream: BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Message {
    id: Option<String>,
    data: Value,
}

impl Messages {
    async fn open(rest: &Rest, path: &str, headers: &[&str]) -> Self {
        let response = rest.open(&format!("GET {path}"), &[&[ADMIN], headers].concat(), Body::empty()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next block, up to its empty line; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let piece = self.stream.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    async fn message(&mut self) -> Message {
        loop {
            let block = self.block().await.unwrap();
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(|value| value.trim_start().to_owned())
            };
            if let Some(data) = field("data:") {
                return Message { id: field("id:"), data: serde_json::from_str(&data).unwrap() };
            }
        }
    }
}

#[tokio::test]
async fn a_stream_begins_with_what_happens_next() {
    let rest = Rest::new();
    rest.stored("before", "text/plain", "x").await;
    let mut messages = Messages::open(&rest, "/api/v1/events?bucket=default", &[]).await;
    assert_eq!(messages.block().await.unwrap(), ": open\nretry: 2000");
    let file = rest.stored("after", "text/plain", "x").await;
    let message = messages.message().await;
    assert_eq!(message.id.as_deref(), Some("2"));
    assert_eq!(
        message.data,
        json!({
            "specversion": "1.0", "id": "2", "source": "urn:usp", "type": "usp.file.stored",
            "subject": file["id"], "time": "2026-11-18T11:06:40.007Z", "datacontenttype": "application/json",
            "data": {
                "bucket": "default", "key": "after", "version": 1, "size": 1, "media_type": "text/plain",
                "state": file["state"], "released": true,
            },
        })
    );
}

#[tokio::test]
async fn what_was_kept_since_the_last_event_is_told_again() {
    let rest = Rest::new();
    for key in ["one", "two", "three"] {
        rest.stored(key, "text/plain", "x").await;
    }
    for (path, headers) in [
        ("/api/v1/events", &["last-event-id: 1"][..]),
        ("/api/v1/events?after=1", &[]),
        ("/api/v1/events?after=3", &["last-event-id: 1"]),
    ] {
        let mut messages = Messages::open(&rest, path, headers).await;
        let ids = [messages.message().await.id, messages.message().await.id];
        assert_eq!(ids, [Some("2".to_owned()), Some("3".to_owned())], "{path} {headers:?}");
    }
    for id in ["-1", "x", "1.5"] {
        let answer =
            rest.ask("GET /api/v1/events", &[ADMIN, &format!("last-event-id: {id}")], Body::empty()).await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"), "{id}");
    }
}

#[tokio::test]
async fn a_stream_of_one_file_holds_only_its_events() {
    let rest = Rest::new();
    let one = rest.stored("one", "text/plain", "x").await;
    rest.stored("two", "text/plain", "x").await;
    let id = one["id"].as_str().unwrap();
    let mut messages = Messages::open(&rest, &format!("/api/v1/files/{id}/events?after=0"), &[]).await;
    assert_eq!(messages.message().await.data["type"], "usp.file.stored");
    rest.ask(&format!("DELETE /api/v1/files/{id}"), &[ADMIN], Body::empty()).await;
    let last = messages.message().await;
    assert_eq!((&last.data["type"], &last.data["subject"]), (&json!("usp.file.deleted"), &json!(id)));
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_comment_every_15_seconds() {
    let rest = Rest::new();
    let mut messages = Messages::open(&rest, "/api/v1/events", &[]).await;
    messages.block().await.unwrap();
    let begun = Instant::now();
    assert_eq!(messages.block().await.unwrap(), ":");
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_within_five_seconds_after_its_credential() {
    let config = GatewayConfig { credential_cache: Duration::ZERO, ..GatewayConfig::default() };
    let rest = Rest::with(config);
    let mut messages = Messages::open(&rest, "/api/v1/events", &[]).await;
    messages.block().await.unwrap();
    rest.storage.revoke("admin");
    let begun = Instant::now();
    assert_eq!(messages.block().await, None);
    assert!(begun.elapsed() <= Duration::from_secs(5));
}

#[tokio::test]
async fn a_stop_ends_streams_that_are_open() {
    let rest = Rest::new();
    let mut messages = Messages::open(&rest, "/api/v1/events", &[]).await;
    messages.block().await.unwrap();
    rest.gateway.end_streams();
    assert_eq!(messages.block().await, None);
}
