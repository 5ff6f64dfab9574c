//! Space on the disk of the data directory, and a file that reserves some of it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use usp_storage::Disk;

/// The disk that holds a data directory. Its ballast is a file that takes space while there is some, and is removed when
/// there is none: then deleting and collecting still find the little that they need.
#[derive(Debug)]
pub(crate) struct DirDisk {
    dir: PathBuf,
    ballast: PathBuf,
    ballast_bytes: u64,
    /// Held while the ballast comes or goes.
    turn: Mutex<()>,
}

impl DirDisk {
    pub(crate) fn new(dir: &Path, ballast_bytes: u64) -> Self {
        Self { dir: dir.to_owned(), ballast: dir.join("ballast"), ballast_bytes, turn: Mutex::new(()) }
    }

    fn make(&self) -> io::Result<()> {
        const OWNER_ONLY: u32 = 0o600;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(OWNER_ONLY)
            .open(&self.ballast)?;
        if let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, self.ballast_bytes) {
            fs::remove_file(&self.ballast)?;
            return Err(error.into());
        }
        file.sync_all()
    }
}

impl Disk for DirDisk {
    fn free_bytes(&self) -> Option<u64> {
        let space = statvfs(&self.dir).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn ballast_bytes(&self) -> u64 {
        self.ballast_bytes
    }

    fn has_ballast(&self) -> bool {
        self.ballast.exists()
    }

    fn take_ballast(&self) -> bool {
        let _turn = self.turn.lock();
        match self.make() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "no space could be reserved for deleting and collecting");
                false
            }
        }
    }

    fn drop_ballast(&self) -> bool {
        let _turn = self.turn.lock();
        let gone = fs::remove_file(&self.ballast).and_then(|()| File::open(&self.dir)?.sync_all());
        match gone {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                tracing::warn!(%error, "the reserved space could not be freed");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_takes_space_and_gives_it_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DirDisk::new(dir.path(), 1 << 20);
        assert!(disk.free_bytes().unwrap() > 1 << 20);
        assert!(!disk.has_ballast() && !disk.drop_ballast());
        if disk.take_ballast() {
            assert_eq!(fs::metadata(dir.path().join("ballast")).unwrap().len(), 1 << 20);
            assert!(disk.has_ballast() && disk.drop_ballast() && !disk.has_ballast());
        }
    }
}
