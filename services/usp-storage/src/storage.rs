//! The service and what it is made of.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use usp_api::Caller;
use usp_auth::{TokenService, hash_password, random_password};
use usp_catalog::Catalog;
use usp_content::ContentStore;
use usp_model::{
    Act, BucketName, BucketPolicy, Error, ErrorKind, Grant, Result, Role, Timestamp, UploadId, UserName,
};
use usp_queue::Queue;
use usp_rt::{Clock, Pool};

use crate::buckets::BucketCache;
use crate::identity::SignInThrottle;
use crate::live::Live;
use crate::metrics::StorageMetrics;
use crate::offers::Work;
use crate::room::Space;
use crate::rules::{RuleBook, RuleSources};
use crate::scrub::Scrubbing;

/// What an operator can set about storage.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// A stream commits what it has after this many bytes, so that no more than this is at risk.
    pub checkpoint_bytes: u64,
    /// An upload without new bytes for this long is ended.
    pub upload_idle_max: Duration,
    /// A worker that is silent for this long loses its run.
    pub lease_time: Duration,
    /// Events are kept for this long, for those who come back.
    pub event_retention: Duration,
    /// How often what is due is looked for, beyond what events already said.
    pub sweep_interval: Duration,
    /// From the end of one collection to the next. Zero: only when it is asked for.
    pub collect_interval: Duration,
    /// How long the file of a pack that holds nothing any more is kept, besides two cycles.
    pub collect_grace: Duration,
    /// From the end of one scrub of all packs to the next. Zero: only when it is asked for.
    pub scrub_interval: Duration,
    /// How fast a scrub reads that nobody asked for. 0: as fast as the medium.
    pub scrub_pace_bytes_per_s: u64,
    /// With less free space than this no bytes are taken in.
    pub free_space_bytes_min: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            checkpoint_bytes: 64 << 20,
            upload_idle_max: Duration::from_secs(24 * 60 * 60),
            lease_time: Duration::from_secs(30),
            event_retention: Duration::from_secs(7 * 24 * 60 * 60),
            sweep_interval: Duration::from_secs(2),
            collect_interval: Duration::from_secs(60 * 60),
            collect_grace: Duration::from_secs(10 * 60),
            scrub_interval: Duration::from_secs(30 * 24 * 60 * 60),
            scrub_pace_bytes_per_s: 32 << 20,
            free_space_bytes_min: 256 << 20,
        }
    }
}

/// What storage stands on.
#[derive(Debug)]
pub struct StorageParts {
    pub catalog: Arc<dyn Catalog>,
    pub content: ContentStore,
    pub queue: Arc<dyn Queue>,
    pub tokens: TokenService,
    pub clock: Arc<dyn Clock>,
    pub config: StorageConfig,
}

/// Files in, kept once, planned for processing, and out again. Clones share everything.
#[derive(Clone)]
pub struct Storage {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) content: ContentStore,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) tokens: Arc<TokenService>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<StorageConfig>,
    pub(crate) rules: Arc<RwLock<Arc<RuleBook>>>,
    /// Held by the change of rules that runs.
    pub(crate) rule_sources: Arc<tokio::sync::Mutex<RuleSources>>,
    pub(crate) live: Arc<Live>,
    pub(crate) buckets: Arc<BucketCache>,
    /// Uploads to which someone appends right now.
    pub(crate) appending: Arc<Mutex<HashSet<UploadId>>>,
    pub(crate) work: Arc<Work>,
    pub(crate) metrics: StorageMetrics,
    /// Held by the change of a user that runs.
    pub(crate) changing_users: Arc<tokio::sync::Mutex<()>>,
    /// Held by the collection that runs.
    pub(crate) collecting: Arc<tokio::sync::Mutex<()>>,
    pub(crate) scrubbing: Arc<Scrubbing>,
    pub(crate) space: Space,
    /// The process before this one was not stopped in order.
    was_unclean: bool,
    /// Password hashing costs 19 MiB and 25 ms each: two at once.
    pub(crate) passwords: Pool,
    pub(crate) throttle: Arc<SignInThrottle>,
}

impl Storage {
    /// Mends what a crash left, keeps the rules and makes the `default` bucket. Nothing runs yet: see [`Self::run`].
    ///
    /// Errors: `InvalidInput` when a rule does not compile, naming it.
    pub async fn start(parts: StorageParts, rules: RuleSources) -> Result<Self> {
        const PASSWORD_JOBS_MAX: usize = 2;
        let StorageParts { catalog, content, queue, tokens, clock, config } = parts;
        let now = Timestamp::from_unix_ms(clock.now_unix_ms());
        catalog.recover(Act::duty("start", now)).await?;
        let live = Live::new(catalog.event_signal());
        let storage = Self {
            catalog,
            content,
            queue,
            tokens: Arc::new(tokens),
            clock,
            config: Arc::new(config),
            rules: Arc::new(RwLock::new(Arc::new(RuleBook::empty()))),
            rule_sources: Arc::new(tokio::sync::Mutex::new(rules.clone())),
            live: Arc::new(live),
            buckets: Arc::default(),
            appending: Arc::default(),
            work: Arc::default(),
            metrics: StorageMetrics::default(),
            changing_users: Arc::default(),
            collecting: Arc::default(),
            scrubbing: Arc::default(),
            space: Space::default(),
            was_unclean: false,
            passwords: Pool::new("password", PASSWORD_JOBS_MAX),
            throttle: Arc::default(),
        };
        storage.replace_rules(rules.files).await?;
        storage.ensure_default_bucket().await?;
        Ok(storage)
    }

    /// Notes that the process before this one was not stopped in order: what it wrote is scrubbed.
    #[must_use]
    pub fn after_unclean_end(mut self, was_unclean: bool) -> Self {
        self.was_unclean = was_unclean;
        self
    }

    pub(crate) fn was_unclean(&self) -> bool {
        self.was_unclean
    }

    /// What this storage counts, to be registered where it is read.
    pub fn metrics(&self) -> StorageMetrics {
        self.metrics.clone()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.clock.now_unix_ms())
    }

    /// What a caller asks for now.
    pub(crate) fn act(&self, caller: &Caller) -> Act {
        caller.act(self.now())
    }

    /// What storage does by itself now.
    pub(crate) fn duty(&self, duty: &'static str) -> Act {
        Act::duty(duty, self.now())
    }

    pub(crate) fn rule_book(&self) -> Arc<RuleBook> {
        Arc::clone(&self.rules.read())
    }

    /// Makes the first administrator if there is no user at all; gives the password, to be shown once.
    pub async fn ensure_admin(&self) -> Result<Option<String>> {
        if !self.catalog.list_users().await?.is_empty() {
            return Ok(None);
        }
        let password = random_password()?;
        let plain = password.clone();
        let hash = self
            .passwords
            .run(move || hash_password(&plain))
            .await
            .map_err(|source| Error::new(ErrorKind::Internal, "hash password").caused_by(source))??;
        let grants = vec![Grant { bucket: None, role: Role::Admin }];
        self.catalog.create_user(self.duty("start"), UserName::parse("admin")?, Some(hash), grants).await?;
        Ok(Some(password))
    }

    async fn ensure_default_bucket(&self) -> Result<()> {
        let name = BucketName::parse("default")?;
        match self.catalog.create_bucket(self.duty("start"), name, BucketPolicy::default()).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("catalog", &self.catalog)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
