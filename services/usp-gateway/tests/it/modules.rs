//! The modules of the gateway know only those below them, and the layers of a door know no door.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the code may stop at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down; modules of one row do not know each other.
const ROWS: &[&[&str]] = &[
    &["server"],
    &["routes"],
    &["rest", "grpc"],
    &["state"],
    &["openapi", "limits", "authenticator"],
    &["accept"],
    &["problem"],
    &["dialect"],
    &["presented", "refusal", "request", "metrics", "config"],
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Modules that code names after `crate::`; the root gives the names of two types.
fn known_by(code: &str) -> BTreeSet<String> {
    let lines = code.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let words = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default(),
        };
        for word in words.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()) {
            names.insert(match word {
                "Gateway" => "state".to_owned(),
                "GatewayConfig" => "config".to_owned(),
                word => word.to_owned(),
            });
        }
    }
    names
}

/// Which top module knows which others.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap().with_extension("");
        let module = inside.iter().next().unwrap().to_str().unwrap().to_owned();
        if module != "lib" {
            arrows.entry(module).or_default().extend(known_by(&fs::read_to_string(&file).unwrap()));
        }
    }
    let modules: BTreeSet<String> = arrows.keys().cloned().collect();
    for (module, known) in &mut arrows {
        known.retain(|name| name != module && modules.contains(name));
    }
    arrows
}

#[test]
fn modules_know_only_those_below_them() {
    let row_of = |module: &str| ROWS.iter().position(|row| row.contains(&module));
    for (module, known) in arrows() {
        let row = row_of(&module).unwrap_or_else(|| panic!("give {module} a row"));
        for other in known {
            let below = row_of(&other).unwrap_or_else(|| panic!("give {other} a row"));
            assert!(row < below, "{module} knows {other}, which is not below it");
        }
    }
}

#[test]
fn the_layers_of_a_door_name_no_dialect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join("limits.rs"), root.join("dialect.rs"), root.join("metrics.rs")];
    sources(&root.join("limits"), &mut files);
    for file in files {
        let code = fs::read_to_string(&file).unwrap().to_lowercase();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: String =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for word in ["crate::rest", "grpc", "tus::", "\"tus-", "tus-resumable", "\"/api", "application/grpc"]
        {
            assert!(!code.contains(word), "{} names {word}", file.display());
        }
    }
}
