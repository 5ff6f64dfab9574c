//! `cargo xtask arrows`: compares the dependencies of every package with `arrows.txt`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Finding;

const TABLE_FILE: &str = "tools/xtask/arrows.txt";
const RULE: &str = "arrows";
/// Features that only tests may enable.
const TEST_FEATURES: &[&str] = &["poison"];

/// All arrows below `root` that its table does not allow.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let table = Table::parse(&fs::read_to_string(root.join(TABLE_FILE)).context("read arrows.txt")?)?;
    let packages = packages(root)?;
    let mut found = Vec::new();
    for package in &packages {
        for dependency in &package.dependencies {
            let reason = match packages.iter().find(|other| other.name == *dependency) {
                Some(inside) => table.refuses_inside(package, inside),
                None => table.refuses_outside(package, dependency),
            };
            found.extend(reason.map(|reason| package.finding(dependency, reason)));
        }
        for feature in
            TEST_FEATURES.iter().filter(|feature| package.enables.iter().any(|one| one == *feature))
        {
            found.push(package.finding(feature, format!("enable {feature} in [dev-dependencies] only")));
        }
        if !package.is_tool() && !table.rows.iter().any(|row| row.name == package.name) {
            found.push(package.finding("name", format!("add a row for {} to {TABLE_FILE}", package.name)));
        }
    }
    found.sort();
    Ok(found)
}

struct Package {
    name: String,
    /// Relative to the root, with `/`: `crates/usp-model`.
    dir: String,
    manifest: String,
    /// Normal and build dependencies.
    dependencies: Vec<String>,
    /// Features of dependencies that a release is built with, and its own that are on by default.
    enables: Vec<String>,
}

impl Package {
    fn is_tool(&self) -> bool {
        self.dir.starts_with("tools/")
    }

    /// Points at the first line of the manifest that begins with `word`.
    fn finding(&self, word: &str, advice: impl Into<String>) -> Finding {
        let index = self.manifest.lines().position(|line| line.starts_with(word)).unwrap_or(0);
        Finding::new(format!("{}/Cargo.toml", self.dir), index + 1, RULE, advice)
    }
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    /// Outside crates that only some packages may name.
    outside: Vec<Row>,
}

struct Row {
    name: String,
    allowed: Vec<String>,
}

impl Table {
    fn parse(text: &str) -> Result<Self> {
        let mut table = Self::default();
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            if line.is_empty() {
                continue;
            }
            let (name, allowed) =
                line.split_once(':').with_context(|| format!("no ':' in \"{line}\" of {TABLE_FILE}"))?;
            let allowed = allowed.split_whitespace().map(str::to_owned).collect();
            match name.strip_prefix('!') {
                Some(name) => table.outside.push(Row { name: name.to_owned(), allowed }),
                None => table.rows.push(Row { name: name.to_owned(), allowed }),
            }
        }
        Ok(table)
    }

    fn refuses_inside(&self, package: &Package, dependency: &Package) -> Option<String> {
        if package.is_tool() {
            return None;
        }
        if dependency.is_tool() {
            return Some(format!(
                "make {} a dev-dependency: nothing that ships depends on tools/",
                dependency.name
            ));
        }
        let row = self.rows.iter().find(|row| row.name == package.name)?;
        let is_allowed = row.allowed.iter().any(|word| word == "*" || *word == dependency.name);
        (!is_allowed).then(|| {
            let (from, to) = (&package.name, &dependency.name);
            format!("remove {to}: {from} may not depend on it ({TABLE_FILE})")
        })
    }

    fn refuses_outside(&self, package: &Package, dependency: &str) -> Option<String> {
        let row = self.outside.iter().find(|row| match row.name.strip_suffix('*') {
            Some(start) => dependency.starts_with(start),
            None => dependency == row.name,
        })?;
        let is_allowed = row.allowed.iter().any(|word| {
            *word == package.name || (word.ends_with('/') && package.dir.starts_with(word.as_str()))
        });
        (!is_allowed).then(|| {
            format!("remove {dependency}: only {} may name it ({TABLE_FILE})", row.allowed.join(", "))
        })
    }
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    let metadata = cargo_metadata(root, &["--no-deps"])?;
    let root = fs::canonicalize(root).context("find the repository")?;
    let mut packages = Vec::new();
    for package in list(&metadata, "packages") {
        let manifest_path = Path::new(text(package, "manifest_path"));
        let dir = manifest_path.parent().unwrap_or(manifest_path);
        let dependencies = list(package, "dependencies").iter().filter(|d| text(d, "kind") != "dev");
        let asked = dependencies.clone().flat_map(|dependency| list(dependency, "features"));
        let by_default = package.get("features").map_or(&[][..], |features| list(features, "default"));
        let enables = asked.chain(by_default).filter_map(Value::as_str);
        let enables =
            enables.map(|feature| feature.rsplit('/').next().unwrap_or(feature).to_owned()).collect();
        packages.push(Package {
            enables,
            name: text(package, "name").to_owned(),
            dir: dir.strip_prefix(&root).unwrap_or(dir).to_string_lossy().replace('\\', "/"),
            manifest: fs::read_to_string(manifest_path).context("read a Cargo.toml")?,
            dependencies: dependencies.map(|d| text(d, "name").to_owned()).collect(),
        });
    }
    Ok(packages)
}

/// What `cargo metadata` says of the workspace at `root`.
pub(crate) fn cargo_metadata(root: &Path, arguments: &[&str]) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--quiet"])
        .args(arguments)
        .current_dir(root)
        .output()
        .context("start cargo")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("read the answer of cargo metadata")
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text field; empty when absent or null.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
