//! Packs as files of one directory: `packs/<xx>/<id>.pack`, and `lost+found/` beside it.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
#[cfg(not(test))]
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, ReadWriteFlags};
use usp_model::{ByteRange, Error, ErrorKind, PackId, Result};
use usp_rt::{Pool, is_planted};

use super::PackBackend;
#[cfg(test)]
use crate::schedules::Mutex;

/// Packs on a local disk. Clones nothing and remembers only open files: the directory is the truth.
///
/// Source: docs/formats/pack.md, "Operations".
#[derive(Debug)]
pub struct LocalPacks {
    shared: Arc<Shared>,
    disk: Pool,
}

#[derive(Debug)]
struct Shared {
    packs: PathBuf,
    lost_and_found: PathBuf,
    files: Mutex<OpenFiles>,
    directories: Directories,
}

/// Descriptors kept open. A pack that is being written keeps its own until it is retired, so that an error of the
/// medium is reported to the descriptor that wrote; the rest are readers, and the oldest makes room.
#[derive(Debug, Default)]
struct OpenFiles {
    writers: Vec<(PackId, Arc<File>)>,
    readers: VecDeque<(PackId, Arc<File>)>,
}

impl OpenFiles {
    /// Far below the usual limit of 1,024 descriptors, which sockets need more.
    const READER_COUNT_MAX: usize = 64;

    fn find(&self, pack: PackId) -> Option<Arc<File>> {
        let mut known = self.writers.iter().chain(&self.readers);
        known.find(|(id, _)| *id == pack).map(|(_, file)| Arc::clone(file))
    }

    fn add_reader(&mut self, pack: PackId, file: Arc<File>) {
        self.readers.push_back((pack, file));
        if self.readers.len() > Self::READER_COUNT_MAX {
            self.readers.pop_front();
        }
    }

    fn forget(&mut self, pack: PackId) {
        self.writers.retain(|(id, _)| *id != pack);
        self.readers.retain(|(id, _)| *id != pack);
    }
}

/// What the directories of packs hold.
#[derive(Debug, Default)]
struct Contents {
    packs: Vec<PackId>,
    strays: Vec<String>,
}

/// Held while a pack is erased, and shared by backups, which are processes of their own: a pack that a backup is about to
/// copy is not erased. The kernel gives it back when its holder dies, so nothing stale is left behind.
#[derive(Debug)]
pub struct EraseLock(File);

impl EraseLock {
    /// Errors: `WouldBlock` while a backup runs.
    fn take(packs: &Path) -> io::Result<Self> {
        let directory = File::open(packs)?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(directory))
    }

    /// Keeps packs below `root` from being erased until it is dropped. Blocks for the moment that an erasure takes.
    ///
    /// Errors: `NotFound` when there are no packs, `Unavailable`.
    pub fn share(root: &Path) -> Result<Self> {
        let shared = File::open(root.join("packs")).and_then(|directory| {
            flock(&directory, FlockOperation::LockShared)?;
            Ok(Self(directory))
        });
        shared.map_err(|source| failure("keep packs from being erased", source))
    }

    /// The directory that is locked.
    pub fn directory(&self) -> &File {
        &self.0
    }
}

impl LocalPacks {
    /// Opens or makes the directories under `root`. Blocking: called once, at start.
    pub fn open(root: &Path, disk: Pool) -> Result<Self> {
        let (packs, lost_and_found) = (root.join("packs"), root.join("lost+found"));
        let directories = Directories::default();
        for directory in [&packs, &lost_and_found] {
            directories.make(directory).map_err(|source| failure("open packs", source))?;
        }
        let shared = Shared { packs, lost_and_found, files: Mutex::default(), directories };
        Ok(Self { shared: Arc::new(shared), disk })
    }

    async fn with<T: Send + 'static>(
        &self,
        pack: PackId,
        action: &'static str,
        job: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(action, job).await.map_err(|error| error.about(pack))
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        job: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let done = self.disk.run(move || job(&shared)).await;
        let done = done.map_err(|source| Error::new(ErrorKind::Unavailable, action).caused_by(source))?;
        done.map_err(|source| failure(action, source))
    }
}

#[async_trait]
impl PackBackend for LocalPacks {
    async fn create(&self, pack: PackId, header: Bytes) -> Result<()> {
        self.with(pack, "create pack", move |shared| shared.create(pack, &header)).await
    }

    async fn append(&self, pack: PackId, offset: u64, parts: Vec<Bytes>) -> Result<()> {
        self.with(pack, "append to pack", move |shared| write_all_at(&*shared.writer(pack)?, &parts, offset))
            .await
    }

    async fn sync(&self, pack: PackId) -> Result<()> {
        if is_planted("skip-fdatasync") {
            return Ok(());
        }
        self.with(pack, "sync pack", move |shared| shared.writer(pack)?.sync_data()).await
    }

    async fn truncate(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.with(pack, "truncate pack", move |shared| shared.writer(pack)?.set_len(size_bytes)).await
    }

    async fn retire(&self, pack: PackId) {
        self.shared.files.lock().writers.retain(|(id, _)| *id != pack);
    }

    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        match self.shared.read_cached(pack, range) {
            Ok(Some(bytes)) => return Ok(bytes),
            Ok(None) => {}
            Err(source) => return Err(failure("read pack", source).about(pack)),
        }
        self.with(pack, "read pack", move |shared| read_exact_at(&*shared.reader(pack)?, range)).await
    }

    async fn len(&self, pack: PackId) -> Result<u64> {
        self.with(pack, "measure pack", move |shared| Ok(fs::metadata(shared.path(pack))?.len())).await
    }

    async fn list(&self) -> Result<Vec<PackId>> {
        self.run("list packs", Shared::list).await
    }

    async fn strays(&self) -> Result<Vec<String>> {
        self.run("list packs", |shared| Ok(shared.scan()?.strays)).await
    }

    async fn drop_cache(&self, pack: PackId) -> Result<()> {
        self.with(pack, "read pack from the disk", move |shared| drop_cache(&*shared.reader(pack)?)).await
    }

    async fn free_bytes(&self) -> Result<Option<u64>> {
        self.run("measure free space", |shared| free_bytes(&shared.packs).map(Some)).await
    }

    async fn set_aside(&self, pack: PackId) -> Result<()> {
        self.with(pack, "set pack aside", move |shared| shared.set_aside(pack)).await
    }

    async fn delete(&self, pack: PackId) -> Result<()> {
        self.with(pack, "delete pack", move |shared| shared.delete(pack)).await
    }
}

impl Shared {
    fn directory(&self, pack: PackId) -> PathBuf {
        self.packs.join(format!("{:02x}", pack.0 & 0xff))
    }

    fn path(&self, pack: PackId) -> PathBuf {
        self.directory(pack).join(file_name(pack))
    }

    fn create(&self, pack: PackId, header: &Bytes) -> io::Result<()> {
        let (directory, path) = (self.directory(pack), self.path(pack));
        self.directories.make(&directory)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let born = write_all_at(&file, std::slice::from_ref(header), 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.directories.sync(&directory));
        if let Err(error) = born {
            // Nothing counts in it yet, and its id is not used again: leave no half file behind.
            let _best_effort = fs::remove_file(&path);
            return Err(error);
        }
        self.files.lock().writers.push((pack, Arc::new(file)));
        Ok(())
    }

    /// The descriptor that writes the pack; opened again only by recovery, which finds packs of a former process.
    fn writer(&self, pack: PackId) -> io::Result<Arc<File>> {
        let mut files = self.files.lock();
        if let Some((_, file)) = files.writers.iter().find(|(id, _)| *id == pack) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(pack))?);
        files.writers.push((pack, Arc::clone(&file)));
        Ok(file)
    }

    fn reader(&self, pack: PackId) -> io::Result<Arc<File>> {
        if let Some(file) = self.files.lock().find(pack) {
            return Ok(file);
        }
        let file = Arc::new(File::open(self.path(pack))?);
        self.files.lock().add_reader(pack, Arc::clone(&file));
        // Erased since it was opened, and forgotten before it was added: kept, it would keep the bytes on the disk.
        if file.metadata()?.nlink() == 0 {
            self.files.lock().forget(pack);
        }
        Ok(file)
    }

    /// The bytes if they are in memory, without waiting for the disk and so without a way to another thread and back.
    fn read_cached(&self, pack: PackId, range: ByteRange) -> io::Result<Option<Bytes>> {
        /// Copied in less time than another thread takes to begin.
        const SIZE_BYTES_MAX: u64 = 256 << 10;
        if range.len() > SIZE_BYTES_MAX {
            return Ok(None);
        }
        let file = self.files.lock().find(pack);
        file.map_or(Ok(None), |file| read_exact_without_waiting(&file, range))
    }

    fn list(&self) -> io::Result<Vec<PackId>> {
        let Contents { packs, strays } = self.scan()?;
        for path in strays {
            tracing::warn!(path, "a stray file lies among the packs");
        }
        Ok(packs)
    }

    /// Only a file that stands under its own name is a pack; what else lies there is not ours to touch.
    fn scan(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for directory in fs::read_dir(&self.packs)? {
            let directory = directory?.path();
            if !directory.is_dir() {
                contents.strays.push(directory.display().to_string());
                continue;
            }
            for file in fs::read_dir(&directory)? {
                let path = file?.path();
                match pack_id(&path).filter(|&pack| self.path(pack) == path) {
                    Some(pack) => contents.packs.push(pack),
                    None => contents.strays.push(path.display().to_string()),
                }
            }
        }
        contents.packs.sort_unstable();
        contents.strays.sort_unstable();
        Ok(contents)
    }

    fn set_aside(&self, pack: PackId) -> io::Result<()> {
        self.files.lock().forget(pack);
        let mut target = self.lost_and_found.join(file_name(pack));
        for copy in 1.. {
            if !target.exists() {
                break;
            }
            target = self.lost_and_found.join(format!("{}.{copy}", file_name(pack)));
        }
        fs::rename(self.path(pack), target)?;
        self.directories.sync(&self.lost_and_found)?;
        self.directories.sync(&self.directory(pack))
    }

    fn delete(&self, pack: PackId) -> io::Result<()> {
        let _no_backup = EraseLock::take(&self.packs)?;
        let removed = fs::remove_file(self.path(pack));
        self.files.lock().forget(pack);
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.directories.sync(&self.directory(pack)),
        }
    }
}

fn file_name(pack: PackId) -> String {
    format!("{:016x}.pack", pack.0)
}

fn pack_id(path: &Path) -> Option<PackId> {
    let hex = path.file_name()?.to_str()?.strip_suffix(".pack")?;
    i64::from_str_radix(hex, 16).ok().filter(|&id| id > 0).map(PackId)
}

/// Directories that names are made in. After a sync of one has failed no other is tried: it could succeed without the
/// names that the first one lost. The next start begins with what is on the disk.
#[derive(Debug, Default)]
struct Directories {
    failed: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Makes a directory that only its owner may enter, and its name durable. The name of one that is there is synced
    /// too: the process that made it may have been killed before it came to that.
    fn make(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        path.parent().map_or(Ok(()), |parent| self.sync(parent))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if is_planted("no-directory-sync") {
            return Ok(());
        }
        if self.failed.lock().contains(path) {
            let path = path.display();
            return Err(io::Error::other(format!(
                "{path} could not be synced before; check the disk and restart"
            )));
        }
        File::open(path)?.sync_all().inspect_err(|_| {
            self.failed.lock().insert(path.to_path_buf());
        })
    }
}

/// Clean pages go; those that are not written yet stay.
fn drop_cache(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// What a process without privileges may still write.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(directory)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Writes every byte of `parts` or fails: a short write is continued, never taken for a whole one.
fn write_all_at(file: &File, parts: &[Bytes], mut offset: u64) -> io::Result<()> {
    /// What one call takes on Linux (`IOV_MAX`).
    const SLICE_COUNT_MAX: usize = 1024;
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let batch = rest.get(..SLICE_COUNT_MAX).unwrap_or(rest);
        match rustix::io::pwritev(file, batch, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset = offset.saturating_add(written as u64);
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_exact_at(file: &File, range: ByteRange) -> io::Result<Bytes> {
    let len = usize::try_from(range.len()).map_err(|_too_long| io::ErrorKind::InvalidInput)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start())?;
    Ok(bytes.into())
}

/// `None` when the file system would have to wait for the disk, or cannot say.
fn read_exact_without_waiting(file: &File, range: ByteRange) -> io::Result<Option<Bytes>> {
    let len = usize::try_from(range.len()).map_err(|_too_long| io::ErrorKind::InvalidInput)?;
    let mut bytes = vec![0; len];
    let read =
        rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut bytes)], range.start(), ReadWriteFlags::NOWAIT);
    match read {
        Ok(read) => Ok((read == len).then(|| bytes.into())),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTSUP | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::{in_every_order, join};

    /// T34: a descriptor that outlives its pack keeps its bytes on the disk, and one that is lost costs an `open`.
    #[test]
    fn no_descriptor_outlives_its_pack_whoever_reads_it_meanwhile() {
        const PACK: PackId = PackId(7);
        let home = tempfile::tempdir().unwrap();
        let packs = LocalPacks::open(home.path(), Pool::new("test", 1)).unwrap();
        let shared = packs.shared;
        in_every_order(move || {
            shared.create(PACK, &Bytes::from_static(b"head")).unwrap();
            shared.files.lock().writers.clear();
            let mut threads = Vec::new();
            for _reader in 0..2 {
                let shared = Arc::clone(&shared);
                threads.push(shuttle::thread::spawn(move || match shared.reader(PACK) {
                    Ok(file) => {
                        assert_eq!(read_exact_at(&file, ByteRange::new(0, 4).unwrap()).unwrap(), "head")
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
                }));
            }
            let eraser = Arc::clone(&shared);
            threads.push(shuttle::thread::spawn(move || eraser.delete(PACK).unwrap()));
            join(threads);
            assert!(shared.files.lock().find(PACK).is_none(), "a descriptor of an erased pack is kept");
        });
    }
}
