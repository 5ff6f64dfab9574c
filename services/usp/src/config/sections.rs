//! Every key, declared once: what it means, its type, its default.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use usp_auth::{SecretText, TokenConfig, TrustedIssuer};
use usp_content::ContentConfig;
use usp_gateway::{GatewayConfig, Rate};
use usp_processor::ProcessorConfig;
use usp_storage::StorageConfig;

use super::units::{ByteSize, Interval, Network};

/// One key and what it is for.
#[derive(Debug)]
pub(super) struct Key {
    /// Empty for the keys above all sections.
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// Its doc comment, line by line.
    pub(super) doc: &'static [&'static str],
}

impl Key {
    /// As users write it: `gateway.http`.
    pub(super) fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(
            (self.section, self.name),
            ("storage", "node_secret") | ("queue", "password" | "token" | "nkey")
        )
    }
}

macro_rules! section {
    ($(#[$meta:meta])* $type:ident = $section:literal {
        $($(#[doc = $doc:literal])+ $name:ident: $value:ty = $default:expr;)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $type {
            $($(#[doc = $doc])+ pub(crate) $name: $value,)+
        }

        impl $type {
            pub(super) const KEYS: &'static [Key] =
                &[$(Key { section: $section, name: stringify!($name), doc: &[$($doc),+] }),+];
        }

        impl Default for $type {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }
    };
}

/// The keys above all sections; `Config` has them as fields of its own.
pub(super) const TOP_LEVEL: &[Key] = &[
    Key {
        section: "",
        name: "data_dir",
        doc: &[" Where everything is kept. A file usp.toml in it is read too, below --config."],
    },
    Key {
        section: "",
        name: "roles",
        doc: &[" What this process does: gateway, storage, processor, or several with commas."],
    },
];

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Gateway,
    Storage,
    Processor,
}

impl Role {
    pub(crate) const ALL: &'static [Self] = &[Self::Gateway, Self::Storage, Self::Processor];

    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "gateway" => Some(Self::Gateway),
            "storage" => Some(Self::Storage),
            "processor" => Some(Self::Processor),
            _ => None,
        }
    }
}

/// A list, or one text with commas, as flags and the environment have it.
pub(super) fn read_roles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Role>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    let words = match Words::deserialize(deserializer)? {
        Words::Many(words) => words,
        Words::One(text) => text.split(',').map(str::to_owned).collect(),
    };
    let mut roles = Vec::new();
    for word in words {
        let role = Role::parse(&word).ok_or_else(|| {
            let word = usp_model::error::printable(&word);
            serde::de::Error::custom(format!("'{word}' is not one of: gateway, storage, processor"))
        })?;
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    Ok(roles)
}

/// Whether steps run in processes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IsolationWord {
    Process,
    None,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A secret of the configuration: prints as `[redacted]`, also into TOML.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) SecretText);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Issuers besides ourselves. Their keys print as `[redacted]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct TrustedIssuers(pub(crate) Vec<TrustedIssuer>);

impl Serialize for TrustedIssuers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|trusted| {
            serde_json::json!({
                "issuer": trusted.issuer, "audience": trusted.audience, "algorithm": trusted.algorithm.as_str(),
                "key": trusted.key.to_string(),
            })
        }))
    }
}

/// So many requests per second on average, and so many at once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateSection {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl From<Rate> for RateSection {
    fn from(rate: Rate) -> Self {
        Self { per_second: rate.per_second, burst: rate.burst }
    }
}

section! {
    /// The doors.
    GatewaySection = "gateway" {
        /// REST, events, health, metrics, documentation. Port 0 picks a free one.
        http: SocketAddr = GatewayConfig::default().http;
        /// Public gRPC.
        grpc: SocketAddr = GatewayConfig::default().grpc;
        /// Open connections over both doors; more wait in the kernel's backlog.
        connection_count_max: usize = GatewayConfig::default().connection_count_max;
        /// The same for one address.
        connection_count_max_per_address: usize = GatewayConfig::default().connection_count_max_per_address;
        /// From the accept to the end of the request headers.
        header_timeout: Interval = Interval(GatewayConfig::default().header_timeout);
        /// Between two requests of a kept connection.
        idle_timeout: Interval = Interval(GatewayConfig::default().idle_timeout);
        /// A body slower than this after body_grace is cut off.
        body_rate_per_s_min: ByteSize = ByteSize(GatewayConfig::default().body_rate_bytes_per_s_min);
        /// How long a body may be slow.
        body_grace: Interval = Interval(GatewayConfig::default().body_grace);
        /// Requests of each signed-in caller.
        rate_per_principal: RateSection = GatewayConfig::default().rate_per_principal.into();
        /// Requests of each address, signed in or not.
        rate_per_address: RateSection = GatewayConfig::default().rate_per_address.into();
        /// Tries to sign in, per address and per user name.
        rate_sign_in: RateSection = GatewayConfig::default().rate_sign_in.into();
        /// Origins such as https://app.example.com; empty: no cross-origin requests.
        cors_origins: Vec<String> = Vec::new();
        /// Only these addresses and networks may say for whom they speak (X-Forwarded-For).
        trusted_proxies: Vec<Network> = Vec::new();
        /// How long a verified credential is believed without asking again; at most 5s.
        credential_cache: Interval = Interval(GatewayConfig::default().credential_cache);
        /// On stop: how long running requests may take to end.
        drain_timeout: Interval = Interval(GatewayConfig::default().drain_timeout);
        /// Serve /metrics without a token; otherwise it takes an admin's.
        metrics_public: bool = GatewayConfig::default().metrics_public;
    }
}

section! {
    /// The storage role, and how the other roles reach it.
    StorageSection = "storage" {
        /// Bytes of uploads that may be on their way to the disk, over all of them.
        memory_budget: ByteSize = ByteSize(48 << 20);
        /// A stream commits what it has after this many bytes, so that no more than this is at risk.
        checkpoint_size: ByteSize = ByteSize(StorageConfig::default().checkpoint_bytes);
        /// An upload without new bytes for this long is ended.
        upload_idle_max: Interval = Interval(StorageConfig::default().upload_idle_max);
        /// A worker that is silent for this long loses its run.
        lease_time: Interval = Interval(StorageConfig::default().lease_time);
        /// Events are kept for this long, for those who come back.
        event_retention: Interval = Interval(StorageConfig::default().event_retention);
        /// How often what is due is looked for, beyond what events already said.
        sweep_interval: Interval = Interval(StorageConfig::default().sweep_interval);
        /// From the end of one collection of space to the next; 0s: only when `usp admin gc` asks for it.
        collect_interval: Interval = Interval(StorageConfig::default().collect_interval);
        /// How long a pack that holds nothing any more is kept, besides two collections.
        collect_grace: Interval = Interval(StorageConfig::default().collect_grace);
        /// From the end of one scrub of all that is kept to the next; 0s: only when `usp admin scrub` asks for it.
        scrub_interval: Interval = Interval(StorageConfig::default().scrub_interval);
        /// Bytes per second that a scrub reads which nobody asked for; 0: as fast as the disk.
        scrub_pace: ByteSize = ByteSize(StorageConfig::default().scrub_pace_bytes_per_s);
        /// With less free space than this on the disk no bytes are taken in (507); the rest goes on.
        free_space_min: ByteSize = ByteSize(StorageConfig::default().free_space_bytes_min);
        /// Held back when the disk fills, and given up when it is full, so that deleting still works.
        ballast_size: ByteSize = ByteSize(64 << 20);
        /// Where other roles of this installation reach this storage role. Not for users: keep it off public networks.
        node_listen: Option<SocketAddr> = None;
        /// The storage role to use, for a process that has none: http://HOST:PORT of its node_listen.
        url: Option<String> = None;
        /// What roles show each other. A storage role makes its own (keys/node.secret in its data directory).
        node_secret: Option<Secret> = None;
        /// A file that holds it.
        node_secret_file: Option<PathBuf> = None;
    }
}

/// What stands behind the queue of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueueKind {
    Embedded,
    Nats,
}

section! {
    /// How workers learn of due runs. The catalogue stays the truth; the queue is a hint.
    QueueSection = "queue" {
        /// embedded: within the storage role; workers ask it. nats: on a broker, which storage and workers reach.
        kind: QueueKind = QueueKind::Embedded;
        /// The broker: nats://HOST:PORT or tls://HOST:PORT, several with commas for a cluster.
        url: Option<String> = None;
        /// Signs in with a password.
        user: Option<String> = None;
        /// That user's password.
        password: Option<Secret> = None;
        /// A file that holds it.
        password_file: Option<PathBuf> = None;
        /// Signs in with a token.
        token: Option<Secret> = None;
        /// A file that holds it.
        token_file: Option<PathBuf> = None;
        /// Signs in with an NKey: its seed, which begins with SU.
        nkey: Option<Secret> = None;
        /// A file that holds it.
        nkey_file: Option<PathBuf> = None;
        /// Signs in with a .creds file, as nsc writes it.
        creds_file: Option<PathBuf> = None;
        /// Refuse a connection in plain text.
        tls_required: bool = false;
        /// Certificates to trust instead of the system's, in PEM.
        tls_ca_file: Option<PathBuf> = None;
        /// Our own certificate, in PEM, if the broker asks for one.
        tls_cert_file: Option<PathBuf> = None;
        /// Its key, in PEM.
        tls_key_file: Option<PathBuf> = None;
        /// What subjects and, in capitals, streams begin with; one per installation on a shared broker.
        prefix: String = "usp".to_owned();
        /// Copies of each stream in a cluster of brokers: 1, 3 or 5.
        replicas: usize = 1;
    }
}

section! {
    /// How bytes are cut and kept. A change applies to new content; nothing is rewritten.
    ContentSection = "content" {
        /// The average chunk (docs/adr/0001-chunk-size.md).
        chunk_size_avg: ByteSize = ByteSize(u64::from(ContentConfig::default().chunk.size_bytes_avg()));
        /// The shortest chunk; a quarter of the average unless it is set.
        chunk_size_min: Option<ByteSize> = None;
        /// The longest chunk; four times the average unless it is set.
        chunk_size_max: Option<ByteSize> = None;
        /// A pack is sealed before it grows beyond this.
        pack_size_max: ByteSize = ByteSize(ContentConfig::default().pack_size_bytes_max);
        /// Packs that are appended to at the same time.
        open_pack_count: usize = ContentConfig::default().open_pack_count;
        /// Bytes that one upload buffers before they are cut.
        slab_size: ByteSize = ByteSize(ContentConfig::default().slab_size_bytes as u64);
    }
}

section! {
    /// Processing rules.
    RulesSection = "rules" {
        /// YAML files of rules; rules/ in the data directory unless it is set. SIGHUP reads it again.
        dir: Option<PathBuf> = None;
    }
}

section! {
    /// The processor role.
    ProcessorSection = "processor" {
        /// Names the worker in logs; unique among the processors of an installation.
        worker: String = worker_name();
        /// Runs at once; the number of cores unless it is set.
        concurrency: usize = ProcessorConfig::default().concurrency;
        /// How often a running step keeps its lease and tells its progress.
        heartbeat: Interval = Interval(ProcessorConfig::default().heartbeat);
        /// How long one question for work waits.
        lease_wait: Interval = Interval(ProcessorConfig::default().lease_wait);
        /// On stop: how long running steps may go on before they are handed back.
        drain_timeout: Interval = Interval(ProcessorConfig::default().drain_timeout);
        /// Where steps run that take apart what strangers sent: process or none (docs/adr/0032-step-workers.md).
        isolation: IsolationWord = IsolationWord::Process;
        /// What one worker process may take: heap and stacks.
        step_memory: ByteSize = ByteSize(512 << 20);
    }
}

section! {
    /// Probes of a process without a gateway; a gateway has them at its own door.
    ProbeSection = "probe" {
        /// Where /livez and /readyz answer; not served unless it is set.
        listen: Option<SocketAddr> = None;
    }
}

section! {
    /// Tokens.
    AuthSection = "auth" {
        /// The claim iss of our own tokens.
        issuer: String = TokenConfig::default().issuer;
        /// The claim aud of our own tokens.
        audience: String = TokenConfig::default().audience;
        /// How long an access token holds.
        access_ttl: Interval = Interval(TokenConfig::default().access_ttl);
        /// How long a refresh token holds.
        refresh_ttl: Interval = Interval(TokenConfig::default().refresh_ttl);
        /// Forgiven to clocks in both directions; at most 60s.
        leeway: Interval = Interval(std::time::Duration::from_secs(u64::from(TokenConfig::default().leeway_s)));
        /// Issuers besides ourselves: issuer, audience, algorithm, key or key_file, and kid, grants, role_claim.
        trusted: TrustedIssuers = TrustedIssuers::default();
    }
}

section! {
    /// What a process counts, for Prometheus.
    MetricsSection = "metrics" {
        /// Where /metrics is served besides the gateway's, without a token; for storage and processors alone, such as
        /// 127.0.0.1:9464. Keep it off public networks.
        listen: Option<SocketAddr> = None;
    }
}

section! {
    /// Spans of requests and runs, for whoever follows a trace (docs/adr/0034-spans.md).
    TelemetrySection = "telemetry" {
        /// The collector that takes them: http://HOST:PORT of its OTLP gRPC receiver, such as http://127.0.0.1:4317. Nothing
        /// is made and nothing is sent unless it is set.
        otlp_endpoint: Option<String> = None;
        /// What this process is called there (service.name).
        service_name: String = "usp".to_owned();
        /// The share of traces begun here that is told, 0 to 1. Whoever sends a traceparent decides about its own.
        sample_ratio: f64 = 1.0;
    }
}

section! {
    /// The log, on standard error.
    LogSection = "log" {
        /// text or json.
        format: LogFormat = LogFormat::Text;
        /// Levels per module; the environment variable USP_LOG wins.
        filter: String = "info,h2=warn,hyper=warn,async_nats=off".to_owned();
    }
}

/// The machine's name as a worker name, so that two machines differ without being configured.
fn worker_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let name: String = host.chars().filter(allowed).take(48).collect();
    format!("processor@{}", if name.is_empty() { "host" } else { &name })
}
