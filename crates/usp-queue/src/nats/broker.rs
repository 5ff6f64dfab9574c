//! The connection, and what stands at its other end.
//!
//! A storage role makes the streams and keeps them: every few seconds, at every reconnect and whenever something is
//! found missing, it looks whether they are there and makes what is not. A worker only uses them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, ContextBuilder, Error as JetStreamError, ErrorCode, stream};
use async_nats::{Client, ClientError, Event};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use usp_model::{Error, ErrorKind, Result};

use super::config::NatsConfig;
use super::layout::{Class, Layout};

/// One connection to the broker. Clones share it.
#[derive(Clone)]
pub(super) struct Broker(Arc<Inner>);

struct Inner {
    client: Client,
    jetstream: Context,
    layout: Layout,
    urls: String,
    /// Whether this process makes the streams.
    is_maker: bool,
    /// When the streams that were last seen had been made, each as the broker prints it.
    made_at: tokio::sync::Mutex<Vec<String>>,
    loss_count: AtomicU64,
    trouble: Arc<Mutex<Option<String>>>,
    connected: Arc<Notify>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    Stored,
    /// The broker has a message under that subject, or had this very one before.
    Known,
    Full,
}

impl Broker {
    /// Goes on trying in the background while the broker cannot be reached.
    ///
    /// Errors: `InvalidInput` for addresses, certificates or credentials that cannot be used.
    pub(super) async fn connect(config: &NatsConfig, installation: Option<&str>) -> Result<Self> {
        const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);
        let trouble = Arc::new(Mutex::new(None));
        let connected = Arc::new(Notify::new());
        let (urls, seen, reached) = (config.shown_urls(), Arc::clone(&trouble), Arc::clone(&connected));
        let (tried_urls, tried) = (urls.clone(), Arc::clone(&seen));
        let options = config
            .options()?
            .event_callback(move |event| {
                note(event, &urls, &seen, &reached);
                async {}
            })
            // Before each try. The choice is left to the client; only here it says why the last try failed.
            .reconnect_to_server_callback(move |servers, _last_info| {
                if let Some(said) = servers.iter().find_map(|server| server.last_error.as_ref()) {
                    note_failure(said, &tried_urls, &tried);
                }
                async { None }
            });
        let client = options.connect(config.urls.clone()).await.map_err(|source| {
            Error::new(ErrorKind::InvalidInput, "set up the NATS client")
                .because(format!("{}: {source}", config.shown_urls()))
        })?;
        let jetstream = ContextBuilder::new()
            .timeout(ACKNOWLEDGED_WITHIN)
            .ack_timeout(ACKNOWLEDGED_WITHIN)
            .build(client.clone());
        Ok(Self(Arc::new(Inner {
            client,
            jetstream,
            layout: Layout::new(config, installation.unwrap_or_default()),
            urls: config.shown_urls(),
            is_maker: installation.is_some(),
            made_at: tokio::sync::Mutex::default(),
            loss_count: AtomicU64::new(0),
            trouble,
            connected,
        })))
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    pub(super) fn urls(&self) -> &str {
        &self.0.urls
    }

    pub(super) fn jetstream(&self) -> &Context {
        &self.0.jetstream
    }

    pub(super) fn loss_count(&self) -> u64 {
        self.0.loss_count.load(Ordering::Acquire)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.0.client.connection_state() == State::Connected
    }

    pub(super) fn server_version(&self) -> Option<String> {
        let version = self.0.client.server_info().version;
        (!version.is_empty()).then_some(version)
    }

    /// Why the broker cannot be used, if it cannot.
    pub(super) fn trouble(&self) -> Option<String> {
        if !self.is_connected() {
            let why = self.0.trouble.lock().clone();
            let why = why.unwrap_or_else(|| "it does not answer".to_owned());
            return Some(format!("the broker at {} cannot be reached: {why}", self.0.urls));
        }
        self.0.trouble.lock().clone()
    }

    /// Errors: `Unavailable` if it is not connected after `wait` either.
    pub(super) async fn reached(&self, wait: Duration) -> Result<()> {
        let until = Instant::now() + wait;
        loop {
            let connected = self.0.connected.notified();
            if self.is_connected() {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || timeout(left, connected).await.is_err() {
                return Err(self.unavailable("reach the broker"));
            }
        }
    }

    pub(super) fn unavailable(&self, action: &'static str) -> Error {
        let why = self.trouble().unwrap_or_else(|| format!("the broker at {} does not answer", self.0.urls));
        Error::new(ErrorKind::Unavailable, action).because(why)
    }

    fn failed(&self, action: &'static str, source: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Unavailable, action)
            .because(format!("the broker at {} says: {source}", self.0.urls))
    }

    /// Sends a message and waits until the broker has it. A stream that is missing is made first.
    pub(super) async fn publish(&self, subject: String, message: PublishMessage) -> Result<Published> {
        const ACTION: &str = "publish to NATS";
        for is_last_try in [false, true] {
            if !self.is_connected() {
                return Err(self.unavailable(ACTION));
            }
            let sent = match self.0.jetstream.send_publish(subject.clone(), message.clone()).await {
                Ok(acknowledged) => acknowledged.await,
                Err(error) => Err(error),
            };
            let error = match sent {
                Ok(ack) if ack.duplicate => return Ok(Published::Known),
                Ok(_) => return Ok(Published::Stored),
                Err(error) => error,
            };
            match error.kind() {
                PublishErrorKind::StreamNotFound if self.0.is_maker && !is_last_try => self.ensure().await?,
                _ => match store_refusal(&error) {
                    Some(published) => return Ok(published),
                    None => return Err(self.failed(ACTION, with_cause(&error))),
                },
            }
        }
        Err(self.unavailable(ACTION))
    }

    /// The consumers of work, by class. Errors: `Unavailable` while the storage role has not made them.
    pub(super) async fn consumers(&self) -> Result<Vec<Consumer<pull::Config>>> {
        let mut found = Vec::with_capacity(Class::ALL.len());
        for class in Class::ALL {
            let (consumer, stream) = (Layout::consumer(class), self.0.layout.work_stream());
            match self.0.jetstream.get_consumer_from_stream(consumer, stream).await {
                Ok(consumer) => found.push(consumer),
                Err(_) if !self.is_connected() => return Err(self.unavailable("find the work stream")),
                Err(source) => {
                    return Err(self.failed("find the work stream", with_cause(&source)));
                }
            }
        }
        Ok(found)
    }

    /// Makes what is missing and brings up to date what is old.
    ///
    /// Errors: `Unavailable`; `InvalidInput` when a stream of that name is not ours.
    pub(super) async fn ensure(&self) -> Result<()> {
        let mut made_at = self.0.made_at.lock().await;
        let mut seen = Vec::with_capacity(2);
        for wanted in [self.0.layout.work_config(), self.0.layout.event_config()] {
            seen.push(self.ensure_stream(wanted).await?);
        }
        for class in Class::ALL {
            let (config, stream) = (self.0.layout.consumer_config(class), self.0.layout.work_stream());
            let made = self.0.jetstream.create_consumer_on_stream(config, stream).await;
            made.map_err(|source| self.failed("make NATS consumer", with_cause(&source)))?;
        }
        if *made_at != seen {
            *made_at = seen;
            self.0.loss_count.fetch_add(1, Ordering::AcqRel);
            tracing::info!(broker = self.0.urls, "the streams on the broker stand");
        }
        Ok(())
    }

    /// Gives the time at which the stream was made.
    async fn ensure_stream(&self, wanted: stream::Config) -> Result<String> {
        const ACTION: &str = "make NATS stream";
        let found = match self.0.jetstream.get_stream(&wanted.name).await {
            Ok(found) => Some(found),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    None
                }
                _ => return Err(self.failed(ACTION, with_cause(&error))),
            },
        };
        if let Some(found) = found {
            let info = found.cached_info();
            if self.0.layout.is_outdated(&info.config, &wanted)? {
                let updated = self.0.jetstream.update_stream(wanted).await;
                updated.map_err(|source| self.failed(ACTION, with_cause(&source)))?;
            }
            return Ok(info.created.to_string());
        }
        let made = self.0.jetstream.create_stream(wanted).await;
        let made = made.map_err(|source| self.failed(ACTION, with_cause(&source)))?;
        Ok(made.cached_info().created.to_string())
    }

    /// Keeps the streams there until it is dropped.
    pub(super) async fn keep(&self) {
        const PAUSE: Duration = Duration::from_secs(5);
        const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
        let mut last_trouble = None;
        loop {
            let connected = self.0.connected.notified();
            let trouble = match self.is_connected() {
                true => self.ensure().await.err().map(|error| error.detail()),
                false => None,
            };
            if trouble != last_trouble {
                match &trouble {
                    Some(trouble) => tracing::error!(error = trouble, "the broker cannot be used yet"),
                    None => tracing::info!(broker = self.0.urls, "the broker can be used"),
                }
            }
            let pause = if trouble.is_some() { PAUSE_AFTER_FAILURE } else { PAUSE };
            if self.is_connected() {
                self.0.trouble.lock().clone_from(&trouble);
            }
            last_trouble = trouble;
            tokio::select! {
                () = connected => {}
                () = sleep(pause) => {}
            }
        }
    }
}

/// Remembers what the client tells about its connection.
fn note(event: Event, urls: &str, trouble: &Mutex<Option<String>>, connected: &Notify) {
    match event {
        Event::Connected => {
            *trouble.lock() = None;
            tracing::info!(broker = urls, "connected to the broker");
            connected.notify_waiters();
        }
        Event::Disconnected => {
            *trouble.lock() = Some("the connection broke".to_owned());
            tracing::warn!(broker = urls, "the connection to the broker broke");
        }
        Event::ServerError(error) => {
            *trouble.lock() = Some(error.to_string());
            tracing::warn!(broker = urls, error = %error, "the broker refused something");
        }
        Event::ClientError(error) => {
            let said = match error {
                ClientError::Other(said) => said,
                other => other.to_string(),
            };
            note_failure(&said, urls, trouble);
        }
        Event::LameDuckMode | Event::Draining | Event::Closed | Event::SlowConsumer(_) => {
            tracing::warn!(broker = urls, event = %event, "the connection to the broker changes");
        }
    }
}

/// Tries are many; their common reason is told once, and a shorter word for it does not replace it.
fn note_failure(said: &str, urls: &str, trouble: &Mutex<Option<String>>) {
    // What a TLS client makes of an answer in plain text.
    const NO_TLS: &str = "InvalidContentType";
    let said = match said.contains(NO_TLS) {
        true => format!("it does not speak TLS ({said})"),
        false => said.to_owned(),
    };
    let mut trouble = trouble.lock();
    if !trouble.as_ref().is_some_and(|known| known.contains(&said)) {
        tracing::warn!(broker = urls, error = said, "the broker cannot be reached");
        *trouble = Some(said);
    }
}

/// A stream that takes no more says why in words only.
fn store_refusal(error: &(dyn std::error::Error + 'static)) -> Option<Published> {
    let said = error.source()?.downcast_ref::<JetStreamError>()?;
    if said.error_code() != ErrorCode::STREAM_STORE_FAILED {
        return None;
    }
    let said = said.to_string();
    if said.contains("per subject") {
        return Some(Published::Known);
    }
    said.contains("maximum").then_some(Published::Full)
}

/// The client's own texts leave the cause to whoever asks for it.
fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("urls", &self.0.urls)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
