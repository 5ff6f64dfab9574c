//! Packs as files of one directory: `packs/<xx>/<id>.pack`, and `lost+found/` beside it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use usp_model::{ByteRange, Error, ErrorKind, PackId, Result};
use usp_rt::{Pool, is_planted};

use super::{OpenPacks, PackSource, SealedPacks};

mod directories;
mod files;
mod io_at;

pub use files::DeleteLock;
use files::Files;
use io_at::{drop_cache, read_exact_at, write_all_at};

/// Bytes that taking in a pack holds at a time.
const PUT_BYTES: u64 = 1 << 20;
const PUT: &str = "put pack";

/// Packs on a local disk. Caches open descriptors only: the directory is the truth.
///
/// Shape: either trait shows every pack of the directory. Source: docs/formats/pack.md, "Operations".
#[derive(Debug)]
pub struct LocalPacks {
    files: Arc<Files>,
    disk: Pool,
}

impl LocalPacks {
    /// Opens or makes the directories under `root`. Blocking: called once, at start.
    pub fn open(root: &Path, disk: Pool) -> Result<Self> {
        let files = Files::open(root.join("packs"), root.join("lost+found"));
        let files = files.map_err(|source| failure("open packs", source))?;
        Ok(Self { files: Arc::new(files), disk })
    }

    /// As [`OpenPacks::read`].
    pub async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        match self.files.read_cached(pack, range) {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => {}
            Err(source) => return Err(failure("read pack", source).about(pack)),
        }
        self.with(pack, "read pack", move |files| read_exact_at(&*files.reader(pack)?, range)).await
    }

    /// As [`OpenPacks::len`].
    pub async fn len(&self, pack: PackId) -> Result<u64> {
        self.with(pack, "measure pack", move |files| files.size_bytes(pack)).await
    }

    /// As [`OpenPacks::list`].
    pub async fn list(&self) -> Result<Vec<PackId>> {
        self.run("list packs", Files::list).await
    }

    /// As [`OpenPacks::delete`].
    pub async fn delete(&self, pack: PackId) -> Result<()> {
        self.with(pack, "delete pack", move |files| files.delete(pack)).await
    }

    /// As [`OpenPacks::drop_cache`].
    pub async fn drop_cache(&self, pack: PackId) -> Result<()> {
        self.with(pack, "read pack from the disk", move |files| drop_cache(&*files.reader(pack)?)).await
    }

    async fn copy(&self, source: &PackSource) -> Result<()> {
        let pack = source.pack();
        let file = Arc::new(self.with(pack, PUT, move |files| files.begin_put(pack)).await?);
        for range in source.ranges(PUT_BYTES) {
            let (bytes, file) = (source.read(range).await?, Arc::clone(&file));
            self.with(pack, PUT, move |_| write_all_at(&file, &[bytes], range.start())).await?;
        }
        self.with(pack, PUT, move |files| files.finish_put(pack, &file)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        pack: PackId,
        action: &'static str,
        job: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(action, job).await.map_err(|error| error.about(pack))
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        job: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let files = Arc::clone(&self.files);
        let done = self.disk.run(move || job(&files)).await;
        let done = done.map_err(|source| Error::new(ErrorKind::Unavailable, action).caused_by(source))?;
        done.map_err(|source| failure(action, source))
    }
}

// The inherent methods come first: where a trait forwards to one of its own name, it does not call itself.

#[async_trait]
impl OpenPacks for LocalPacks {
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()> {
        self.with(pack, "create pack", move |files| files.create(pack, &header)).await
    }

    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()> {
        self.with(pack, "append to pack", move |files| write_all_at(&*files.writer(pack)?, &parts, offset))
            .await
    }

    async fn sync(&self, pack: PackId) -> Result<()> {
        if is_planted("skip-fdatasync") {
            return Ok(());
        }
        self.with(pack, "sync pack", move |files| files.writer(pack)?.sync_data()).await
    }

    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.with(pack, "truncate pack", move |files| files.writer(pack)?.set_len(size_bytes)).await
    }

    async fn retire(&self, pack: PackId) {
        self.files.retire(pack);
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        self.read(pack, range).await
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.len(pack).await
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        self.list().await
    }

    async fn move_to_lost_and_found(&self, pack: PackId) -> Result<()> {
        self.with(pack, "move pack to lost+found", move |files| files.move_to_lost_and_found(pack)).await
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.delete(pack).await
    }

    async fn strays(&self) -> Result<Vec<String>> {
        self.run("list packs", |files| Ok(files.scan()?.strays)).await
    }

    async fn drop_cache(&self, pack: PackId) -> Result<()> {
        self.drop_cache(pack).await
    }
}

#[async_trait]
impl SealedPacks for LocalPacks {
    /// Copies the bytes into a file of another name, which gets the name of the pack once it is durable.
    async fn put(&self, source: PackSource) -> Result<()> {
        let copied = self.copy(&source).await;
        if copied.is_err() {
            let pack = source.pack();
            let _best_effort = self.with(pack, PUT, move |files| files.give_up_put(pack)).await;
        }
        copied
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        self.read(pack, range).await
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.len(pack).await
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        self.list().await
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.delete(pack).await
    }

    async fn drop_cache(&self, pack: PackId) -> Result<()> {
        self.drop_cache(pack).await
    }
}

fn failure(action: &'static str, source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
        io::ErrorKind::UnexpectedEof => ErrorKind::OutOfRange,
        io::ErrorKind::WouldBlock => ErrorKind::Locked,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::StorageFull
        }
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, action).caused_by(source)
}
