//! A backend that fails when it is told to, and remembers what it was asked.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use usp_content::{MemoryPacks, PackBackend};
use usp_model::{ByteRange, Error, ErrorKind, PackId, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Append,
    Sync,
    Truncate,
    Read,
}

/// One failure: the call after `skip_count` more of its sort answers `kind`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) skip_count: usize,
    pub(crate) kind: ErrorKind,
}

/// Called once by the read that fails, before it answers.
type OnFault = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(crate) struct FaultyPacks {
    inner: MemoryPacks,
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<Vec<(Call, PackId)>>,
    on_fault: Mutex<Option<OnFault>>,
    /// When set, every sync takes one of its permits.
    sync_gate: Mutex<Option<Arc<Semaphore>>>,
    read_bytes: Mutex<u64>,
}

impl std::fmt::Debug for FaultyPacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyPacks")
    }
}

impl FaultyPacks {
    pub(crate) fn fail(&self, call: Call, skip_count: usize, kind: ErrorKind) {
        self.faults.lock().push(Fault { call, skip_count, kind });
    }

    pub(crate) fn on_fault(&self, job: impl Fn() + Send + Sync + 'static) {
        *self.on_fault.lock() = Some(Box::new(job));
    }

    /// Syncs stop here until the gate gets permits.
    pub(crate) fn gate_syncs(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.sync_gate.lock() = Some(Arc::clone(&gate));
        gate
    }

    pub(crate) fn calls(&self) -> Vec<(Call, PackId)> {
        self.calls.lock().clone()
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        self.calls.lock().iter().filter(|(made, _)| *made == call).count()
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        *self.read_bytes.lock()
    }

    /// Notes the call; answers the failure that is due.
    fn note(&self, call: Call, pack: PackId) -> Option<Error> {
        self.calls.lock().push((call, pack));
        let mut faults = self.faults.lock();
        let mut due = None;
        faults.retain_mut(|fault| {
            if fault.call != call || due.is_some() {
                return true;
            }
            if fault.skip_count > 0 {
                fault.skip_count -= 1;
                return true;
            }
            due = Some(Error::new(fault.kind, "do as the test says").about(pack));
            false
        });
        if let (Some(_), Some(job)) = (&due, self.on_fault.lock().as_ref()) {
            job();
        }
        due
    }
}

#[async_trait]
impl PackBackend for FaultyPacks {
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()> {
        match self.note(Call::Create, pack) {
            Some(error) => Err(error),
            None => self.inner.create(pack, header).await,
        }
    }

    /// A write that fails leaves half of its bytes behind.
    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()> {
        if let Some(error) = self.note(Call::Append, pack) {
            let bytes = parts.concat();
            let half = Bytes::from(bytes).split_to(parts.iter().map(Bytes::len).sum::<usize>() / 2);
            self.inner.append(pack, offset, vec![half]).await?;
            return Err(error);
        }
        self.inner.append(pack, offset, parts).await
    }

    async fn sync(&self, pack: PackId) -> Result<()> {
        let failed = self.note(Call::Sync, pack);
        let gate = self.sync_gate.lock().clone();
        if let Some(gate) = gate
            && let Ok(permit) = gate.acquire().await
        {
            permit.forget();
        }
        match failed {
            Some(error) => Err(error),
            None => self.inner.sync(pack).await,
        }
    }

    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        match self.note(Call::Truncate, pack) {
            Some(error) => Err(error),
            None => self.inner.truncate(pack, size_bytes).await,
        }
    }

    async fn retire(&self, pack: PackId) {
        self.inner.retire(pack).await;
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        if let Some(error) = self.note(Call::Read, pack) {
            return Err(error);
        }
        *self.read_bytes.lock() += range.len();
        self.inner.read(pack, range).await
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.inner.len(pack).await
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        self.inner.list().await
    }

    async fn set_aside(&self, pack: PackId) -> Result<()> {
        self.inner.set_aside(pack).await
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.inner.delete(pack).await
    }
}
