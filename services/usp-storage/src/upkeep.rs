//! What keeps the store healthy: collection, scrub, check, expiry, figures.

use std::sync::Arc;
use std::time::Duration;

use usp_api::{
    Caller, CheckReport, CollectReport, DamageReport, Readiness, ScrubOptions, ScrubStatus, Stats,
};
use usp_auth::{Permission, authorize};
use usp_catalog::{BucketFacts, Catalog, RunFacts, StoreFacts, UpkeepFacts};
use usp_content::ContentStore;
use usp_model::{Act, Error, ErrorKind, Result};
use usp_queue::Queue;
use usp_rt::Shutdown;

use crate::core::{Core, pause, run_to_end};
use crate::disk::DiskSpace;
use crate::turns::Turns;

mod check;
mod collect;
mod expiry;
mod rescue;
mod scrub;
#[cfg(test)]
mod test_store;

pub use check::Checker;
use collect::{Collector, PackBytes};
use expiry::Expiry;
use scrub::Scrubber;

/// How old what gauges show may be.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);
/// Runs among which the one that waits longest is looked for.
const DUE_COUNT: u32 = 1_000;

/// The part of storage that keeps it healthy. Clones share everything.
#[derive(Clone)]
pub(crate) struct Upkeep {
    core: Arc<Core>,
    facts: Arc<dyn UpkeepFacts>,
    store: Arc<dyn StoreFacts>,
    /// For figures.
    buckets: Arc<dyn BucketFacts>,
    runs: Arc<dyn RunFacts>,
    queue: Arc<dyn Queue>,
    content: ContentStore,
    disk: DiskSpace,
    collector: Collector,
    scrubber: Scrubber,
    expiry: Expiry,
    /// The process before this one was not stopped in order: what it wrote is scrubbed.
    was_unclean: bool,
}

/// What [`Upkeep`] stands on.
pub(crate) struct UpkeepParts {
    pub(crate) core: Arc<Core>,
    /// It cares for facts of every kind.
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) content: ContentStore,
    pub(crate) disk: DiskSpace,
    pub(crate) turns: Turns,
    pub(crate) was_unclean: bool,
}

impl Upkeep {
    pub(crate) fn new(parts: UpkeepParts) -> Self {
        let UpkeepParts { core, catalog, queue, content, disk, turns, was_unclean } = parts;
        let facts: Arc<dyn UpkeepFacts> = catalog.clone();
        let store: Arc<dyn StoreFacts> = catalog.clone();
        let collector = Collector::new(core.clone(), store.clone(), content.clone(), disk.clone());
        let scrubber = Scrubber::new(core.clone(), facts.clone(), store.clone(), content.clone());
        let expiry = Expiry {
            core: core.clone(),
            accounts: catalog.clone(),
            events: catalog.clone(),
            files: catalog.clone(),
            runs: catalog.clone(),
            uploads: catalog.clone(),
            turns,
        };
        let (buckets, runs) = (catalog.clone(), catalog);
        Self {
            core,
            facts,
            store,
            buckets,
            runs,
            queue,
            content,
            disk,
            collector,
            scrubber,
            expiry,
            was_unclean,
        }
    }

    /// Works until `shutdown`. A failure is logged and tried again; none ends the work.
    pub(crate) async fn work(&self, shutdown: &Shutdown) {
        tokio::join!(
            self.expiry.keep_expiring(shutdown),
            self.keep_rescuing(shutdown),
            self.keep_measuring(shutdown),
            self.collector.keep_collecting(shutdown),
            self.scrubber.keep_scrubbing(self.was_unclean, shutdown),
            self.disk.watch(shutdown),
        );
    }

    /// Mends what a crash left. Run once, before anything else.
    pub(crate) async fn recover(&self) -> Result<()> {
        self.facts.recover(self.core.duty("start")).await
    }

    /// Ends what has expired, for whoever cannot wait until it is time for that.
    pub(crate) async fn forget_the_past(&self) -> Result<()> {
        self.expiry.forget_the_past().await
    }

    /// Whether storage can read and write right now.
    pub(crate) async fn readiness(&self, act: Act) -> Result<Readiness> {
        let catalog = self.facts.ping(act).await.err();
        // Without its broker storage still takes files; they are processed more slowly.
        let queue = self.queue.trouble().map(|trouble| format!("the queue: {trouble}"));
        let ready = catalog.is_none();
        let catalog = catalog.map(|error| format!("the catalogue: {}", error.detail()));
        Ok(Readiness { ready, waiting_for: catalog.into_iter().chain(queue).collect() })
    }

    pub(crate) async fn stats(&self, caller: &Caller) -> Result<Stats> {
        authorize(&caller.principal, Permission::StatsRead, None)?;
        let PackBytes { disk_bytes, dead_bytes } = PackBytes::of(&self.store.pack_usage().await?);
        let (usage, totals) = (self.buckets.usage().await?, self.facts.totals().await?);
        Ok(Stats { usage, totals, disk_bytes, dead_bytes })
    }

    pub(crate) async fn collect(&self, caller: &Caller, act: Act, dry_run: bool) -> Result<CollectReport> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.collector.collect(act, dry_run).await
    }

    pub(crate) async fn start_scrub(
        &self,
        caller: &Caller,
        act: Act,
        options: ScrubOptions,
    ) -> Result<ScrubStatus> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.scrubber.start_scrub(act, options).await
    }

    pub(crate) async fn stop_scrub(&self, caller: &Caller) -> Result<ScrubStatus> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.scrubber.stop_scrub().await
    }

    pub(crate) async fn scrub_status(&self, caller: &Caller) -> Result<ScrubStatus> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.scrubber.scrub_status().await
    }

    /// Checks the store while it is served; goes on when the caller goes away. Errors: `Locked` while a collection runs.
    pub(crate) async fn check_store(&self, caller: &Caller, is_deep: bool) -> Result<CheckReport> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        let turn = self.collector.hold().ok_or_else(|| {
            Error::new(ErrorKind::Locked, "check").because("a collection is running; try again after its end")
        })?;
        let (facts, store) = (Arc::clone(&self.facts), Arc::clone(&self.store));
        let checker = Checker { facts, store, packs: self.content.inspector(), is_deep };
        run_to_end("check", async move {
            let report = checker.check().await;
            drop(turn);
            report
        })
        .await
    }

    pub(crate) async fn store_damage(&self, caller: &Caller) -> Result<DamageReport> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.scrubber.store_damage().await
    }

    /// Stores anew what is stranded, from time to time.
    async fn keep_rescuing(&self, shutdown: &Shutdown) {
        loop {
            if let Err(error) = self.rescue_stranded().await {
                tracing::warn!(error = %error.chain(), "chunks of a failed pack wait for another place");
            }
            if pause(self.core.config.sweep_interval, shutdown).await {
                return;
            }
        }
    }

    async fn keep_measuring(&self, shutdown: &Shutdown) {
        loop {
            if let Err(error) = self.measure().await {
                tracing::debug!(error = %error.chain(), "nothing was measured");
            }
            if pause(MEASURE_INTERVAL, shutdown).await {
                return;
            }
        }
    }

    /// What gauges show: sums that are cheap to ask for, but not at every scrape.
    async fn measure(&self) -> Result<()> {
        let (totals, now) = (self.facts.totals().await?, self.core.now());
        let due = self.runs.due_runs(now, DUE_COUNT).await?;
        let oldest = due.iter().map(|run| run.due_at).min().unwrap_or(now);
        let age_s = (now.unix_ms() - oldest.unix_ms()).max(0) / 1_000;
        self.core.metrics.measured(&totals, self.queue.waiting_count().await?, age_s);
        Ok(())
    }
}
