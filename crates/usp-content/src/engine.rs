//! The parts of one store that storing, reading and maintaining contents work on.

use std::sync::Arc;

use usp_model::{Error, ErrorKind, Result};
use usp_rt::{ByteBudget, Pool};

use crate::codec::CodecPool;
use crate::config::ContentConfig;
use crate::filter::DigestFilter;
use crate::index::ChunkIndex;
use crate::pack_store::PackStore;
use crate::packs::Packs;
use crate::pending::Pending;
use crate::stats::Counters;

/// Bytes that are computed on where they are: the way to the CPU pool and back would cost more. At 180 MB/s, which is
/// what compressing and verifying takes at worst, it stays below half a millisecond.
pub(crate) const SHORT_BYTES_MAX: usize = 64 << 10;

/// One store, without what its callers see of it.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: ContentConfig,
    pub(crate) pack_store: PackStore,
    pub(crate) index: Arc<dyn ChunkIndex>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) codecs: Arc<CodecPool>,
    pub(crate) cpu: Pool,
    /// Bytes of uploads that are on their way to a pack.
    pub(crate) budget: ByteBudget,
    /// Bytes that reads hold beyond the chunk that each is sending.
    pub(crate) read_ahead: ByteBudget,
    pub(crate) counters: Arc<Counters>,
    pub(crate) filter: DigestFilter,
}

impl Engine {
    /// In the background: until it is done every chunk is looked up.
    pub(crate) fn fill_filter(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = engine.filter.fill(&*engine.index).await {
                tracing::warn!(error = %error.chain(), "every chunk is looked up: the filter could not be filled");
            }
        });
    }

    /// Runs a computation over so many bytes: short ones here, longer ones on the CPU pool.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        action: &'static str,
        size_bytes: usize,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if size_bytes <= SHORT_BYTES_MAX { job() } else { self.on_cpu(action, job).await }
    }

    /// Runs a computation on the CPU pool. Errors: its own; `Internal` when it panicked.
    pub(crate) async fn on_cpu<T: Send + 'static>(
        &self,
        action: &'static str,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.cpu.run(job).await;
        done.unwrap_or_else(|source| Err(Error::new(ErrorKind::Internal, action).caused_by(source)))
    }
}
