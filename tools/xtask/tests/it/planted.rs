//! A small repository in a temporary folder, with whatever a test plants in it.
#![expect(clippy::unwrap_used, reason = "a test that cannot write its own files should stop")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use xtask::Finding;

pub(crate) struct Repository {
    root: TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn with(self, path: &str, content: &str) -> Self {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Adds a package with an empty library; `tail` follows the `[package]` section.
    pub(crate) fn with_package(self, dir: &str, tail: &str) -> Self {
        let name = dir.rsplit('/').next().unwrap();
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{tail}\n");
        self.with(&format!("{dir}/Cargo.toml"), &manifest).with(&format!("{dir}/src/lib.rs"), "//! Empty.\n")
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.path().join(path)).unwrap()
    }
}

/// `path:line rule` of each finding: what tests compare.
pub(crate) fn places(found: &[Finding]) -> Vec<String> {
    found.iter().map(|finding| format!("{}:{} {}", finding.path, finding.line, finding.rule)).collect()
}
