//! What the doors count, in the OpenMetrics text format.
//!
//! Labels hold route templates and words of closed sets, never what a client chose: their number is bounded.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use usp_model::{Error, ErrorKind, Result};

/// From a cached answer to a large upload.
const SECONDS_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
    door: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    door: &'static str,
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    door: &'static str,
    method: &'static str,
    route: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabel {
    scope: &'static str,
}

/// One request at its end.
#[derive(Debug)]
pub(crate) struct RequestEnd {
    /// The word of its door.
    pub(crate) door: &'static str,
    pub(crate) method: &'static str,
    /// The template, such as `/api/v1/files/{file_id}`.
    pub(crate) route: String,
    /// A word of a closed set, such as `2xx`: what the door's dialect calls it.
    pub(crate) status: &'static str,
    pub(crate) duration: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// The counters of one gateway.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    bytes_in: Family<DoorLabel, Counter>,
    bytes_out: Family<DoorLabel, Counter>,
    open_connections: Family<DoorLabel, Gauge>,
    refused_connections: Family<DoorLabel, Counter>,
    rate_limited: Family<ScopeLabel, Counter>,
    event_streams: Gauge,
    panics: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS_BUCKETS);
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            bytes_in: Family::default(),
            bytes_out: Family::default(),
            open_connections: Family::default(),
            refused_connections: Family::default(),
            rate_limited: Family::default(),
            event_streams: Gauge::default(),
            panics: Counter::default(),
        };
        metrics.register(|registry| metrics.describe(registry));
        metrics
    }

    #[rustfmt::skip]
    fn describe(&self, registry: &mut Registry) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("usp_build", "The release that runs", build);
        let doors = registry.sub_registry_with_prefix("usp_gateway");
        doors.register("requests", "Requests by route, method and status", self.requests.clone());
        doors.register_with_unit("request_duration", "From the header to the last byte of the answer", Unit::Seconds, self.seconds.clone());
        doors.register_with_unit("received", "Bytes of request bodies", Unit::Bytes, self.bytes_in.clone());
        doors.register_with_unit("sent", "Bytes of answer bodies", Unit::Bytes, self.bytes_out.clone());
        doors.register("open_connections", "Connections that are open", self.open_connections.clone());
        doors.register("refused_connections", "Connections over the limit of their address", self.refused_connections.clone());
        doors.register("rate_limited", "Requests refused by a rate limit", self.rate_limited.clone());
        doors.register("event_streams", "Clients that follow events", self.event_streams.clone());
        doors.register("panics", "Handlers that panicked; each is a bug", self.panics.clone());
    }

    pub(crate) fn register<R>(&self, add: impl FnOnce(&mut Registry) -> R) -> R {
        add(&mut self.registry.lock())
    }

    pub(crate) fn ended(&self, end: RequestEnd) {
        let RequestEnd { door, method, route, status, duration, bytes_in, bytes_out } = end;
        self.bytes_in.get_or_create(&DoorLabel { door }).inc_by(bytes_in);
        self.bytes_out.get_or_create(&DoorLabel { door }).inc_by(bytes_out);
        let labels = RouteLabels { door, method, route };
        self.seconds.get_or_create(&labels).observe(duration.as_secs_f64());
        let RouteLabels { route, .. } = labels;
        self.requests.get_or_create(&RequestLabels { door, method, route, status }).inc();
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn open_connection(&self, door: &'static str) -> GaugeGuard {
        GaugeGuard::new(&self.open_connections.get_or_create_owned(&DoorLabel { door }))
    }

    /// Counts a follower of events for as long as the guard lives.
    pub(crate) fn open_event_stream(&self) -> GaugeGuard {
        GaugeGuard::new(&self.event_streams)
    }

    pub(crate) fn refused_connection(&self, door: &'static str) {
        self.refused_connections.get_or_create(&DoorLabel { door }).inc();
    }

    pub(crate) fn rate_limited(&self, scope: &'static str) {
        self.rate_limited.get_or_create(&ScopeLabel { scope }).inc();
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// All counters as text. Errors: `Internal`.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())
            .map_err(|source| Error::new(ErrorKind::Internal, "write metrics").caused_by(source))?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Raises a gauge by one while it lives.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
