//! The files of packs below one directory: names, descriptors, and what is done to a whole file.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
#[cfg(not(test))]
use parking_lot::Mutex;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use usp_model::{ByteRange, PackId, Result};

use super::directories::Directories;
use super::failure;
use super::io_at::{read_exact_without_waiting, write_all_at};
#[cfg(test)]
use crate::schedules::Mutex;

#[derive(Debug)]
pub(super) struct Files {
    packs: PathBuf,
    lost_and_found: PathBuf,
    descriptors: Mutex<Descriptors>,
    directories: Directories,
}

/// Open descriptors. A pack that is being written keeps its own until it is retired, because the kernel reports an error of
/// the medium to the descriptor that wrote; the rest are readers, of which the oldest is closed for a new one.
#[derive(Debug, Default)]
struct Descriptors {
    writers: Vec<(PackId, Arc<File>)>,
    readers: VecDeque<(PackId, Arc<File>)>,
}

impl Descriptors {
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
pub(super) struct Contents {
    pub(super) packs: Vec<PackId>,
    pub(super) strays: Vec<String>,
}

/// Held while a pack is deleted, and shared by backups, which are processes of their own: a pack that a backup is about to
/// copy is not deleted. The kernel releases it when its holder dies.
#[derive(Debug)]
pub struct DeleteLock(File);

impl DeleteLock {
    /// Errors: `WouldBlock` while a backup runs.
    fn take(packs: &Path) -> io::Result<Self> {
        let directory = File::open(packs)?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(directory))
    }

    /// Keeps packs below `root` from being deleted until it is dropped. Blocks while one is being deleted.
    ///
    /// Errors: `NotFound` when there are no packs, `Unavailable`.
    pub fn share(root: &Path) -> Result<Self> {
        let shared = File::open(root.join("packs")).and_then(|directory| {
            flock(&directory, FlockOperation::LockShared)?;
            Ok(Self(directory))
        });
        shared.map_err(|source| failure("keep packs from being deleted", source))
    }

    /// The directory that is locked.
    pub fn directory(&self) -> &File {
        &self.0
    }
}

impl Files {
    pub(super) fn open(packs: PathBuf, lost_and_found: PathBuf) -> io::Result<Self> {
        let directories = Directories::default();
        for directory in [&packs, &lost_and_found] {
            directories.make(directory)?;
        }
        Ok(Self { packs, lost_and_found, descriptors: Mutex::default(), directories })
    }

    fn directory(&self, pack: PackId) -> PathBuf {
        self.packs.join(format!("{:02x}", pack.0 & 0xff))
    }

    fn path(&self, pack: PackId) -> PathBuf {
        self.directory(pack).join(file_name(pack))
    }

    pub(super) fn create(&self, pack: PackId, header: &Bytes) -> io::Result<()> {
        let (directory, path) = (self.directory(pack), self.path(pack));
        self.directories.make(&directory)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let written = write_all_at(&file, std::slice::from_ref(header), 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.directories.sync(&directory));
        if let Err(error) = written {
            // Nothing in it counts yet, and its id is not used again.
            let _best_effort = fs::remove_file(&path);
            return Err(error);
        }
        self.descriptors.lock().writers.push((pack, Arc::new(file)));
        Ok(())
    }

    /// A file beside the place of the pack, empty; what an earlier attempt left in it is overwritten.
    pub(super) fn begin_put(&self, pack: PackId) -> io::Result<File> {
        self.directories.make(&self.directory(pack))?;
        if self.path(pack).exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.unfinished(pack))
    }

    /// Makes the file that `begin_put` opened the pack, unless there is one.
    pub(super) fn finish_put(&self, pack: PackId, file: &File) -> io::Result<()> {
        file.sync_all()?;
        renameat_with(CWD, self.unfinished(pack), CWD, self.path(pack), RenameFlags::NOREPLACE)?;
        self.directories.sync(&self.directory(pack))
    }

    pub(super) fn give_up_put(&self, pack: PackId) -> io::Result<()> {
        fs::remove_file(self.unfinished(pack))
    }

    fn unfinished(&self, pack: PackId) -> PathBuf {
        self.path(pack).with_extension("unfinished")
    }

    pub(super) fn retire(&self, pack: PackId) {
        self.descriptors.lock().writers.retain(|(id, _)| *id != pack);
    }

    pub(super) fn size_bytes(&self, pack: PackId) -> io::Result<u64> {
        Ok(fs::metadata(self.path(pack))?.len())
    }

    /// The descriptor that writes the pack; opened again only by recovery, which finds packs of a former process.
    pub(super) fn writer(&self, pack: PackId) -> io::Result<Arc<File>> {
        let mut known = self.descriptors.lock();
        if let Some((_, file)) = known.writers.iter().find(|(id, _)| *id == pack) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(pack))?);
        known.writers.push((pack, Arc::clone(&file)));
        Ok(file)
    }

    pub(super) fn reader(&self, pack: PackId) -> io::Result<Arc<File>> {
        if let Some(file) = self.descriptors.lock().find(pack) {
            return Ok(file);
        }
        let file = Arc::new(File::open(self.path(pack))?);
        self.descriptors.lock().add_reader(pack, Arc::clone(&file));
        // Deleted since it was opened, before it was added here: cached, it would keep the bytes on the disk.
        if file.metadata()?.nlink() == 0 {
            self.descriptors.lock().forget(pack);
        }
        Ok(file)
    }

    /// The bytes if the page cache has them: read on this thread, without waiting for the disk.
    pub(super) fn read_cached(&self, pack: PackId, range: ByteRange) -> io::Result<Option<Bytes>> {
        /// Copied in less time than another thread takes to begin.
        const SIZE_BYTES_MAX: u64 = 256 << 10;
        if range.len() > SIZE_BYTES_MAX {
            return Ok(None);
        }
        let file = self.descriptors.lock().find(pack);
        file.map_or(Ok(None), |file| read_exact_without_waiting(&file, range))
    }

    pub(super) fn list(&self) -> io::Result<Vec<PackId>> {
        let Contents { packs, strays } = self.scan()?;
        for path in strays {
            tracing::warn!(path, "a stray file lies among the packs");
        }
        Ok(packs)
    }

    /// Only a file under the name of its id is a pack; everything else is listed and left alone.
    pub(super) fn scan(&self) -> io::Result<Contents> {
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

    pub(super) fn move_to_lost_and_found(&self, pack: PackId) -> io::Result<()> {
        self.descriptors.lock().forget(pack);
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

    pub(super) fn delete(&self, pack: PackId) -> io::Result<()> {
        let _no_backup = DeleteLock::take(&self.packs)?;
        let removed = fs::remove_file(self.path(pack));
        self.descriptors.lock().forget(pack);
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

#[cfg(test)]
mod tests {
    use usp_rt::Pool;

    use super::super::LocalPacks;
    use super::super::io_at::read_exact_at;
    use super::*;
    use crate::schedules::{in_every_order, join};

    /// T34: a descriptor that outlives its pack keeps its bytes on the disk, and one that is lost costs an `open`.
    #[test]
    fn no_descriptor_outlives_its_pack_whoever_reads_it_meanwhile() {
        const PACK: PackId = PackId(7);
        let home = tempfile::tempdir().unwrap();
        let packs = LocalPacks::open(home.path(), Pool::new("test", 1)).unwrap();
        let files = packs.files;
        in_every_order(move || {
            files.create(PACK, &Bytes::from_static(b"head")).unwrap();
            files.descriptors.lock().writers.clear();
            let mut threads = Vec::new();
            for _reader in 0..2 {
                let files = Arc::clone(&files);
                threads.push(shuttle::thread::spawn(move || match files.reader(PACK) {
                    Ok(file) => {
                        assert_eq!(read_exact_at(&file, ByteRange::new(0, 4).unwrap()).unwrap(), "head")
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
                }));
            }
            let deleter = Arc::clone(&files);
            threads.push(shuttle::thread::spawn(move || deleter.delete(PACK).unwrap()));
            join(threads);
            assert!(files.descriptors.lock().find(PACK).is_none(), "a descriptor of a deleted pack is kept");
        });
    }
}
