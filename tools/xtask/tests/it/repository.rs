//! This repository passes its own checks. On failure the text says what to do, line by line.

use xtask::{Finding, arrows, deny, generate, repository_root, tidy};

#[test]
fn generated_code_is_what_proto_compiles_to() {
    assert_clean(&generate::check(&repository_root()).unwrap());
}

#[test]
fn every_file_is_tidy() {
    assert_clean(&tidy::check(&repository_root()).unwrap());
}

#[test]
fn every_dependency_follows_the_arrows() {
    assert_clean(&arrows::check(&repository_root()).unwrap());
}

#[test]
fn every_crate_has_an_allowed_licence_version_and_source() {
    assert_clean(&deny::check(&repository_root()).unwrap());
}

#[track_caller]
fn assert_clean(found: &[Finding]) {
    let lines: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), lines.join("\n"));
}
