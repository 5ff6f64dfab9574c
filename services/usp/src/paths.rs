//! What stands where in a data directory, beside `packs/` and `lost+found/`, which usp-content makes. docs/OPERATIONS.md describes the same layout for people.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Keys that sign tokens and cursors; drawn on the first start, mode 0600.
pub(crate) fn signing_keys(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("signing.json")
}

/// The secret that the roles of one installation show each other, as a file to carry to other machines.
pub(crate) fn node_secret(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("node.secret")
}

pub(crate) fn catalog(data_dir: &Path) -> PathBuf {
    data_dir.join("catalog.db")
}

/// Whether any pack lies there.
pub(crate) fn has_packs(data_dir: &Path) -> Result<bool> {
    let packs = data_dir.join("packs");
    if !packs.is_dir() {
        return Ok(false);
    }
    for entry in walkdir::WalkDir::new(&packs) {
        let entry = entry.with_context(|| format!("failed to list {}", packs.display()))?;
        if entry.file_type().is_file() && entry.path().extension().is_some_and(|name| name == "pack") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Held by the one process that serves the directory.
pub(crate) fn lock(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

/// Where rules are read from unless the configuration names another directory.
pub(crate) fn rules(data_dir: &Path) -> PathBuf {
    data_dir.join("rules")
}
