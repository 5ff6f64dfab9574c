//! `cargo xtask tidy`: the rules of the house that neither rustc nor clippy can check.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use crate::Finding;

mod calls;
mod layout;
mod names;
mod size;
mod source;

use source::Source;

/// Folders of packages that people write by hand.
const PACKAGE_DIRS: &[&str] = &["crates", "services", "tools"];
const EXCEPTIONS_FILE: &str = "tools/xtask/tidy-exceptions.txt";

/// All that is untidy below `root`, in order of path and line, without what the list of exceptions lets stand.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut found = layout::package_names(root, PACKAGE_DIRS)?;
    let (sources, unreadable) = read_sources(root)?;
    found.extend(unreadable);
    for source in &sources {
        found.extend(layout::file_name(source));
        found.extend(size::file_and_functions(source));
        found.extend(calls::banned(source));
        found.extend(names::types(source));
    }
    let mut found = without_exceptions(root, found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// Every Rust file of the packages, and a finding for each one that does not parse.
fn read_sources(root: &Path) -> Result<(Vec<Source>, Vec<Finding>)> {
    let mut sources = Vec::new();
    let mut unreadable = Vec::new();
    for dir in PACKAGE_DIRS {
        let dir = root.join(dir);
        if !dir.is_dir() {
            continue;
        }
        for entry in WalkDir::new(&dir).sort_by_file_name().into_iter().filter_entry(is_ours) {
            let path = entry.with_context(|| format!("walk {}", dir.display()))?.into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                let text = fs::read_to_string(&path).with_context(|| format!("read {relative}"))?;
                match Source::parse(relative.clone(), &text) {
                    Ok(source) => sources.push(source),
                    Err(error) => unreadable.push(Finding::new(
                        relative,
                        error.span().start().line,
                        "syntax",
                        format!("mend what the parser says: {error}"),
                    )),
                }
            }
        }
    }
    source::mark_test_files(&mut sources);
    Ok((sources, unreadable))
}

/// Build output and hidden folders are not ours; neither is what a fuzzer or a front-end tool downloads.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    !(entry.file_type().is_dir() && (name == "target" || name == "node_modules" || name.starts_with('.')))
}

/// Drops what the list of exceptions names, and reports exceptions that nothing needs any more.
fn without_exceptions(root: &Path, found: Vec<Finding>) -> Result<Vec<Finding>> {
    let path = root.join(EXCEPTIONS_FILE);
    let text = if path.exists() {
        fs::read_to_string(&path).context("read tidy-exceptions.txt")?
    } else {
        String::new()
    };
    let mut kept = found;
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let advice = match words.as_slice() {
            [] => continue,
            [path, rule] => {
                let count_before = kept.len();
                kept.retain(|finding| !(finding.path == *path && finding.rule == *rule));
                if kept.len() < count_before {
                    continue;
                }
                "remove this exception: nothing needs it any more"
            }
            _ => "write an exception as PATH RULE",
        };
        kept.push(Finding::new(EXCEPTIONS_FILE, index + 1, "exceptions", advice));
    }
    Ok(kept)
}
