//! The worker's loop: as many runs at once as there are slots, and a few short ones held ready for the next slot.
//!
//! A run that takes a millisecond must not wait for a question to storage and its answer, so runs are leased ahead: as
//! many as the slots work off in `AHEAD_TIME`, by what the last runs took. One that waits much longer is given back, for
//! another processor may be idle.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use usp_api::{Caller, StorageApi};
use usp_model::{Grant, LeasedRun, Principal, PrincipalKind, Result, Role, UserName};
use usp_queue::Queue;
use usp_rt::{Shutdown, jittered};

use crate::bench::{Bench, Isolation};
use crate::job::Job;
use crate::metrics::{Counted, ProcessorMetrics};
use crate::source::Source;

/// Work that is held ready.
const AHEAD_TIME: Duration = Duration::from_millis(100);
/// A run that waited this long for a slot is given back; far below any lease time.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(1);
/// Runs that are held ready at most, and so lose an attempt when the processor dies.
const AHEAD_COUNT_MAX: usize = 64;
/// Runs whose end is on its way to storage.
const REPORTING_COUNT_MAX: usize = 256;

/// What an operator can set about a processor.
#[derive(Debug, Clone)]
pub struct ProcessorConfig {
    /// Names the worker in logs; unique among the processors of an installation.
    pub worker: String,
    /// Runs at once.
    pub concurrency: usize,
    /// How often a running step keeps its lease and tells its progress.
    pub heartbeat: Duration,
    /// How long one question for work waits, and so how long an idle processor takes to stop.
    pub lease_wait: Duration,
    /// On stop: how long running steps may go on before they are handed back.
    pub drain_timeout: Duration,
    /// Where steps run that read what strangers sent.
    pub isolation: Isolation,
    pub metrics: ProcessorMetrics,
}

/// Twice the cores, and eight at least: a short run mostly waits, for its content and for its turn on a thread.
fn default_concurrency() -> usize {
    const LEAST: usize = 8;
    std::thread::available_parallelism().map_or(LEAST, |cores| (2 * cores.get()).max(LEAST))
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            worker: "processor".to_owned(),
            concurrency: default_concurrency(),
            heartbeat: Duration::from_secs(1),
            lease_wait: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(30),
            isolation: Isolation::None,
            metrics: ProcessorMetrics::default(),
        }
    }
}

/// Takes runs from storage, in this process or another, until it is told to stop.
pub struct Processor {
    config: ProcessorConfig,
    storage: Arc<dyn StorageApi>,
    caller: Caller,
    /// Where offers come from, if not from storage.
    queue: Option<Arc<dyn Queue>>,
}

/// What the jobs of a processor share.
struct Shop {
    job: Job,
    slots: Arc<Semaphore>,
    /// Runs that are leased and have no slot yet.
    waiting: AtomicUsize,
    /// Told when a run left the line or a slot became free.
    moved: Notify,
    pace: Pace,
}

impl Processor {
    /// Errors: `InvalidInput` for a worker name that is no user name.
    pub fn new(config: ProcessorConfig, storage: Arc<dyn StorageApi>) -> Result<Self> {
        let principal = Principal {
            kind: PrincipalKind::Service,
            name: UserName::parse(&config.worker)?,
            api_key: None,
            grants: vec![Grant { bucket: None, role: Role::Reader }],
        };
        let caller = Caller { principal, request_id: String::new() };
        Ok(Self { config, storage, caller, queue: None })
    }

    /// Learns of work from this queue, and from storage only while that fails.
    #[must_use]
    pub fn with_queue(mut self, queue: Arc<dyn Queue>) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Works until `shutdown`, then lets running steps end or hands them back.
    pub async fn run(self, shutdown: Shutdown) {
        let concurrency = self.config.concurrency.max(1);
        let source = Source {
            storage: Arc::clone(&self.storage),
            caller: self.caller.clone(),
            worker: self.config.worker.clone(),
            queue: self.queue.clone(),
        };
        let hand_back = Shutdown::new();
        let job = Job {
            storage: Arc::clone(&self.storage),
            caller: self.caller.clone(),
            heartbeat: self.config.heartbeat,
            bench: Bench::new(self.config.isolation.clone(), concurrency, self.config.metrics.clone()),
            metrics: self.config.metrics.clone(),
            hand_back: hand_back.clone(),
        };
        let shop = Arc::new(Shop {
            job,
            slots: Arc::new(Semaphore::new(concurrency)),
            waiting: AtomicUsize::new(0),
            moved: Notify::new(),
            pace: Pace::default(),
        });
        let held = Arc::new(Semaphore::new(concurrency + AHEAD_COUNT_MAX + REPORTING_COUNT_MAX));
        let jobs = TaskTracker::new();
        while let Some(leased) = self.next_runs(&source, &shop, &held, &shutdown).await {
            for (leased, held) in leased {
                shop.waiting.fetch_add(1, Ordering::Relaxed);
                let (shop, stop) = (Arc::clone(&shop), shutdown.clone());
                jobs.spawn(async move {
                    shop.take_on(leased, stop).await;
                    drop(held);
                });
            }
        }
        jobs.close();
        if tokio::time::timeout(self.config.drain_timeout, jobs.wait()).await.is_err() {
            hand_back.cancel();
            jobs.wait().await;
        }
    }

    /// The next runs, each with the permit to hold it; `None` once it is time to stop.
    async fn next_runs(
        &self,
        source: &Source,
        shop: &Shop,
        held: &Arc<Semaphore>,
        shutdown: &Shutdown,
    ) -> Option<Vec<(LeasedRun, OwnedSemaphorePermit)>> {
        const PAUSE_MAX: Duration = Duration::from_secs(10);
        let mut pause = Duration::from_millis(100);
        loop {
            let first = tokio::select! {
                // The stop first: the other branch may always be ready.
                biased;
                () = shutdown.cancelled() => return None,
                permit = Arc::clone(held).acquire_owned() => permit.ok()?,
            };
            let count = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                count = shop.room(self.config.concurrency.max(1)) => count,
            };
            let mut taken = vec![first];
            while taken.len() < count
                && let Ok(permit) = Arc::clone(held).try_acquire_owned()
            {
                taken.push(permit);
            }
            let count_max = u32::try_from(taken.len()).unwrap_or(u32::MAX);
            // Waited for to its end, also when the stop comes: what a dropped answer brings would be lost until its
            // lease time is over.
            let leased = source.next(count_max, self.config.lease_wait).await;
            match leased {
                Ok(leased) if leased.is_empty() => {}
                Ok(leased) => return Some(leased.into_iter().zip(taken).collect()),
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "no work from storage");
                    drop(taken);
                    tokio::select! {
                        () = tokio::time::sleep(jittered(pause)) => {}
                        () = shutdown.cancelled() => return None,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

impl Shop {
    /// Waits for room for more runs; gives for how many.
    async fn room(&self, concurrency: usize) -> usize {
        loop {
            let moved = self.moved.notified();
            let ahead = self.pace.ahead(concurrency);
            let waiting = self.waiting.load(Ordering::Relaxed);
            let room = (self.slots.available_permits() + ahead).saturating_sub(waiting);
            // Asked for by halves: a question for each run would cost more than the run.
            if room > ahead / 2 {
                return room;
            }
            moved.await;
        }
    }

    /// Works on the run in the next free slot, or gives it back when that takes long.
    async fn take_on(&self, leased: LeasedRun, stop: Shutdown) {
        let line = self.job.metrics.waiting();
        let slot = tokio::select! {
            biased;
            slot = Arc::clone(&self.slots).acquire_owned() => slot.ok(),
            () = tokio::time::sleep(GIVE_BACK_AFTER) => None,
            () = stop.cancelled() => None,
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        drop(line);
        match slot {
            Some(slot) => {
                let done = |took| {
                    self.pace.note(took);
                };
                self.moved.notify_one();
                let slot = Slot { permit: Some(slot), _busy: self.job.metrics.busy(), moved: &self.moved };
                self.job.run(leased, slot, done).await;
            }
            None => {
                self.pace.note(GIVE_BACK_AFTER);
                self.job.give_back(leased).await;
            }
        }
        self.moved.notify_one();
    }
}

/// A place at the bench. Whoever waits for room hears when it becomes free.
pub(crate) struct Slot<'a> {
    permit: Option<OwnedSemaphorePermit>,
    _busy: Counted,
    moved: &'a Notify,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // Free before it is told.
        drop(self.permit.take());
        self.moved.notify_one();
    }
}

/// What runs took lately.
#[derive(Debug, Default)]
struct Pace(Mutex<Option<Duration>>);

impl Pace {
    fn note(&self, took: Duration) {
        let mut mean = self.0.lock();
        *mean = Some(mean.map_or(took, |mean| (mean * 7 + took) / 8));
    }

    /// How many runs the slots work off in `AHEAD_TIME`; none before the first has ended.
    fn ahead(&self, concurrency: usize) -> usize {
        let Some(mean) = *self.0.lock() else { return 0 };
        let count = AHEAD_TIME.as_micros() / mean.as_micros().max(1);
        usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(concurrency).min(AHEAD_COUNT_MAX)
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("config", &self.config)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_leased_ahead_and_long_ones_are_not() {
        let pace = Pace::default();
        assert_eq!(pace.ahead(2), 0);
        pace.note(Duration::from_millis(10));
        assert_eq!(pace.ahead(2), 20);
        for _ in 0..100 {
            pace.note(Duration::from_micros(50));
        }
        assert_eq!(pace.ahead(2), AHEAD_COUNT_MAX);
        for _ in 0..100 {
            pace.note(Duration::from_secs(5));
        }
        assert_eq!(pace.ahead(2), 0);
    }
}
