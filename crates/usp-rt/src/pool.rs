//! Bounded crossings from async code to blocking threads.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};

/// A named bound on how many blocking jobs of one sort run at once.
///
/// Jobs run on tokio's blocking threads; the bound is what keeps CPU work to the cores and disk work to a depth
/// that the device likes. Clones share the bound.
#[derive(Clone)]
pub struct Pool {
    name: &'static str,
    slots: Arc<Semaphore>,
    slot_count: usize,
}

/// The job did not give a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolError {
    /// The job panicked: a bug, contained to this job.
    Panicked,
    /// The runtime is shutting down.
    Stopped,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked => "the job panicked",
            Self::Stopped => "the runtime is stopping",
        })
    }
}

impl std::error::Error for PoolError {}

impl Pool {
    /// A pool for computing: as many jobs as there are cores.
    pub fn cpu() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self::new("cpu", cores)
    }

    /// A pool for file system calls.
    pub fn disk() -> Self {
        const DISK_JOBS_MAX: usize = 16;
        Self::new("disk", DISK_JOBS_MAX)
    }

    /// `slot_count` of 0 counts as 1.
    pub fn new(name: &'static str, slot_count: usize) -> Self {
        let slot_count = slot_count.max(1);
        Self { name, slots: Arc::new(Semaphore::new(slot_count)), slot_count }
    }

    /// Runs `job` on a blocking thread once a slot is free.
    ///
    /// Cancel: before a slot is free nothing happens; after that the job runs to its end unseen, and its slot stays
    /// taken until then.
    pub async fn run<T, F>(&self, job: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_closed| PoolError::Stopped)?;
        on_slot(slot, job).await.map_err(PoolError::of)
    }

    /// Begins `job` at once where a slot is free, else as soon as one is. It runs to its end whether anyone waits or not.
    pub fn begin<T, F>(&self, job: F) -> Begun<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => Begun(Run::Now(on_slot(slot, job))),
            Err(_taken) => {
                let pool = self.clone();
                Begun(Run::Later(tokio::spawn(async move { pool.run(job).await })))
            }
        }
    }

    pub fn slot_count(&self) -> usize {
        self.slot_count
    }
}

/// Runs `job` on a blocking thread and gives the slot back when it has ended.
fn on_slot<T: Send + 'static>(
    slot: OwnedSemaphorePermit,
    job: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        let out = job();
        drop(slot);
        out
    })
}

/// A job that was begun.
#[derive(Debug)]
pub struct Begun<T>(Run<T>);

#[derive(Debug)]
enum Run<T> {
    Now(JoinHandle<T>),
    Later(JoinHandle<Result<T, PoolError>>),
}

impl<T> Begun<T> {
    /// Waits for its result. Cancel: safe, the job goes on.
    pub async fn ended(self) -> Result<T, PoolError> {
        match self.0 {
            Run::Now(running) => running.await.map_err(PoolError::of),
            Run::Later(running) => running.await.map_err(PoolError::of)?,
        }
    }
}

impl PoolError {
    fn of(error: JoinError) -> Self {
        if error.is_panic() { Self::Panicked } else { Self::Stopped }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("free", &self.slots.available_permits())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_panic_stays_inside_its_job() {
        let pool = Pool::new("test", 1);
        assert_eq!(pool.run(|| panic!("on purpose")).await, Err(PoolError::Panicked));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_that_was_begun_runs_unwatched_and_waits_for_its_slot() {
        let pool = Pool::new("test", 1);
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = pool.begin(move || gate.recv().is_ok());
        let second = pool.begin(|| 2);
        assert_eq!(pool.slots.available_permits(), 0);
        open.send(()).unwrap();
        assert_eq!((first.ended().await, second.ended().await), (Ok(true), Ok(2)));
        assert_eq!(pool.begin(|| panic!("on purpose")).ended().await, Err::<(), _>(PoolError::Panicked));
    }

    #[tokio::test]
    async fn no_more_jobs_run_than_there_are_slots() {
        let pool = Pool::new("test", 2);
        let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..16).map(|_| {
            let (pool, running, peak) = (pool.clone(), Arc::clone(&running), Arc::clone(&peak));
            tokio::spawn(async move {
                pool.run(move || {
                    peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                })
                .await
            })
        });
        for job in jobs.collect::<Vec<_>>() {
            job.await.unwrap().unwrap();
        }
        assert!(peak.load(Ordering::SeqCst) <= 2);
    }
}
