//! `backup.json`: what a backup consists of (docs/formats/backup.md).

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use usp_model::{Error, ErrorKind, Timestamp};

use super::digest::PART;
use super::sync_dir;

/// The version of the listing that this usp writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

const NAME: &str = "backup.json";
/// A listing of ten million packs is refused: it is none.
const BYTES_MAX: u64 = 2 << 30;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Listing {
    pub(super) format: u32,
    pub(super) usp_version: String,
    /// Rises by one with each backup into the same directory.
    pub(super) number: u64,
    pub(super) made_at: Timestamp,
    /// Of which store. Absent in the listing of an older usp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) store_id: Option<i64>,
    pub(super) catalog: Listed,
    pub(super) packs: Vec<PackCopy>,
    /// Keys, rules, settings: `files-N/` and the path in the data directory.
    pub(super) files: Vec<Listed>,
}

/// A file of the backup, by its path below the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) file: String,
    pub(super) bytes: u64,
    /// In hex.
    pub(super) blake3: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackCopy {
    pub(super) pack: i64,
    pub(super) sealed: bool,
    #[serde(flatten)]
    pub(super) listed: Listed,
}

impl Listing {
    /// `None` where there is no backup yet. Errors: one of a newer usp, or one that cannot be read.
    pub(super) fn read(target: &Path) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let path = target.join(NAME);
        let bytes = match fs::metadata(&path) {
            Ok(found) if found.len() <= BYTES_MAX => {
                fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?
            }
            Ok(_too_long) => return Err(unreadable(&path, "it is too long").into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
        };
        let version: Versioned =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error.to_string()))?;
        if version.format > FORMAT {
            let reason = format!(
                "its format {} is newer than {FORMAT}, the newest that this usp knows; use a newer usp",
                version.format
            );
            return Err(Error::new(ErrorKind::Internal, "read backup")
                .about(path.display())
                .because(reason)
                .into());
        }
        let listing: Self =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(&path, &error.to_string()))?;
        if let Some(listed) = listing.all().find(|listed| !is_inside(&listed.file)) {
            return Err(unreadable(&path, &format!("'{}' is no path below it", listed.file)).into());
        }
        Ok(Some(listing))
    }

    /// The listing takes its name once it is whole: from then on it is the backup.
    pub(super) fn write(&self, target: &Path) -> Result<()> {
        const OWNER_ONLY: u32 = 0o600;
        let (path, part) = (target.join(NAME), target.join(format!("{NAME}.{PART}")));
        let failed = || format!("failed to write {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(OWNER_ONLY)
            .open(&part)
            .with_context(failed)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)
            .and_then(|()| file.sync_all())
            .with_context(failed)?;
        fs::rename(&part, &path).with_context(failed)?;
        sync_dir(target)
    }

    /// Every file of the backup.
    pub(super) fn all(&self) -> impl Iterator<Item = &Listed> {
        std::iter::once(&self.catalog).chain(self.packs.iter().map(|pack| &pack.listed)).chain(&self.files)
    }

    /// The directories that hold names of the backup, below `target` and with it.
    pub(super) fn directories(&self, target: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::from([target.to_owned()]);
        for listed in self.all() {
            let below =
                Path::new(&listed.file).ancestors().skip(1).filter(|dir| dir.components().count() > 0);
            found.extend(below.map(|dir| target.join(dir)));
        }
        found
    }

    /// Removes what only the backup before needed, and what one that did not come to its end left behind.
    pub(super) fn remove_others(&self, target: &Path, before: Option<&Self>) -> Result<()> {
        let kept: BTreeSet<&str> = self.all().map(|listed| listed.file.as_str()).collect();
        let mut gone: BTreeSet<PathBuf> = BTreeSet::new();
        for listed in before.into_iter().flat_map(Self::all) {
            if !kept.contains(listed.file.as_str()) {
                gone.insert(target.join(&listed.file));
            }
        }
        for entry in walkdir::WalkDir::new(target).min_depth(1) {
            let entry = entry.context("failed to list the backup")?;
            let name = entry.file_name().to_string_lossy();
            let is_part = name.ends_with(&format!(".{PART}"));
            let is_old_catalog =
                name.starts_with("catalog-") && name.ends_with(".db") && name != self.catalog.file;
            if entry.file_type().is_file() && (is_part || (entry.depth() == 1 && is_old_catalog)) {
                gone.insert(entry.into_path());
            }
        }
        for path in gone {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("failed to remove {}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
            // Only one that is empty goes.
            if let Some(dir) = path.parent().filter(|dir| *dir != target) {
                let _still_used = fs::remove_dir(dir);
            }
        }
        Ok(())
    }
}

fn is_inside(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    !file.is_empty() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "read backup").about(path.display()).because(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        assert!(is_inside("packs/01/0000000000000001.pack") && is_inside("catalog-1.db"));
        for file in ["", "/etc/passwd", "../x", "packs/../../x", "./x"] {
            assert!(!is_inside(file), "{file}");
        }
    }
}
