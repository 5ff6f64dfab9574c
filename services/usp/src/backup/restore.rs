//! Putting a backup back into an empty directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use usp_model::{Error, ErrorKind, PackId};

use super::digest::{Rate, copy};
use super::listing::{Listed, Listing};
use super::{lock, make_private_dir, pack_path, sync_dir};
use crate::dir_lock::DirLock;
use crate::paths;

/// Copies every file of a backup into `data_dir`, which must be empty, and compares each with its digest. The catalogue
/// takes its name last: a directory that was restored in part is refused by a start. Gives the lock on the directory.
///
/// Errors: `Conflict` for a directory that is not empty, `NotFound` without a backup, `Corrupt` for a file that differs.
pub(crate) fn restore(backup: &Path, data_dir: &Path) -> Result<DirLock> {
    let _unchanged = lock(backup)?;
    let listing = Listing::read(backup)?.ok_or_else(|| {
        let reason = format!("{} holds no backup: it has no backup.json", backup.display());
        Error::new(ErrorKind::NotFound, "restore").because(reason)
    })?;
    make_private_dir(data_dir)?;
    let mut inside =
        fs::read_dir(data_dir).with_context(|| format!("failed to list {}", data_dir.display()))?;
    if inside.next().is_some() {
        let reason =
            format!("{} is not empty; name a directory that is, or does not exist", data_dir.display());
        return Err(Error::new(ErrorKind::Conflict, "restore").because(reason).into());
    }
    let held = DirLock::take(data_dir)?;
    let mut rate = Rate::of(0);
    let mut put = |listed: &Listed, to: PathBuf| -> Result<()> {
        if let Some(dir) = to.parent() {
            make_private_dir(dir)?;
        }
        let from = backup.join(&listed.file);
        let found = copy(&from, &to, None, &mut rate)?;
        if found == (listed.bytes, listed.blake3.clone()) {
            return Ok(());
        }
        let reason = format!(
            "{} is not what was backed up; restore from another backup, and remove {} first",
            from.display(),
            data_dir.display()
        );
        Err(Error::new(ErrorKind::Corrupt, "restore").because(reason).into())
    };
    for pack in &listing.packs {
        put(&pack.listed, pack_path(data_dir, PackId(pack.pack)))?;
    }
    for listed in &listing.files {
        let (_, name) = listed.file.split_once('/').unwrap_or_default();
        put(listed, data_dir.join(name))?;
    }
    make_private_dir(&data_dir.join("packs"))?;
    for entry in walkdir::WalkDir::new(data_dir) {
        let entry = entry.context("failed to list what was restored")?;
        if entry.file_type().is_dir() {
            sync_dir(entry.path())?;
        }
    }
    put(&listing.catalog, paths::catalog(data_dir))?;
    sync_dir(data_dir)?;
    Ok(held)
}
