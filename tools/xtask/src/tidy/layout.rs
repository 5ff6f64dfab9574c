//! What files and folders are called.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;
use crate::Finding;

/// File names that gather what has no subject.
const STEMS_REFUSED: &[&str] =
    &["utils", "util", "helpers", "helper", "common", "misc", "shared", "manager", "info"];
/// Parts of file names that tell history instead of a subject.
const PARTS_REFUSED: &[&str] = &["new", "old", "tmp", "temp", "v2", "v3", "copy"];

/// A package is called as its folder is.
pub(super) fn package_names(root: &Path, dirs: &[&str]) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for dir in dirs.iter().filter(|dir| root.join(dir).is_dir()) {
        for entry in fs::read_dir(root.join(dir)).with_context(|| format!("list {dir}"))? {
            let entry = entry?;
            let folder = entry.file_name().to_string_lossy().into_owned();
            let Ok(manifest) = fs::read_to_string(entry.path().join("Cargo.toml")) else { continue };
            let named = format!("name = \"{folder}\"");
            let package = manifest.split("[package]").nth(1).unwrap_or_default();
            if !package.lines().take_while(|line| !line.starts_with('[')).any(|line| line.trim() == named) {
                let advice = format!("call the package as its folder: {named}");
                found.push(Finding::new(format!("{dir}/{folder}/Cargo.toml"), 1, "package", advice));
            }
        }
    }
    Ok(found)
}

pub(super) fn file_name(source: &Source) -> Option<Finding> {
    let file = source.path.rsplit('/').next().unwrap_or_default();
    let stem = file.trim_end_matches(".rs");
    let advice = if stem == "mod" {
        "rename to the folder's name beside the folder: foo.rs and foo/, never foo/mod.rs"
    } else if STEMS_REFUSED.contains(&stem) {
        "name the file by its subject; a drawer for leftovers has none"
    } else if stem.split('_').any(|part| PARTS_REFUSED.contains(&part)) {
        "name the file by its subject, not by its history"
    } else if !is_words(stem) {
        "name the file by words in lower case joined by '_'"
    } else {
        return None;
    };
    Some(Finding::new(&source.path, 1, "layout", advice))
}

/// `range_request`, `s3`, `sha256`; not `RangeRequest`, `a`, `2nd`, `part__one`.
fn is_words(stem: &str) -> bool {
    stem.len() > 1
        && stem.split('_').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}
