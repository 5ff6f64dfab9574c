//! A real file system on a loop device that can lose power.
//!
//! The cut is the shutdown call of ext4 and xfs without a flush of their log: from then on nothing reaches the device, and what
//! had not reached it is gone once the file system is mounted again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Sparse. The smallest that xfs takes is 300 MiB.
const SIZE_BYTES: u64 = 512 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// Unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    kind: FileSystem,
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    /// Makes the file system in `home` and mounts it.
    ///
    /// Errors: loop devices or mounting are not allowed here, or a program is missing.
    pub fn new(kind: FileSystem, home: &Path) -> Result<Self> {
        let (image, place) = (home.join("image"), home.join("mounted"));
        File::create(&image)?.set_len(SIZE_BYTES)?;
        std::fs::create_dir(&place)?;
        run(&format!("mkfs.{}", kind.name()), &["-q"], &image)?;
        run("xfs_io", &["-V"], Path::new("")).context("look for xfs_io, of xfsprogs")?;
        let disk = Self { kind, image, place };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What is on it now survives a cut.
    pub fn sync(&self) -> Result<()> {
        run("sync", &["-f"], &self.place)
    }

    /// Cuts the power. Whoever works on the disk sees errors from now on.
    pub fn cut(&self) -> Result<()> {
        run("xfs_io", &["-x", "-c", "shutdown"], &self.place)
    }

    /// Unmounts and mounts: the log is replayed, and no page of before is left in memory.
    pub fn mount_again(&self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// The file system's own check finds nothing to mend.
    pub fn check(&self) -> Result<()> {
        self.unmount()?;
        match self.kind {
            FileSystem::Ext4 => run("e2fsck", &["-f", "-n"], &self.image)?,
            FileSystem::Xfs => run("xfs_repair", &["-n"], &self.image)?,
        }
        self.mount()
    }

    fn mount(&self) -> Result<()> {
        let image = self.image.to_str().context("the path of the image")?;
        run("mount", &["-o", "loop", image], &self.place)
    }

    /// A file that was just closed by another thread may keep it busy for a moment.
    fn unmount(&self) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let until = Instant::now() + PATIENCE;
        loop {
            match run("umount", &[], &self.place) {
                Err(_busy) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                ended => return ended,
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also what is busy or not mounted: nothing of it is wanted any more.
        let _best_effort = run("umount", &["-l"], &self.place);
    }
}

fn run(program: &str, arguments: &[&str], about: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    if !about.as_os_str().is_empty() {
        command.arg(about);
    }
    let out = match command.output() {
        Ok(out) => out,
        Err(error) => bail!("{program} does not start: {error}"),
    };
    let said = || [out.stdout.as_slice(), out.stderr.as_slice()].concat();
    ensure!(
        out.status.success(),
        "{program} ended with {}: {}",
        out.status,
        String::from_utf8_lossy(&said())
    );
    Ok(())
}
