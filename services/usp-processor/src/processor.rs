//! The worker's loop: as many runs at once as there are slots.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use usp_api::{Caller, StorageApi};
use usp_model::{Grant, LeasedRun, Principal, PrincipalKind, Result, Role, UserName};
use usp_queue::Queue;
use usp_rt::{Pool, Shutdown, jittered};

use crate::job::Job;
use crate::source::Source;

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
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            worker: "processor".to_owned(),
            concurrency: std::thread::available_parallelism().map_or(2, usize::from),
            heartbeat: Duration::from_secs(1),
            lease_wait: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(30),
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
        let slots = Arc::new(Semaphore::new(self.config.concurrency.max(1)));
        let source = Source {
            storage: Arc::clone(&self.storage),
            caller: self.caller.clone(),
            worker: self.config.worker.clone(),
            queue: self.queue.clone(),
        };
        let steps = Pool::new("steps", self.config.concurrency.max(1));
        let hand_back = Shutdown::new();
        let jobs = TaskTracker::new();
        while let Some(leased) = self.next_runs(&source, &slots, &shutdown).await {
            for (leased, slot) in leased {
                let job = Job {
                    storage: Arc::clone(&self.storage),
                    caller: self.caller.clone(),
                    heartbeat: self.config.heartbeat,
                    steps: steps.clone(),
                    hand_back: hand_back.clone(),
                };
                jobs.spawn(async move {
                    job.run(leased).await;
                    drop(slot);
                });
            }
        }
        jobs.close();
        if tokio::time::timeout(self.config.drain_timeout, jobs.wait()).await.is_err() {
            hand_back.cancel();
            jobs.wait().await;
        }
    }

    /// The next runs, each with the slot it will take; `None` once it is time to stop.
    async fn next_runs(
        &self,
        source: &Source,
        slots: &Arc<Semaphore>,
        shutdown: &Shutdown,
    ) -> Option<Vec<(LeasedRun, tokio::sync::OwnedSemaphorePermit)>> {
        const PAUSE_MAX: Duration = Duration::from_secs(10);
        let mut pause = Duration::from_millis(100);
        loop {
            let first = tokio::select! {
                // The stop first: with slots free the other branch is always ready.
                biased;
                () = shutdown.cancelled() => return None,
                slot = Arc::clone(slots).acquire_owned() => slot.ok()?,
            };
            let mut taken = vec![first];
            while let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
                taken.push(slot);
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

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor")
            .field("config", &self.config)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}
