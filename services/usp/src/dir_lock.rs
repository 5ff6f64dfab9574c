//! The lock on a data directory, and what its file says of the process that held it last.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use usp_model::{Error, ErrorKind};

use crate::paths;

/// What stands in the file between an end in order and the next start. A crash leaves the file empty.
const ENDED_WELL: &str = "ended well\n";

/// Two processes on one directory would destroy it. Given back when dropped, and by the kernel when its holder dies.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: File,
    path: PathBuf,
    is_new: bool,
}

impl DirLock {
    /// Waits a moment: a predecessor that was just killed may still be on its way out. Errors: `Locked`.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        const OWNER_ONLY: u32 = 0o600;
        const TRY_FOR: Duration = Duration::from_secs(5);
        let path = paths::lock(dir);
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(OWNER_ONLY)
            .open(&path)
            .with_context(|| format!("failed to open {}", path.display()))?;
        let until = Instant::now() + TRY_FOR;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= until {
                let reason = format!(
                    "another usp serves {}: stop it first, or name another --data-dir",
                    dir.display()
                );
                return Err(Error::new(ErrorKind::Locked, "lock the data directory").because(reason).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { file, path, is_new })
    }

    /// Notes that a process is at work from now on; says whether the one before ended in order, or there was none.
    pub(crate) fn begin(mut self) -> Result<(Self, bool)> {
        let mut text = String::new();
        let failed = || format!("failed to read {}", self.path.display());
        let mut said = (&self.file).take(ENDED_WELL.len() as u64);
        said.read_to_string(&mut text).with_context(failed)?;
        let was_clean = self.is_new || text == ENDED_WELL;
        self.write("")?;
        Ok((self, was_clean))
    }

    /// Notes that everything is on the disk and nobody writes any more.
    pub(crate) fn end_well(mut self) -> Result<()> {
        self.write(ENDED_WELL)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let mut write = || {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(text.as_bytes())?;
            self.file.sync_all()
        };
        write().with_context(|| format!("failed to write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_word_is_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let begin = || DirLock::take(dir.path()).unwrap().begin().unwrap();
        let (lock, was_clean) = begin();
        assert!(was_clean, "nobody was there before");
        drop(lock);
        let (lock, was_clean) = begin();
        assert!(!was_clean);
        lock.end_well().unwrap();
        let (lock, was_clean) = begin();
        assert!(was_clean);
        drop(lock);
        assert!(!begin().1);
    }
}
