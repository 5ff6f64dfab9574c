//! Many requests by some clients at once, each on a kept connection of its own.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::http::Connection;
use crate::stats::percentile;

const STACK_SIZE_BYTES: usize = 256 << 10;
/// Room for this many latencies is made before the start.
const LATENCIES_AHEAD: usize = 1 << 16;

/// What to do how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) requests: usize,
    /// No request begins after this; what was done by then counts.
    pub(crate) time_max: Duration,
}

/// What was done.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) requests: usize,
    pub(crate) seconds: f64,
    /// Of each request, ascending.
    micros: Vec<u32>,
}

impl Done {
    #[expect(clippy::cast_precision_loss, reason = "requests of a benchmark are far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds.max(1e-9)
    }

    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        f64::from(percentile(&self.micros, percent)) / 1000.0
    }
}

/// One client's work on one request; the number says which.
pub(crate) type Work<'a> = dyn Fn(&mut Connection, usize) -> Result<()> + Sync + 'a;

impl Load {
    /// Opens all connections, then lets all clients go at once. Errors: the first request that failed.
    pub(crate) fn run(&self, address: SocketAddr, work: &Work<'_>) -> Result<Done> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let start = Barrier::new(self.clients + 1);
        let (begun, results) = thread::scope(|scope| {
            let client = || {
                let connection = Connection::open(address);
                start.wait();
                let result = connection.and_then(|connection| self.client(connection, &next, &failed, work));
                if result.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                result
            };
            let builder = || thread::Builder::new().stack_size(STACK_SIZE_BYTES);
            let handles: Vec<_> = (0..self.clients).map(|_| builder().spawn_scoped(scope, client)).collect();
            start.wait();
            let begun = Instant::now();
            let join = |handle: std::io::Result<thread::ScopedJoinHandle<'_, Result<Vec<u32>>>>| {
                handle.context("start a client")?.join().map_err(|_| anyhow::anyhow!("a client panicked"))?
            };
            (begun, handles.into_iter().map(join).collect::<Vec<_>>())
        });
        let seconds = begun.elapsed().as_secs_f64();
        let mut micros = Vec::with_capacity(self.requests);
        for result in results {
            micros.extend(result?);
        }
        ensure!(!micros.is_empty(), "no request was answered");
        micros.sort_unstable();
        Ok(Done { requests: micros.len(), seconds, micros })
    }

    fn client(
        &self,
        mut connection: Connection,
        next: &AtomicUsize,
        failed: &AtomicBool,
        work: &Work<'_>,
    ) -> Result<Vec<u32>> {
        let mut micros = Vec::with_capacity(self.requests.min(LATENCIES_AHEAD));
        let begun = Instant::now();
        while !failed.load(Ordering::Relaxed) && begun.elapsed() < self.time_max {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.requests {
                break;
            }
            let asked = Instant::now();
            work(&mut connection, index)?;
            micros.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        Ok(micros)
    }
}
