//! Work over NATS JetStream: offers wait on a broker that many machines reach.
//!
//! The catalogue stays the truth (docs/adr/0029-nats-is-a-hint-too.md). What the broker loses is offered again, what it
//! doubles is claimed once, and what it hands to a worker that died comes back after the lease time.

mod broker;
mod config;
mod events;
mod later;
mod layout;
mod pulls;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::{Acker, PublishMessage};
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use usp_model::{ConsumerStatus, Error, ErrorKind, QueueKind, QueueStatus, Result, RunId, StreamStatus};
use usp_rt::Shutdown;

pub use config::{NatsConfig, NatsCredential, NatsTls};
pub use events::NatsEvents;

use crate::queue::{Delivery, DeliveryTag, Offer, Offered, Queue};
use broker::{Broker, Published};
use later::Later;
use layout::{Class, layout_version};
use pulls::Pulls;

/// Offers on a NATS broker. Dropping it ends what it does in the background.
pub struct NatsQueue {
    broker: Broker,
    later: Arc<Later>,
    pulls: Arc<Pulls>,
    consumers: Mutex<Option<Arc<[Consumer<pull::Config>]>>>,
    in_hand: Mutex<HashMap<DeliveryTag, InHand>>,
    next_tag: AtomicU64,
    stop: Shutdown,
}

/// A delivery that was handed out here.
struct InHand {
    acker: Acker,
    /// From then on the broker may have given it to someone else.
    until: Instant,
}

impl NatsQueue {
    /// For the storage role: makes the streams and keeps them there. Does not wait for the broker.
    ///
    /// `installation` marks the streams as ours. Errors: `InvalidInput` for settings that cannot be used.
    pub async fn make(config: &NatsConfig, installation: &str) -> Result<Self> {
        let queue = Self::over(Broker::connect(config, Some(installation)).await?);
        let broker = queue.broker.clone();
        queue.in_background(async move { broker.keep().await });
        let (broker, later) = (queue.broker.clone(), Arc::clone(&queue.later));
        queue.in_background(async move { offer_when_due(&broker, &later).await });
        Ok(queue)
    }

    /// For a worker: uses the streams that a storage role makes. Does not wait for the broker.
    ///
    /// Errors: `InvalidInput` for settings that cannot be used.
    pub async fn join(config: &NatsConfig) -> Result<Self> {
        Ok(Self::over(Broker::connect(config, None).await?))
    }

    /// The log of events on the same broker.
    pub fn events(&self) -> NatsEvents {
        NatsEvents::new(self.broker.clone())
    }

    fn over(broker: Broker) -> Self {
        Self {
            broker,
            later: Arc::default(),
            pulls: Arc::default(),
            consumers: Mutex::default(),
            in_hand: Mutex::default(),
            next_tag: AtomicU64::new(1),
            stop: Shutdown::new(),
        }
    }

    fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }

    async fn consumers(&self) -> Result<Arc<[Consumer<pull::Config>]>> {
        if let Some(known) = self.consumers.lock().clone() {
            return Ok(known);
        }
        let found: Arc<[Consumer<pull::Config>]> = self.broker.consumers().await?.into();
        *self.consumers.lock() = Some(Arc::clone(&found));
        Ok(found)
    }

    /// `None` for a message that is no offer; it is taken off the stream.
    async fn receive(&self, message: Message) -> Option<Delivery> {
        let run = std::str::from_utf8(&message.payload).ok().and_then(|text| RunId::parse(text).ok());
        let delivered = message.info().map_or(1, |info| info.delivered);
        let subject = message.subject.clone();
        let (_, acker) = message.split();
        let Some(run) = run else {
            tracing::warn!(%subject, "a message on the work stream names no run");
            if let Err(error) = acker.ack_with(AckKind::Term).await {
                tracing::debug!(error, "it was not taken off");
            }
            return None;
        };
        let tag = DeliveryTag(self.next_tag.fetch_add(1, Ordering::Relaxed));
        self.in_hand.lock().insert(tag, InHand { acker, until: self.lease_end() });
        let delivery_count = u32::try_from(delivered.max(1)).unwrap_or(u32::MAX);
        Some(Delivery { tag, run, delivery_count })
    }

    /// Somewhat before the broker's own, whose clock began earlier.
    fn lease_end(&self) -> Instant {
        Instant::now() + self.broker.layout().lease_time().mul_f64(0.9)
    }

    /// The delivery, if it is certainly still ours. A late word for it must not reach the broker: it would take it for
    /// the word of whoever holds it now.
    fn let_go(&self, tag: DeliveryTag) -> Option<Acker> {
        let now = Instant::now();
        let mut in_hand = self.in_hand.lock();
        in_hand.retain(|_, held| held.until > now);
        in_hand.remove(&tag).map(|held| held.acker)
    }

    async fn streams(&self) -> Result<Vec<StreamStatus>> {
        let layout = self.broker.layout();
        let mut found = Vec::new();
        for name in [layout.work_stream(), layout.event_stream()] {
            let stream = self.broker.jetstream().get_stream(&name).await.map_err(|source| {
                Error::new(ErrorKind::Unavailable, "look at NATS stream")
                    .about(&name)
                    .because(source.to_string())
            })?;
            let info = stream.cached_info();
            found.push(StreamStatus {
                name,
                description: info.config.description.clone().unwrap_or_default(),
                layout_version: layout_version(&info.config).unwrap_or(0),
                subjects: info.config.subjects.clone(),
                messages: info.state.messages,
                bytes: info.state.bytes,
                replicas: u32::try_from(info.config.num_replicas).unwrap_or(u32::MAX),
                consumers: Vec::new(),
            });
        }
        let consumers = self.broker.consumers().await?;
        let status = |consumer: &Consumer<pull::Config>| {
            let info = consumer.cached_info();
            ConsumerStatus {
                name: info.name.clone(),
                waiting: info.num_pending,
                in_hand: info.num_ack_pending as u64,
                redelivered: info.num_redelivered as u64,
                asking: info.num_waiting as u64,
            }
        };
        if let Some(work) = found.first_mut() {
            work.consumers = consumers.iter().map(status).collect();
        }
        Ok(found)
    }
}

#[async_trait]
impl Queue for NatsQueue {
    async fn offer(&self, mut offer: Offer) -> Result<Offered> {
        let now = Instant::now();
        let mut due_at = now + offer.delay;
        let waited = self.later.withdraw(&offer.run);
        if let Some((before, was_due_at)) = &waited {
            due_at = due_at.min(*was_due_at);
            offer.priority = offer.priority.max(before.priority);
        }
        if due_at > now {
            return Ok(match (self.later.put(offer, due_at), waited) {
                (false, _) => Offered::Full,
                (true, None) => Offered::Accepted,
                (true, Some(_)) => Offered::AlreadyWaiting,
            });
        }
        Ok(match (publish(&self.broker, &offer).await?, waited) {
            (Published::Full, _) => Offered::Full,
            (Published::Stored, None) => Offered::Accepted,
            (Published::Stored | Published::Known, _) => Offered::AlreadyWaiting,
        })
    }

    async fn lease(&self, count_max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + wait;
        if count_max == 0 {
            return Ok(Vec::new());
        }
        self.broker.reached(wait).await?;
        let consumers = self.consumers().await?;
        let taken = self.pulls.take(&consumers, count_max, deadline).await;
        let messages = taken.inspect_err(|_| *self.consumers.lock() = None)?;
        let mut deliveries = Vec::with_capacity(messages.len());
        for message in messages {
            deliveries.extend(self.receive(message).await);
        }
        Ok(deliveries)
    }

    async fn extend(&self, tag: DeliveryTag) -> Result<bool> {
        let Some(acker) = self.let_go(tag) else { return Ok(false) };
        let sent = acker.ack_with(AckKind::Progress).await;
        self.in_hand.lock().insert(tag, InHand { acker, until: self.lease_end() });
        sent.map(|()| true).map_err(|_| self.broker.unavailable("keep offer"))
    }

    async fn ack(&self, tag: DeliveryTag) -> Result<bool> {
        let Some(acker) = self.let_go(tag) else { return Ok(false) };
        acker.ack_with(AckKind::Ack).await.map_err(|_| self.broker.unavailable("acknowledge offer"))?;
        Ok(true)
    }

    async fn release(&self, tag: DeliveryTag, delay: Duration) -> Result<bool> {
        let Some(acker) = self.let_go(tag) else { return Ok(false) };
        let delay = (!delay.is_zero()).then_some(delay);
        acker.ack_with(AckKind::Nak(delay)).await.map_err(|_| self.broker.unavailable("hand back offer"))?;
        Ok(true)
    }

    async fn waiting_count(&self) -> Result<u64> {
        let consumers = self.broker.consumers().await?;
        let on_broker: u64 = consumers.iter().map(|consumer| consumer.cached_info().num_pending).sum();
        Ok(on_broker + self.later.count() as u64)
    }

    fn trouble(&self) -> Option<String> {
        self.broker.trouble()
    }

    async fn status(&self) -> QueueStatus {
        let (streams, failed) = match self.broker.is_connected() {
            true => match self.streams().await {
                Ok(streams) => (streams, None),
                Err(error) => (Vec::new(), Some(error.detail())),
            },
            false => (Vec::new(), None),
        };
        let consumers = || streams.iter().flat_map(|stream| &stream.consumers);
        let on_broker: u64 = consumers().map(|consumer| consumer.waiting).sum();
        let in_hand = consumers().map(|consumer| consumer.in_hand).sum();
        QueueStatus {
            kind: QueueKind::Nats,
            url: Some(self.broker.urls().to_owned()),
            connected: self.broker.is_connected(),
            trouble: self.broker.trouble().or(failed),
            server_version: self.broker.server_version(),
            waiting: on_broker + self.later.count() as u64,
            in_hand,
            streams,
        }
    }
}

/// An offer as a message: its subject and its body name the run.
async fn publish(broker: &Broker, offer: &Offer) -> Result<Published> {
    let subject = broker.layout().work_subject(Class::of(offer.priority), &offer.run);
    let mut message = PublishMessage::build().payload(Bytes::from(offer.run.to_string()));
    if let Some(event) = offer.event {
        message = message.message_id(event.to_string());
    }
    broker.publish(subject, message).await
}

/// Publishes delayed offers as their time comes, for ever.
async fn offer_when_due(broker: &Broker, later: &Later) {
    const COUNT_MAX: usize = 256;
    const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
    loop {
        for offer in later.due(COUNT_MAX).await {
            if let Err(error) = publish(broker, &offer).await {
                tracing::debug!(error = %error.chain(), run.id = %offer.run, "an offer waits for the broker");
                later.put(offer, Instant::now() + PAUSE_AFTER_FAILURE);
                sleep(PAUSE_AFTER_FAILURE / 10).await;
            }
        }
    }
}

impl Drop for NatsQueue {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsQueue")
            .field("broker", &self.broker)
            .field("later", &self.later.count())
            .field("in_hand", &self.in_hand.lock().len())
            .finish_non_exhaustive()
    }
}
