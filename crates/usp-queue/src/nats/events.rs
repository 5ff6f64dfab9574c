//! The log of events on the broker. Each message names the one before it, so that none can be left out.

use async_nats::jetstream::message::PublishMessage;
use async_trait::async_trait;
use parking_lot::Mutex;
use usp_model::{Error, ErrorKind, EventSeq, Result};

use super::broker::Broker;
use crate::events::{EventLog, EventMessage};

const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Writes what happened to the stream of events.
#[derive(Debug)]
pub struct NatsEvents {
    broker: Broker,
    /// The id of the last message of the stream, as far as it is known.
    last_id: Mutex<Option<String>>,
}

impl NatsEvents {
    pub(super) fn new(broker: Broker) -> Self {
        Self { broker, last_id: Mutex::default() }
    }

    fn failed(&self, source: impl std::fmt::Display) -> Error {
        *self.last_id.lock() = None;
        if !self.broker.is_connected() {
            return self.broker.unavailable("publish events");
        }
        Error::new(ErrorKind::Unavailable, "publish events").because(source.to_string())
    }
}

#[async_trait]
impl EventLog for NatsEvents {
    async fn last(&self) -> Result<EventSeq> {
        *self.last_id.lock() = None;
        self.broker.ensure().await?;
        let name = self.broker.layout().event_stream();
        let stream = self.broker.jetstream().get_stream(&name).await.map_err(|source| self.failed(source))?;
        let state = &stream.cached_info().state;
        if state.messages == 0 {
            return Ok(0);
        }
        let message =
            stream.get_raw_message(state.last_sequence).await.map_err(|source| self.failed(source))?;
        let id = message.headers.get(MESSAGE_ID).map(ToString::to_string).unwrap_or_default();
        let seq = id.split_once('-').and_then(|(seq, _)| seq.parse().ok());
        let seq = seq.ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "read the stream of events")
                .about(&name)
                .because("its last message is not usp's: nobody else may publish there")
        })?;
        *self.last_id.lock() = Some(id);
        Ok(seq)
    }

    async fn append(&self, events: Vec<EventMessage>) -> Result<()> {
        let mut last_id = self.last_id.lock().clone();
        let mut sent = Vec::with_capacity(events.len());
        for event in events {
            // The time goes into it because numbers come again after a backup was restored.
            let id = format!("{}-{}", event.seq, event.at.unix_ms());
            let mut message = PublishMessage::build()
                .payload(event.body)
                .message_id(&id)
                .header("Content-Type", "application/cloudevents+json; charset=utf-8");
            if let Some(last_id) = &last_id {
                message = message.expected_last_message_id(last_id);
            }
            let subject = self.broker.layout().event_subject(event.kind);
            let published = self.broker.jetstream().send_publish(subject, message).await;
            sent.push(published.map_err(|source| self.failed(source))?);
            last_id = Some(id);
        }
        for published in sent {
            published.await.map_err(|source| self.failed(source))?;
        }
        *self.last_id.lock() = last_id;
        Ok(())
    }

    fn loss_count(&self) -> u64 {
        self.broker.loss_count()
    }
}
