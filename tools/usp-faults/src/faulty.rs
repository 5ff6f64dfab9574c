//! A place that fails when its script says so.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use usp_content::{OpenPacks, PackSource, SealedPacks};
use usp_model::{ByteRange, PackId, Result};

use crate::script::{Call, Fault, Script, refusal};

/// Asked for nothing in particular: the pack of calls that name none.
const NO_PACK: PackId = PackId(0);

/// A place for packs, open ones or sealed ones, whose calls meet the faults of a [`Script`].
#[derive(Debug)]
pub struct Faulty<P: ?Sized> {
    script: Script,
    inner: Arc<P>,
}

impl<P: ?Sized> Faulty<P> {
    /// `inner`, without faults so far.
    pub fn new(inner: Arc<P>) -> Self {
        Self { script: Script::default(), inner }
    }

    /// What its calls meet.
    pub fn script(&self) -> Script {
        self.script.clone()
    }
}

impl<P: ?Sized + Sync> Faulty<P> {
    async fn meet<T>(&self, call: Call, pack: PackId, work: impl Future<Output = Result<T>>) -> Result<T> {
        meet(self.script.enter(call, pack).await, pack, work).await
    }
}

/// Shape: an append that is to be short is none of these.
async fn meet<T>(fault: Option<Fault>, pack: PackId, work: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        None => work.await,
        Some(Fault::Before(kind) | Fault::Short(kind)) => Err(refusal(kind, pack)),
        Some(Fault::After(kind)) => {
            work.await?;
            Err(refusal(kind, pack))
        }
        Some(Fault::Delay(count)) => {
            for _ in 0..count {
                tokio::task::yield_now().await;
            }
            work.await
        }
    }
}

#[async_trait]
impl<P: OpenPacks + ?Sized> OpenPacks for Faulty<P> {
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()> {
        self.meet(Call::Create, pack, self.inner.create(pack, header)).await
    }

    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()> {
        match self.script.enter(Call::Append, pack).await {
            Some(Fault::Short(kind)) => {
                let mut bytes = Bytes::from(parts.concat());
                let half = bytes.split_to(bytes.len() / 2);
                self.inner.append(pack, offset, vec![half]).await?;
                Err(refusal(kind, pack))
            }
            fault => meet(fault, pack, self.inner.append(pack, offset, parts)).await,
        }
    }

    async fn sync(&self, pack: PackId) -> Result<()> {
        self.meet(Call::Sync, pack, self.inner.sync(pack)).await
    }

    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.meet(Call::Truncate, pack, self.inner.truncate(pack, size_bytes)).await
    }

    async fn retire(&self, pack: PackId) {
        self.inner.retire(pack).await;
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        let read = self.meet(Call::Read, pack, self.inner.read(pack, range)).await?;
        self.script.note_read(range.len());
        Ok(read)
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.meet(Call::Len, pack, self.inner.len(pack)).await
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        self.meet(Call::List, NO_PACK, self.inner.list()).await
    }

    async fn move_to_lost_and_found(&self, pack: PackId) -> Result<()> {
        self.meet(Call::MoveToLostAndFound, pack, self.inner.move_to_lost_and_found(pack)).await
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.meet(Call::Delete, pack, self.inner.delete(pack)).await
    }

    async fn strays(&self) -> Result<Vec<String>> {
        self.inner.strays().await
    }

    async fn drop_cache(&self, pack: PackId) -> Result<()> {
        self.inner.drop_cache(pack).await
    }
}

#[async_trait]
impl<P: SealedPacks + ?Sized> SealedPacks for Faulty<P> {
    async fn put(&self, source: PackSource) -> Result<()> {
        let pack = source.pack();
        self.meet(Call::Put, pack, self.inner.put(source)).await
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        let read = self.meet(Call::Read, pack, self.inner.read(pack, range)).await?;
        self.script.note_read(range.len());
        Ok(read)
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.meet(Call::Len, pack, self.inner.len(pack)).await
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        self.meet(Call::List, NO_PACK, self.inner.list()).await
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.meet(Call::Delete, pack, self.inner.delete(pack)).await
    }

    async fn drop_cache(&self, pack: PackId) -> Result<()> {
        self.inner.drop_cache(pack).await
    }
}
