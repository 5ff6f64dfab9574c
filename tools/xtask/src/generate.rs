//! `cargo xtask gen`: compiles `proto/` into `gen/usp-proto/src/gen/`.
//!
//! The output is checked in, so that a build needs neither `protoc` nor a build script, and so that a change of the
//! wire shows up in review. `--check` regenerates beside it and names what differs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message;
use prost_types::FileDescriptorSet;
use walkdir::WalkDir;

use crate::{Finding, comments};

const PROTO_DIR: &str = "proto";
const INTERNAL_DIR: &str = "usp/node/";
const GEN_DIR: &str = "gen/usp-proto/src/gen";
const DESCRIPTOR_FILE: &str = "descriptor.bin";
/// Nests the generated files as their packages nest, since they refer to each other by `super`.
const PACKAGES_FILE: &str = "packages.rs";

/// Writes what `root/proto` compiles to, and removes what it no longer makes. Returns how many files there are.
pub fn write(root: &Path) -> Result<usize> {
    let target = root.join(GEN_DIR);
    let fresh = compile(descriptors(root)?)?;
    fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
    for name in read_files(&target)?.into_keys().filter(|name| !fresh.contains_key(name)) {
        fs::remove_file(target.join(&name)).with_context(|| format!("remove {name}"))?;
    }
    for (name, content) in &fresh {
        fs::write(target.join(name), content).with_context(|| format!("write {name}"))?;
    }
    Ok(fresh.len())
}

/// Compares what is checked in with what `root/proto` compiles to, and asks for a comment on every part of it.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let descriptors = descriptors(root)?;
    let mut found = comments::missing(&descriptors);
    let fresh = compile(descriptors)?;
    let kept = read_files(&root.join(GEN_DIR)).unwrap_or_default();
    for (name, content) in &fresh {
        match kept.get(name) {
            None => found.push(stale(name, 1, "is missing")),
            Some(old) if old != content => {
                found.push(stale(
                    name,
                    first_difference(old, content),
                    "differs from what proto/ compiles to",
                ));
            }
            Some(_) => {}
        }
    }
    for name in kept.keys().filter(|name| !fresh.contains_key(*name)) {
        found.push(stale(name, 1, "is not made from proto/ any more"));
    }
    Ok(found)
}

fn stale(name: &str, line: usize, what: &str) -> Finding {
    let advice = format!("{what}; run `cargo xtask gen` and commit the result");
    Finding::new(format!("{GEN_DIR}/{name}"), line, "gen", advice)
}

/// The first line, counted from 1, in which two contents differ.
fn first_difference(old: &[u8], new: &[u8]) -> usize {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b);
    1 + same.filter(|(byte, _)| **byte == b'\n').count()
}

/// Everything that `root/proto` declares, with its comments and with what it imports.
fn descriptors(root: &Path) -> Result<FileDescriptorSet> {
    let proto_dir = root.join(PROTO_DIR);
    let mut compiler = protox::Compiler::new([&proto_dir])?;
    compiler.include_source_info(true).include_imports(true).open_files(proto_files(&proto_dir)?)?;
    Ok(compiler.file_descriptor_set())
}

/// File name → content of everything that is made from the descriptors.
fn compile(descriptors: FileDescriptorSet) -> Result<BTreeMap<String, Vec<u8>>> {
    let out = tempfile::tempdir().context("create a temporary directory")?;
    fs::write(out.path().join(DESCRIPTOR_FILE), public(&descriptors).encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        .include_file(PACKAGES_FILE)
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)
        .context("generate Rust from proto/")?;
    read_files(out.path())
}

/// What server reflection may tell: everything but the protocol between roles.
fn public(descriptors: &FileDescriptorSet) -> FileDescriptorSet {
    let files = descriptors.file.iter().filter(|file| !file.name().starts_with(INTERNAL_DIR));
    FileDescriptorSet { file: files.cloned().collect() }
}

fn proto_files(proto_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in WalkDir::new(proto_dir).sort_by_file_name() {
        let path = entry.context("walk proto/")?.into_path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            sources.push(path);
        }
    }
    Ok(sources)
}

fn read_files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(files)
}
