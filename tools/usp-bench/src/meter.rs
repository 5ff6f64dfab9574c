//! What one measured piece of work cost whom.

use std::time::Instant;

use anyhow::Result;

use crate::proc;

/// Runs from [`Meter::start`] to [`Meter::stop`].
#[derive(Debug)]
pub(crate) struct Meter {
    server: Option<u32>,
    begun: Instant,
    server_ticks: u64,
    own_ticks: u64,
    machine_ticks: u64,
}

/// Seconds of wall clock and of CPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// The server's process tree.
    pub(crate) server_cpu: f64,
    /// This program, with what it ran to its end.
    pub(crate) client_cpu: f64,
    /// Everybody else on the machine, the kernel's own threads included: a run with much of it says little.
    pub(crate) others_cpu: f64,
}

impl Meter {
    pub(crate) fn start(server: Option<u32>) -> Result<Self> {
        Ok(Self {
            server,
            server_ticks: server.map_or(0, proc::tree_ticks),
            own_ticks: proc::own_ticks()?,
            machine_ticks: proc::machine_ticks()?,
            begun: Instant::now(),
        })
    }

    pub(crate) fn stop(self) -> Result<Cost> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let machine = proc::machine_ticks()?.saturating_sub(self.machine_ticks);
        let own = proc::own_ticks()?.saturating_sub(self.own_ticks);
        let server = self.server.map_or(0, proc::tree_ticks).saturating_sub(self.server_ticks);
        let per_second = proc::ticks_per_second()?;
        #[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark are far below 2^52")]
        let in_seconds = |ticks: u64| ticks as f64 / per_second;
        Ok(Cost {
            seconds,
            server_cpu: in_seconds(server),
            client_cpu: in_seconds(own),
            others_cpu: in_seconds(machine.saturating_sub(own + server)),
        })
    }
}
