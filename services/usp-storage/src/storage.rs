//! The service: its parts, put together.

use std::fmt;
use std::sync::Arc;

use usp_auth::TokenService;
use usp_catalog::Catalog;
use usp_content::ContentStore;
use usp_model::{Result, Rule, RuleName};
use usp_queue::{EventLog, Queue};
use usp_rt::{Clock, Shutdown};

use crate::buckets::Buckets;
use crate::config::StorageConfig;
use crate::core::Core;
use crate::disk::{Disk, DiskSpace};
use crate::events::Events;
use crate::files::Files;
use crate::identity::Identity;
use crate::metrics::StorageMetrics;
use crate::progress::ProgressChannel;
use crate::rule_book::RulesInForce;
use crate::rules::{RuleSources, Rules};
use crate::runs::{Runs, RunsParts};
use crate::turns::Turns;
use crate::upkeep::{Upkeep, UpkeepParts};
use crate::uploads::{Uploads, UploadsParts};

/// What storage stands on.
#[derive(Debug)]
pub struct StorageParts {
    /// Facts. Each part of storage holds only those ports of it that it needs.
    pub catalog: Arc<dyn Catalog>,
    /// Bytes.
    pub content: ContentStore,
    /// Where workers learn that runs are due.
    pub queue: Arc<dyn Queue>,
    /// What verifies and makes tokens.
    pub tokens: TokenService,
    /// What dates every write.
    pub clock: Arc<dyn Clock>,
    /// The medium that is written to, so that its fill level is minded. `None`: it is not.
    pub disk: Option<Arc<dyn Disk>>,
    /// The process before this one was not stopped in order: what it wrote is scrubbed.
    pub was_unclean: bool,
    /// What the operator set.
    pub config: StorageConfig,
}

/// Files in, kept once, planned for processing, and out again. Clones share everything.
#[derive(Clone)]
pub struct Storage {
    pub(crate) core: Arc<Core>,
    pub(crate) identity: Identity,
    pub(crate) buckets: Buckets,
    pub(crate) files: Files,
    pub(crate) uploads: Uploads,
    pub(crate) rules: Rules,
    pub(crate) runs: Runs,
    pub(crate) events: Events,
    pub(crate) upkeep: Upkeep,
}

impl Storage {
    /// Mends what a crash left, keeps the rules and makes the `default` bucket. Nothing runs yet: see [`Self::run`].
    ///
    /// Errors: `InvalidInput` when a rule does not compile, naming it.
    pub async fn start(parts: StorageParts, rules: RuleSources) -> Result<Self> {
        let files = rules.files.clone();
        let storage = Self::assemble(parts, rules);
        storage.upkeep.recover().await?;
        storage.rules.replace_rules(files).await?;
        storage.buckets.ensure_default().await?;
        Ok(storage)
    }

    /// Puts the parts together, in the order in which they know each other (lib.rs).
    fn assemble(parts: StorageParts, sources: RuleSources) -> Self {
        let StorageParts { catalog, content, queue, tokens, clock, disk, was_unclean, config } = parts;
        let disk = DiskSpace::of(disk, config.free_space_bytes_min);
        let core = Arc::new(Core { clock, config, metrics: StorageMetrics::default() });
        let (in_force, turns) = (RulesInForce::none(), Turns::default());
        let progress = Arc::new(ProgressChannel::new(catalog.event_signal()));

        let identity = Identity::new(core.clone(), catalog.clone(), tokens);
        let buckets = Buckets::new(core.clone(), catalog.clone(), in_force.clone());
        let files = Files::new(
            catalog.clone(),
            catalog.clone(),
            catalog.clone(),
            content.clone(),
            buckets.clone(),
            disk.clone(),
        );
        let uploads = Uploads::new(UploadsParts {
            core: core.clone(),
            facts: catalog.clone(),
            files: catalog.clone(),
            content: content.clone(),
            buckets: buckets.clone(),
            rules: in_force.clone(),
            disk: disk.clone(),
            turns: turns.clone(),
            progress: progress.clone(),
        });
        let rules = Rules::new(core.clone(), catalog.clone(), files.clone(), in_force.clone(), sources);
        let runs = Runs::new(RunsParts {
            core: core.clone(),
            facts: catalog.clone(),
            events: catalog.clone(),
            files: files.clone(),
            buckets: buckets.clone(),
            rules: in_force,
            queue: queue.clone(),
            progress: progress.clone(),
        });
        let events = Events::new(catalog.clone(), catalog.clone(), files.clone(), buckets.clone(), progress);
        let core_of_upkeep = core.clone();
        let upkeep = Upkeep::new(UpkeepParts {
            core: core_of_upkeep,
            catalog,
            queue,
            content,
            disk,
            turns,
            was_unclean,
        });
        Self { core, identity, buckets, files, uploads, rules, runs, events, upkeep }
    }

    /// Does what storage does by itself, until `shutdown`. A failure is logged and tried again; none ends the work.
    pub async fn run(&self, shutdown: Shutdown) {
        tokio::join!(self.runs.work(&shutdown), self.upkeep.work(&shutdown));
    }

    /// Adds every kept event to `log`, until `shutdown`. A failure is logged and tried again; none ends the work.
    pub async fn announce(&self, log: Arc<dyn EventLog>, shutdown: Shutdown) {
        self.events.announce(log, shutdown).await;
    }

    /// What this storage counts, to be registered where it is read.
    pub fn metrics(&self) -> StorageMetrics {
        self.core.metrics.clone()
    }

    /// Makes the first administrator if there is no user at all; gives the password, to be shown once.
    pub async fn ensure_admin(&self) -> Result<Option<String>> {
        self.identity.ensure_admin().await
    }

    /// Swaps in rules that were read anew from files. Runs that exist keep the version they began with. A written rule that
    /// this usp does not take is left out and kept, so that it can be written anew or deleted.
    ///
    /// Errors: `InvalidInput` for a rule of a file that is not valid; then the old ones stay in force.
    pub async fn replace_rules(&self, files: Vec<Rule>) -> Result<Vec<RuleName>> {
        self.rules.replace_rules(files).await
    }

    /// Ends uploads and files whose time is over, forgets old events and keys. Storage does it by itself every half minute;
    /// this is for whoever cannot wait.
    pub async fn forget_the_past(&self) -> Result<()> {
        self.upkeep.forget_the_past().await
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("core", &self.core).finish_non_exhaustive()
    }
}
