//! Server-sent events.

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;

use crate::Http;
use crate::wait::PATIENCE;

/// One event: its id, if it is kept, and the CloudEvent that it carries.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEvent {
    pub id: Option<String>,
    pub data: Value,
}

impl ServerEvent {
    /// The CloudEvents `type`.
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }
}

/// An open stream of events.
pub struct Events {
    pieces: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Http {
    /// Opens a stream of events; it is open when this returns.
    pub async fn events(&self, path: &str, last_event_id: Option<&str>) -> Result<Events> {
        let mut request = self.request(reqwest::Method::GET, path).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await?;
        let status = answer.status();
        ensure!(status == 200, "{path} answered {status}: {}", answer.text().await.unwrap_or_default());
        let media_type = answer.headers().get("content-type").map(|value| value.as_bytes().to_vec());
        let is_stream = media_type.is_some_and(|media_type| media_type.starts_with(b"text/event-stream"));
        ensure!(is_stream, "{path} is no stream of events");
        Ok(Events { pieces: answer.bytes_stream().boxed(), buffer: Vec::new() })
    }
}

impl Events {
    /// The next event; comments are passed over.
    pub async fn next(&mut self) -> Result<ServerEvent> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8(block)?)? {
                    return Ok(event);
                }
            }
            let piece = tokio::time::timeout(PATIENCE, self.pieces.next()).await.context("no event comes")?;
            let piece = piece.context("the stream of events ended")??;
            self.buffer.extend(piece.iter().filter(|byte| **byte != b'\r'));
        }
    }

    /// All events up to the first of this kind, that one included.
    pub async fn through(&mut self, kind: &str) -> Result<Vec<ServerEvent>> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.with_context(|| format!("waiting for {kind} after {events:#?}"))?;
            let is_last = event.kind() == kind;
            events.push(event);
            if is_last {
                return Ok(events);
            }
        }
    }
}

fn parse(block: &str) -> Result<Option<ServerEvent>> {
    let field = |name: &str| {
        let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let values: Vec<&str> = values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
        (!values.is_empty()).then(|| values.join("\n"))
    };
    let Some(data) = field("data") else { return Ok(None) };
    let data = serde_json::from_str(&data).with_context(|| format!("no JSON in {block}"))?;
    Ok(Some(ServerEvent { id: field("id"), data }))
}
