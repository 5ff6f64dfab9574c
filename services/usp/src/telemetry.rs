//! Where spans go: over OTLP to a collector, or nowhere.
//!
//! 1. A span that ends is put into a queue of [`QUEUE_COUNT_MAX`]. [full: it is dropped; nobody waits]
//! 2. A thread of the exporter sends what has gathered. [collector away: tried again for [`SEND_WITHIN`], then dropped;
//!    the log says so once, and once more when it is back]
//! 3. On stop the rest is sent within [`FLUSH_WITHIN`]. [not done by then: the process ends without]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tokio::sync::oneshot;

use crate::config::Config;

/// Spans that wait to be sent; some MiB at most.
const QUEUE_COUNT_MAX: usize = 2048;
/// Spans of one message.
const BATCH_COUNT_MAX: usize = 512;
/// How long a span waits for company.
const GATHER_FOR: Duration = Duration::from_secs(2);
/// How long one message may take, with its repetitions.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// How long the end of the process may be held up.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The way to the collector.
pub(crate) struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Has spans go to the collector, if one is configured. Does not connect yet; call it within the runtime.
    pub(crate) fn start(config: &Config) -> Result<Option<Self>> {
        let section = &config.telemetry;
        let Some(endpoint) = &section.otlp_endpoint else { return Ok(None) };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(SEND_WITHIN)
            .build()
            .context("failed to set up the way to telemetry.otlp_endpoint")?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_COUNT_MAX)
            .with_max_export_batch_size(BATCH_COUNT_MAX)
            .with_scheduled_delay(GATHER_FOR)
            .build();
        let exporter = Watched { exporter, endpoint: endpoint.clone(), is_away: AtomicBool::new(false) };
        let resource = Resource::builder()
            .with_service_name(section.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("usp.roles", config.role_words()))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(section.sample_ratio))))
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .build();
        usp_api::trace::install(provider.tracer("usp"));
        Ok(Some(Self { provider }))
    }

    /// Sends what is left, as far as that is possible in time.
    pub(crate) async fn close(self) {
        let (done, closed) = oneshot::channel();
        // Not a task: the runtime would wait for it however long it takes.
        std::thread::spawn(move || done.send(self.provider.shutdown_with_timeout(FLUSH_WITHIN)));
        match tokio::time::timeout(FLUSH_WITHIN, closed).await {
            Ok(Ok(Ok(()))) => {}
            _ => tracing::warn!("the last spans were not sent in time"),
        }
    }
}

/// Tells the log when the collector goes away and when it is back.
#[derive(Debug)]
struct Watched {
    exporter: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    is_away: AtomicBool,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        match (&sent, self.is_away.swap(sent.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(endpoint = self.endpoint, %error, "spans do not reach the collector and are dropped");
            }
            (Ok(()), true) => tracing::info!(endpoint = self.endpoint, "spans reach the collector again"),
            _ => {}
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
