//! The storage role on this machine: opened, mended after a crash, and closed again.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tokio::signal::unix::Signal;
use usp_auth::{SigningKeys, TokenConfig, TokenService};
use usp_catalog::{CatalogMetrics, SqliteCatalog, SqliteConfig};
use usp_content::{ContentConfig, ContentStore, RecoveryReport};
use usp_model::{Error, ErrorKind};
use usp_queue::{EmbeddedQueue, NatsConfig, NatsQueue, Queue};
use usp_rt::{ByteBudget, Pool, Shutdown, SystemClock};
use usp_storage::{CatalogIndex, Disk, Storage, StorageConfig, StorageParts};

use crate::catalog_fault;
use crate::dir_lock::DirLock;
use crate::disk::DirDisk;
use crate::pack_store;
use crate::paths;
use crate::serve::rules;

/// What the storage role stands on and how it is set.
#[derive(Debug)]
pub(crate) struct LocalConfig<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) rules_dir: PathBuf,
    pub(crate) content: ContentConfig,
    pub(crate) storage: StorageConfig,
    pub(crate) tokens: TokenConfig,
    /// Bytes of uploads that may be on their way to the disk.
    pub(crate) memory_budget_bytes: u64,
    /// `None`: the queue is within this process.
    pub(crate) nats: Option<NatsConfig>,
    /// Bytes that are held back while the disk fills.
    pub(crate) ballast_bytes: u64,
}

/// An open storage role. The directory is locked as long as this lives.
pub(crate) struct Local {
    pub(crate) storage: Storage,
    pub(crate) keys: SigningKeys,
    /// The broker, if there is one.
    pub(crate) nats: Option<Arc<NatsQueue>>,
    /// Drawn on the first start, to be shown once.
    pub(crate) admin_password: Option<String>,
    catalog_metrics: CatalogMetrics,
    content: ContentStore,
    lock: DirLock,
}

impl Local {
    /// Opens the data directory; a crash before is mended on the way (docs/OPERATIONS.md, "Start-up").
    pub(crate) async fn open(config: LocalConfig<'_>) -> Result<Self> {
        let begin = Instant::now();
        let dir = config.data_dir;
        make_private_dir(dir)?;
        let (lock, was_clean) = DirLock::take(dir)?.begin()?;
        if let Some(keys) = paths::signing_keys(dir).parent() {
            make_private_dir(keys)?;
        }
        let keys = SigningKeys::load_or_create(&paths::signing_keys(dir))?;
        let tokens = TokenService::new(&keys, config.tokens)?;
        let disk = Arc::new(DirDisk::new(dir, config.ballast_bytes));
        free_for_start(&disk);
        let was_recovered = catalog_fault::recover(dir)?;
        refuse_without_catalog(dir)?;
        let faulted = dir.to_owned();
        let catalog_metrics = CatalogMetrics::default();
        let catalog = SqliteCatalog::open(SqliteConfig {
            fault: Arc::new(move |fault| stop_after_fault(&faulted, fault)),
            metrics: catalog_metrics.clone(),
            ..SqliteConfig::new(paths::catalog(dir))
        })?;
        let packs = pack_store::open(dir)?;
        let index = Arc::new(CatalogIndex::new(catalog.clone(), Arc::new(SystemClock)));
        let budget = ByteBudget::new(config.memory_budget_bytes);
        let opened = ContentStore::open(config.content, packs, index, Pool::cpu(), budget).await;
        let (content, recovery) = opened?;
        report(&recovery);
        let rules = rules::load(&config.rules_dir)?;
        let nats = match &config.nats {
            Some(settings) => Some(Arc::new(NatsQueue::make(settings, keys.kid()).await?)),
            None => None,
        };
        let queue: Arc<dyn Queue> = match nats.clone() {
            Some(nats) => nats,
            None => Arc::new(EmbeddedQueue::new(config.storage.lease_time)),
        };
        let parts = StorageParts {
            catalog,
            content: content.clone(),
            queue,
            tokens,
            clock: Arc::new(SystemClock),
            disk: Some(disk),
            was_unclean: !was_clean || was_recovered,
            config: config.storage,
        };
        let storage = Storage::start(parts, rules).await?;
        let admin_password = storage.ensure_admin().await?;
        let took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(data_dir = %dir.display(), took_ms, "storage open");
        Ok(Self { storage, keys, nats, admin_password, catalog_metrics, content, lock })
    }

    /// Adds what storage and catalogue count.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        self.storage.metrics().register(registry);
        self.catalog_metrics.register(registry);
    }

    /// Makes durable what is open. A crash instead of this loses nothing that was acknowledged.
    pub(crate) async fn close(self) {
        if let Err(error) = self.content.close().await {
            tracing::error!(error = %error.chain(), "the content store did not close well");
            return;
        }
        if let Err(error) = self.lock.end_well() {
            tracing::warn!(error = format!("{error:#}"), "the next start will take this end for a crash");
        }
    }
}

/// Reads the rules again on every SIGHUP; rules that are not valid leave the old ones in force.
pub(crate) async fn reload_rules(
    storage: Storage,
    rules_dir: PathBuf,
    mut hang_ups: Signal,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            received = hang_ups.recv() => if received.is_none() { return },
            () = shutdown.cancelled() => return,
        }
        let replaced = match rules::load(&rules_dir) {
            Ok(rules) => storage.replace_rules(rules.files).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        match replaced {
            Ok(names) => tracing::info!(rules = names.len(), "rules read again"),
            Err(error) => tracing::error!(error = format!("{error:#}"), "the old rules stay in force"),
        }
    }
}

/// Packs without a catalogue are no new store: a catalogue that is made here would pass for theirs.
fn refuse_without_catalog(dir: &Path) -> Result<()> {
    let catalog = paths::catalog(dir);
    if catalog.exists() || !paths::has_packs(dir)? {
        return Ok(());
    }
    let reason = format!(
        "{} is absent and packs are there: put it back, restore a backup, or move packs/ away to begin anew; nothing \
         was touched",
        catalog.display()
    );
    Err(Error::new(ErrorKind::Corrupt, "open catalogue").because(reason).into())
}

fn make_private_dir(dir: &Path) -> Result<()> {
    const OWNER_ONLY: u32 = 0o700;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY)
        .create(dir)
        .with_context(|| format!("failed to create the data directory {}", dir.display()))
}

/// A start writes a little. On a full disk it takes what was reserved for such a moment.
fn free_for_start(disk: &DirDisk) {
    const START_BYTES: u64 = 4 << 20;
    if disk.free_bytes().is_some_and(|free| free < START_BYTES) && disk.drop_ballast() {
        tracing::warn!("the disk is full: the ballast is dropped");
    }
}

/// What is on the disk is unknown after a fault, and asking it again would get a wrong answer: the kernel reports a
/// lost write once. The next start looks at the file afresh.
fn stop_after_fault(dir: &Path, fault: &Error) {
    const STORAGE_FAULT: i32 = 74;
    tracing::error!(error = %fault.chain(), "the disk under the catalogue failed: stopping with exit code 74");
    catalog_fault::mark(dir, fault);
    exit(STORAGE_FAULT);
}

fn report(recovery: &RecoveryReport) {
    if *recovery == RecoveryReport::default() {
        return;
    }
    tracing::info!(
        sealed = recovery.sealed.len(),
        frames_checked = recovery.frame_count,
        cut_off_bytes = recovery.cut_off_bytes,
        set_aside = recovery.set_aside.len(),
        lost_and_found = recovery.lost_and_found.len(),
        "packs of an earlier run were mended"
    );
    for damaged in &recovery.damaged {
        tracing::error!(pack.id = %damaged.pack, offset = damaged.offset, "a pack is damaged; its sound frames stay readable");
    }
    for missing in &recovery.missing {
        tracing::error!(pack.id = %missing, "a pack file is missing: files that need it cannot be read");
    }
}
