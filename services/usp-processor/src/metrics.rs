//! What a processor counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// From a small text to a table of many gigabytes.
const SECONDS_BUCKETS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0, 3_600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The counters of one processor. Clones share them.
#[derive(Debug, Clone)]
pub struct ProcessorMetrics {
    step_seconds: Family<StepLabels, Histogram, fn() -> Histogram>,
    runs: Family<OutcomeLabel, Counter>,
    busy_slots: Gauge,
    waiting_runs: Gauge,
    workers_started: Counter,
    workers_lost: Counter,
}

impl Default for ProcessorMetrics {
    fn default() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS_BUCKETS);
        Self {
            step_seconds: Family::new_with_constructor(seconds),
            runs: Family::default(),
            busy_slots: Gauge::default(),
            waiting_runs: Gauge::default(),
            workers_started: Counter::default(),
            workers_lost: Counter::default(),
        }
    }
}

impl ProcessorMetrics {
    /// Adds them below `usp_processor`.
    #[rustfmt::skip]
    pub fn register(&self, registry: &mut Registry) {
        let processor = registry.sub_registry_with_prefix("usp_processor");
        processor.register_with_unit("step_duration", "One step over one content", Unit::Seconds, self.step_seconds.clone());
        processor.register("runs", "Runs that left the processor, by how", self.runs.clone());
        processor.register("busy_slots", "Runs whose steps are at work", self.busy_slots.clone());
        processor.register("waiting_runs", "Runs that are leased and wait for a slot", self.waiting_runs.clone());
        processor.register("workers_started", "Worker processes that were started", self.workers_started.clone());
        processor.register("workers_lost", "Worker processes that ended in the middle of a step", self.workers_lost.clone());
    }

    pub(crate) fn step_ended(&self, uses: &str, took: Duration, succeeded: bool) {
        // A rule may name anything; labels are of closed sets.
        let step = usp_steps::names().iter().find(|name| **name == uses).copied().unwrap_or("unknown");
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.step_seconds.get_or_create(&StepLabels { step, outcome }).observe(took.as_secs_f64());
    }

    pub(crate) fn run_ended(&self, outcome: &'static str) {
        self.runs.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn busy(&self) -> Counted {
        Counted::new(&self.busy_slots)
    }

    pub(crate) fn waiting(&self) -> Counted {
        Counted::new(&self.waiting_runs)
    }

    pub(crate) fn worker_started(&self) {
        self.workers_started.inc();
    }

    pub(crate) fn worker_lost(&self) {
        self.workers_lost.inc();
    }
}

/// One more while it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
