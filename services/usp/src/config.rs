//! What an operator sets, typed: flag > `USP__SECTION__KEY` > file > default (docs/OPERATIONS.md).
//!
//! Every key is declared once, in `sections.rs`, with its type, default and description; loading, printing and the
//! hints for misspelt keys all read that declaration.

mod load;
mod nearest;
mod print;
mod queue;
mod sections;
mod telemetry;
mod units;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use usp_auth::{SecretText, SigningKeys, TokenConfig, TokenService};
use usp_content::{ChunkBounds, ContentConfig};
use usp_gateway::{GatewayConfig, Rate};
use usp_model::{Error, ErrorKind, Result, Violation};
use usp_processor::{Isolation, ProcessorConfig};
use usp_storage::StorageConfig;

pub(crate) use load::{Loaded, Origin, Sources};
pub(crate) use print::{as_json, as_toml};
pub(crate) use sections::{LogFormat, Role};
pub(crate) use units::{ByteSize, Interval};

use crate::{paths, step_worker};
use sections::{
    AuthSection, ContentSection, GatewaySection, IsolationWord, Key, LogSection, MetricsSection,
    ProbeSection, ProcessorSection, QueueSection, RulesSection, StorageSection, TOP_LEVEL, TelemetrySection,
};

/// A secret has one line; a file with more than this is none.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;
/// As much as HS256 wants of its keys.
const NODE_SECRET_BYTES_MIN: usize = 32;

/// The whole configuration of one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    #[serde(deserialize_with = "sections::read_roles")]
    pub(crate) roles: Vec<Role>,
    pub(crate) gateway: GatewaySection,
    pub(crate) storage: StorageSection,
    pub(crate) queue: QueueSection,
    pub(crate) content: ContentSection,
    pub(crate) rules: RulesSection,
    pub(crate) processor: ProcessorSection,
    pub(crate) probe: ProbeSection,
    pub(crate) auth: AuthSection,
    pub(crate) metrics: MetricsSection,
    pub(crate) telemetry: TelemetrySection,
    pub(crate) log: LogSection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            roles: Role::ALL.to_vec(),
            gateway: GatewaySection::default(),
            storage: StorageSection::default(),
            queue: QueueSection::default(),
            content: ContentSection::default(),
            rules: RulesSection::default(),
            processor: ProcessorSection::default(),
            probe: ProbeSection::default(),
            auth: AuthSection::default(),
            metrics: MetricsSection::default(),
            telemetry: TelemetrySection::default(),
            log: LogSection::default(),
        }
    }
}

impl Config {
    /// Every key there is, in the order in which it is printed.
    fn keys() -> impl Iterator<Item = &'static Key> {
        TOP_LEVEL
            .iter()
            .chain(GatewaySection::KEYS)
            .chain(StorageSection::KEYS)
            .chain(QueueSection::KEYS)
            .chain(ContentSection::KEYS)
            .chain(RulesSection::KEYS)
            .chain(ProcessorSection::KEYS)
            .chain(ProbeSection::KEYS)
            .chain(AuthSection::KEYS)
            .chain(MetricsSection::KEYS)
            .chain(TelemetrySection::KEYS)
            .chain(LogSection::KEYS)
    }

    pub(crate) fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub(crate) fn rules_dir(&self) -> PathBuf {
        self.rules.dir.clone().unwrap_or_else(|| paths::rules(&self.data_dir))
    }

    pub(crate) fn gateway_config(&self) -> GatewayConfig {
        let section = &self.gateway;
        let rate = |rate: &sections::RateSection| Rate { per_second: rate.per_second, burst: rate.burst };
        GatewayConfig {
            http: section.http,
            grpc: section.grpc,
            connection_count_max: section.connection_count_max,
            connection_count_max_per_address: section.connection_count_max_per_address,
            header_timeout: section.header_timeout.0,
            idle_timeout: section.idle_timeout.0,
            body_rate_bytes_per_s_min: section.body_rate_per_s_min.0,
            body_grace: section.body_grace.0,
            rate_per_principal: rate(&section.rate_per_principal),
            rate_per_address: rate(&section.rate_per_address),
            rate_sign_in: rate(&section.rate_sign_in),
            cors_origins: section.cors_origins.clone(),
            trusted_proxies: section.trusted_proxies.iter().map(|network| network.0).collect(),
            credential_cache: section.credential_cache.0,
            drain_timeout: section.drain_timeout.0,
            metrics_public: section.metrics_public,
        }
    }

    pub(crate) fn storage_config(&self) -> StorageConfig {
        let section = &self.storage;
        StorageConfig {
            checkpoint_bytes: section.checkpoint_size.0,
            upload_idle_max: section.upload_idle_max.0,
            lease_time: section.lease_time.0,
            event_retention: section.event_retention.0,
            sweep_interval: section.sweep_interval.0,
            collect_interval: section.collect_interval.0,
            collect_grace: section.collect_grace.0,
            scrub_interval: section.scrub_interval.0,
            scrub_pace_bytes_per_s: section.scrub_pace.0,
            free_space_bytes_min: section.free_space_min.0,
        }
    }

    /// Errors: `InvalidInput` for sizes that do not fit together.
    pub(crate) fn content_config(&self) -> Result<ContentConfig> {
        let section = &self.content;
        let (min, max) = (section.chunk_size_min, section.chunk_size_max);
        let (min, max) = (min.map(ByteSize::in_u32), max.map(ByteSize::in_u32));
        let config = ContentConfig {
            chunk: ChunkBounds::around_unless(section.chunk_size_avg.in_u32(), min, max)?,
            pack_size_bytes_max: section.pack_size_max.0,
            open_pack_count: section.open_pack_count,
            slab_size_bytes: usize::try_from(section.slab_size.0).unwrap_or(usize::MAX),
            ..ContentConfig::default()
        };
        config.validate()?;
        Ok(config)
    }

    pub(crate) fn processor_config(&self) -> ProcessorConfig {
        let section = &self.processor;
        ProcessorConfig {
            worker: section.worker.clone(),
            concurrency: section.concurrency,
            heartbeat: section.heartbeat.0,
            lease_wait: section.lease_wait.0,
            drain_timeout: section.drain_timeout.0,
            metrics: usp_processor::ProcessorMetrics::default(),
            isolation: match section.isolation {
                IsolationWord::None => Isolation::None,
                IsolationWord::Process => Isolation::Process(step_worker::program(section.step_memory.0)),
            },
        }
    }

    pub(crate) fn token_config(&self) -> TokenConfig {
        let section = &self.auth;
        TokenConfig {
            issuer: section.issuer.clone(),
            audience: section.audience.clone(),
            access_ttl: section.access_ttl.0,
            refresh_ttl: section.refresh_ttl.0,
            leeway_s: u32::try_from(section.leeway.0.as_secs()).unwrap_or(u32::MAX),
            trusted: section.trusted.0.clone(),
        }
    }

    /// What a role shows the storage role on another machine. `None`: the data directory's own is used.
    ///
    /// Errors: `InvalidInput` for a file that cannot be read, a secret that could be guessed, and two of them.
    pub(crate) fn node_secret(&self) -> Result<Option<SecretText>> {
        let section = &self.storage;
        let refused =
            |reason: String| Err(Error::new(ErrorKind::InvalidInput, "read node secret").because(reason));
        let secret = match (&section.node_secret, &section.node_secret_file) {
            (Some(_), Some(_)) => {
                return refused("set either node_secret or node_secret_file, not both".to_owned());
            }
            (Some(secret), None) => secret.0.clone(),
            (None, Some(path)) => read_secret(path)?,
            (None, None) => return Ok(None),
        };
        let length = secret.expose().len();
        if length < NODE_SECRET_BYTES_MIN {
            return refused(format!(
                "the secret has {length} bytes and must have {NODE_SECRET_BYTES_MIN} or more, because whoever knows it is \
                 root of the store; take the one of keys/node.secret"
            ));
        }
        Ok(Some(secret))
    }

    /// All that is wrong with it, with pointers such as `/gateway/http`. Reads the files of secrets, nothing else.
    pub(crate) fn problems(&self) -> Vec<Violation> {
        let mut found = self.role_problems();
        found.extend(self.queue_problems());
        found.extend(self.telemetry.problems());
        found.extend(self.gateway_config().violations());
        if let Err(error) = self.content_config() {
            found.extend(violations_of(&error, "/content"));
        }
        // A throwaway key: what is checked is the configuration beside it.
        let tokens = SigningKeys::generate().and_then(|keys| TokenService::new(&keys, self.token_config()));
        if let Err(error) = tokens {
            found.extend(violations_of(&error, "/auth"));
        }
        if let Err(error) = self.node_secret() {
            found.extend(violations_of(&error, "/storage/node_secret_file"));
        }
        let mut demand = |holds: bool, pointer: &str, detail: &str| {
            if !holds {
                found.push(Violation::new(pointer, detail));
            }
        };
        demand(self.storage.checkpoint_size.0 >= 1 << 20, "/storage/checkpoint_size", "at least 1MiB");
        demand(self.storage.lease_time.0.as_secs() >= 5, "/storage/lease_time", "at least 5s");
        demand(!self.storage.sweep_interval.0.is_zero(), "/storage/sweep_interval", "more than 0");
        demand(
            self.storage.memory_budget.0 >= ContentConfig::budget_bytes_min(self.content.slab_size.0),
            "/storage/memory_budget",
            "at least four times content.slab_size",
        );
        demand(
            EnvFilter::try_new(&self.log.filter).is_ok(),
            "/log/filter",
            "levels per module are needed, such as info,usp_storage=debug",
        );
        demand(!self.processor.lease_wait.0.is_zero(), "/processor/lease_wait", "more than 0");
        demand(!self.gateway.header_timeout.0.is_zero(), "/gateway/header_timeout", "more than 0");
        let (http, grpc) = (self.gateway.http, self.gateway.grpc);
        demand(http != grpc || http.port() == 0, "/gateway/grpc", "another port than gateway.http");
        demand((1..=1024).contains(&self.processor.concurrency), "/processor/concurrency", "1 to 1024");
        demand(self.processor.step_memory.0 >= 64 << 20, "/processor/step_memory", "at least 64MiB");
        demand(
            usp_model::UserName::parse(&self.processor.worker).is_ok(),
            "/processor/worker",
            "use a-z, 0-9, '_', '-', '.' and '@', beginning with a letter or digit",
        );
        demand(
            self.processor.heartbeat.0.saturating_mul(3) <= self.storage.lease_time.0,
            "/processor/heartbeat",
            "at most a third of storage.lease_time, or a worker loses its run over one lost message",
        );
        found
    }

    fn role_problems(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if self.roles.is_empty() {
            found.push(Violation::new("/roles", "name at least one of: gateway, storage, processor"));
        }
        if self.has_role(Role::Storage) {
            if self.storage.url.is_some() {
                let detail = "this process has the storage role itself; drop the key or the role";
                found.push(Violation::new("/storage/url", detail));
            }
            let is_alone = !self.has_role(Role::Gateway) && !self.has_role(Role::Processor);
            if is_alone && self.storage.node_listen.is_none() {
                let detail = "a storage role alone is of use to nobody who cannot reach it: set HOST:PORT for the \
                              other roles, or give this process more roles";
                found.push(Violation::new("/storage/node_listen", detail));
            }
        } else {
            let secret_is_set = self.storage.node_secret.is_some() || self.storage.node_secret_file.is_some();
            if self.storage.url.is_none() {
                let detail = "without the storage role, name the storage process to use: http://HOST:PORT";
                found.push(Violation::new("/storage/url", detail));
            }
            if !secret_is_set {
                let detail =
                    "without the storage role, give the secret from keys/node.secret of its data directory";
                found.push(Violation::new("/storage/node_secret_file", detail));
            }
            if self.storage.node_listen.is_some() {
                let detail = "only a process with the storage role listens for other roles";
                found.push(Violation::new("/storage/node_listen", detail));
            }
        }
        found
    }
}

/// One error for all of `violations`.
pub(crate) fn invalid(violations: Vec<Violation>) -> Error {
    let sentences: Vec<String> = violations.iter().map(sentence).collect();
    Error::new(ErrorKind::InvalidInput, "read the configuration")
        .because(sentences.join("\n  "))
        .with_violations(violations)
}

/// `/gateway/http` is `gateway.http` to whoever wrote the file.
fn sentence(violation: &Violation) -> String {
    format!("{}: {}", violation.pointer.trim_start_matches('/').replace('/', "."), violation.detail)
}

/// The violations of a part's own error, under `base` unless they name the section already.
fn violations_of(error: &Error, base: &str) -> Vec<Violation> {
    if error.violations().is_empty() {
        return vec![Violation::new(base, error.detail())];
    }
    /// Fields of parts whose keys in the configuration have other names.
    const RENAMED: [(&str, &str); 3] = [
        ("/leeway_s", "/leeway"),
        ("/slab_size_bytes", "/slab_size"),
        ("/pack_size_bytes_max", "/pack_size_max"),
    ];
    let place = |violation: &Violation| {
        if let Some((_, key)) = RENAMED.iter().find(|(field, _)| violation.pointer == *field) {
            return Violation::new(format!("{base}{key}"), violation.detail.clone());
        }
        let pointer = match violation.pointer.starts_with(base) {
            true => violation.pointer.clone(),
            false => format!("{base}{}", violation.pointer),
        };
        Violation::new(pointer, violation.detail.clone())
    };
    error.violations().iter().map(place).collect()
}

/// The one line of a secret's file.
fn read_secret(path: &std::path::Path) -> Result<SecretText> {
    let refused = |reason: String| {
        Error::new(ErrorKind::InvalidInput, "read secret").because(format!("{}: {reason}", path.display()))
    };
    let size_bytes = std::fs::metadata(path).map_err(|source| refused(source.to_string()))?.len();
    if size_bytes > SECRET_FILE_BYTES_MAX {
        return Err(refused(format!("{size_bytes} bytes are no secret")));
    }
    let text = std::fs::read_to_string(path).map_err(|source| refused(source.to_string()))?;
    Ok(SecretText::new(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::units::{ByteSize, Interval};
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().problems(), []);
    }

    #[test]
    fn defaults_are_those_of_the_crates_that_they_configure() {
        let config = Config::default();
        let (ours, theirs) = (config.gateway_config(), GatewayConfig::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(format!("{:?}", config.storage_config()), format!("{:?}", StorageConfig::default()));
        assert_eq!(config.content_config().unwrap(), ContentConfig::default());
        assert_eq!(format!("{:?}", config.token_config()), format!("{:?}", TokenConfig::default()));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut config = Config { roles: vec![Role::Gateway], ..Config::default() };
        config.gateway.cors_origins = vec!["*".to_owned()];
        config.content.open_pack_count = 0;
        config.auth.issuer.clear();
        config.processor.concurrency = 0;
        let pointers: Vec<String> = config.problems().into_iter().map(|v| v.pointer).collect();
        for pointer in [
            "/storage/url",
            "/storage/node_secret_file",
            "/gateway/cors_origins/0",
            "/content/open_pack_count",
            "/auth/issuer",
            "/processor/concurrency",
        ] {
            assert!(pointers.iter().any(|found| found == pointer), "{pointer} in {pointers:?}");
        }
    }

    #[test]
    fn what_would_be_open_or_stand_still_is_no_configuration() {
        let mut config = Config::default();
        config.storage.node_secret = Some(sections::Secret(SecretText::new("abc")));
        config.gateway.header_timeout = Interval(std::time::Duration::ZERO);
        config.processor.lease_wait = Interval(std::time::Duration::ZERO);
        config.gateway.grpc = config.gateway.http;
        config.gateway.connection_count_max_per_address = 0;
        config.content.slab_size = ByteSize(1);
        let pointers: Vec<String> = config.problems().into_iter().map(|v| v.pointer).collect();
        for pointer in [
            "/storage/node_secret_file",
            "/gateway/header_timeout",
            "/processor/lease_wait",
            "/gateway/grpc",
            "/gateway/connection_count_max_per_address",
            "/content/slab_size",
        ] {
            assert!(pointers.contains(&pointer.to_owned()), "{pointer} is not in {pointers:?}");
        }
        config.storage.node_secret = Some(sections::Secret(SecretText::new("a".repeat(32))));
        assert!(config.node_secret().is_ok());
        config.storage.node_secret_file = Some("/nowhere".into());
        assert!(config.node_secret().unwrap_err().detail().contains("not both"));
    }

    #[test]
    fn a_secret_never_prints() {
        let mut config = Config::default();
        config.storage.node_secret = Some(sections::Secret(SecretText::new("canary-1")));
        let printed = format!("{config:?} {}", toml::to_string(&config).unwrap());
        assert!(!printed.contains("canary"), "{printed}");
    }
}
