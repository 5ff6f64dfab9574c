//! Directories of packs, whose names are made durable.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

#[cfg(not(test))]
use parking_lot::Mutex;
use usp_rt::is_planted;

#[cfg(test)]
use crate::schedules::Mutex;

/// Directories in which files are created. After a failed sync of one no other sync of it is tried: it could succeed
/// although the first one lost names. The next start begins with what is on the disk.
#[derive(Debug, Default)]
pub(super) struct Directories {
    failed: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Creates a directory that only its owner may enter, and makes its name durable. The name of one that exists is synced
    /// too: the process that created it may have been killed before that.
    pub(super) fn make(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        path.parent().map_or(Ok(()), |parent| self.sync(parent))
    }

    pub(super) fn sync(&self, path: &Path) -> io::Result<()> {
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
