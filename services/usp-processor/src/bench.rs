//! Where steps run: on a thread of this process, or in a worker process that may die without harm.

mod apart;
mod child;
mod confine;
mod frame;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use usp_api::ByteStream;
use usp_rt::Pool;
use usp_steps::{FileFacts, Place, StepError, StepOutput};

use crate::content::{ContentReader, Gauge};
use crate::metrics::ProcessorMetrics;

pub use apart::WorkerProgram;
pub use child::serve_steps;
pub use confine::ChildLimits;

/// How steps that read what strangers sent are kept apart from the service.
#[derive(Debug, Clone, Default)]
pub enum Isolation {
    /// They are not: a step that aborts or takes all memory takes the processor with it.
    #[default]
    None,
    /// In worker processes, with bounds on memory, time and open files.
    Process(WorkerProgram),
}

/// One step over one content.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) uses: String,
    pub(crate) with: BTreeMap<String, Value>,
    pub(crate) facts: FileFacts,
    /// What the step may take; a worker process counts its processor time against it.
    pub(crate) timeout_s: u64,
}

/// What a step reads.
pub(crate) enum Content {
    Whole(Bytes),
    Stream(ByteStream),
}

/// Clones share the threads and the worker processes.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    threads: Pool,
    workers: Option<Arc<apart::Workers>>,
}

impl Bench {
    pub(crate) fn new(isolation: Isolation, concurrency: usize, metrics: ProcessorMetrics) -> Self {
        let workers = match isolation {
            Isolation::None => None,
            Isolation::Process(program) => Some(Arc::new(apart::Workers::new(program, concurrency, metrics))),
        };
        Self { threads: Pool::new("steps", concurrency), workers }
    }

    /// Runs the step to its end, or until soon after the gauge was cancelled.
    pub(crate) async fn run(
        &self,
        order: Order,
        content: Content,
        gauge: Arc<Gauge>,
    ) -> Result<StepOutput, StepError> {
        match (&self.workers, usp_steps::place(&order.uses)) {
            (Some(workers), Place::Apart) => workers.run(&order, content, &gauge).await,
            (Some(_) | None, _) => self.run_inside(order, content, gauge).await,
        }
    }

    async fn run_inside(
        &self,
        order: Order,
        content: Content,
        gauge: Arc<Gauge>,
    ) -> Result<StepOutput, StepError> {
        let built = usp_steps::build(&order.uses, &order.with);
        let built = built.map_err(|error| StepError::Permanent(error.detail()))?;
        let running = match content {
            Content::Whole(bytes) => {
                let run = move || built.run(&order.facts, &mut Cursor::new(bytes), gauge.as_ref());
                self.threads.run(run).await
            }
            Content::Stream(stream) => {
                let mut content = ContentReader::start(stream, gauge.stop());
                self.threads.run(move || built.run(&order.facts, &mut content, gauge.as_ref())).await
            }
        };
        running.unwrap_or_else(|error| Err(StepError::Temporary(format!("the step did not end: {error}"))))
    }
}
