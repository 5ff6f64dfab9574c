//! The disk: how fast it syncs right now, what lies on it, and waiting until it is quiet.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use crate::stats::percentile;

const SYNC_COUNT: usize = 100;
const SYNC_SIZE_BYTES: usize = 4096;

/// Milliseconds of one 4 KiB `pwrite` with `fdatasync`, median of [`SYNC_COUNT`], over blocks that exist: the least
/// that a durable write costs on this disk at this moment.
pub(crate) fn sync_ms(dir: &Path) -> Result<f64> {
    let path = dir.join("sync-probe");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![1; SYNC_COUNT * SYNC_SIZE_BYTES], 0)?;
    file.sync_all()?;
    let block = [2; SYNC_SIZE_BYTES];
    let mut micros = Vec::with_capacity(SYNC_COUNT);
    for index in 0..SYNC_COUNT {
        let begun = Instant::now();
        file.write_all_at(&block, u64::try_from(index * SYNC_SIZE_BYTES)?)?;
        file.sync_data()?;
        micros.push(u32::try_from(begun.elapsed().as_micros())?);
    }
    std::fs::remove_file(&path)?;
    micros.sort_unstable();
    Ok(f64::from(percentile(&micros, 50)) / 1000.0)
}

/// What lies below a directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Blocks that the file system gave out, as `du` counts.
    pub(crate) bytes: u64,
    /// Files and directories.
    pub(crate) inodes: u64,
}

impl Usage {
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let mut usage = Self::default();
        for entry in WalkDir::new(dir).min_depth(1) {
            // What a server removes while we look is not there.
            let Ok(meta) = entry.and_then(|entry| entry.metadata()) else { continue };
            usage.bytes += meta.blocks() * 512;
            usage.inodes += 1;
        }
        Ok(usage)
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(before.bytes),
            inodes: self.inodes.saturating_sub(before.inodes),
        }
    }
}

/// Writes out all that the file system of `dir` still holds in memory. Shape: seconds that took.
///
/// A server that does not sync leaves this work behind; without it, the next one measured would pay.
pub(crate) fn settle(dir: &Path) -> Result<f64> {
    let begun = Instant::now();
    let status = Command::new("sync").arg("-f").arg(dir).status().context("start sync")?;
    ensure!(status.success(), "sync -f {} ended with {status}", dir.display());
    Ok(begun.elapsed().as_secs_f64())
}

/// Opens a file and reads it once, so that the first to send it is not the one who waits for the disk.
pub(crate) fn warm(path: &Path) -> Result<File> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    std::io::copy(&mut file, &mut std::io::sink())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_counts_what_came_since() {
        let dir = tempfile::tempdir().unwrap();
        let before = Usage::of(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        let file = File::create(dir.path().join("inner/file")).unwrap();
        file.write_all_at(&[1; 10_000], 0).unwrap();
        file.sync_all().unwrap();
        let since = Usage::of(dir.path()).unwrap().since(before);
        assert_eq!(since.inodes, 2);
        assert!(since.bytes >= 10_000);
    }

    #[test]
    fn the_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(sync_ms(dir.path()).unwrap() > 0.0);
        assert_eq!(Usage::of(dir.path()).unwrap(), Usage::default());
    }
}
