//! `cargo xtask deny`: enforces licences, bans and sources of `deny.toml` with nothing but cargo.
//!
//! cargo-deny does this and more; it is not installed everywhere, and this much belongs in every test run. What is
//! looked at is the graph that cargo really builds, not all of `Cargo.lock`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

use crate::Finding;

const POLICY_FILE: &str = "deny.toml";

/// All crates below `root` that its `deny.toml` refuses.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let policy = Policy::parse(&fs::read_to_string(root.join(POLICY_FILE)).context("read deny.toml")?)?;
    let mut found: Vec<Finding> = built_crates(root, &policy.targets)?
        .iter()
        .flat_map(|package| policy.refuses(package))
        .map(|reason| Finding::new("Cargo.lock", 1, "deny", reason))
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// One crate of the graph.
#[derive(Debug, Default, PartialEq)]
struct Package {
    name: String,
    version: Vec<u64>,
    license: String,
    /// A folder or an address; empty for crates.io.
    source: String,
}

impl Package {
    /// Reads `name v1.2.3 (source)|license (*)`.
    fn parse(line: &str) -> Option<Self> {
        let (spec, license) = line.trim_end_matches(" (*)").split_once('|')?;
        let (name, rest) =
            spec.replace(" (proc-macro)", "").split_once(" v").map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        let (version, source) = rest.split_once(" (").unwrap_or((&rest, ""));
        let source = source.trim_end_matches(')').to_owned();
        Some(Self { name, version: version_parts(version), license: license.to_owned(), source })
    }
}

struct Policy {
    targets: Vec<String>,
    licenses: Vec<String>,
    bans: Vec<Ban>,
}

struct Ban {
    name: String,
    /// Only versions below this one; empty: every version.
    below: Vec<u64>,
    reason: String,
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let policy: Table = text.parse().context("read deny.toml")?;
        let bans = array(&policy, "bans", "deny").iter().map(Ban::parse).collect::<Result<_>>()?;
        Ok(Self {
            targets: texts(&policy, "graph", "targets"),
            licenses: texts(&policy, "licenses", "allow"),
            bans,
        })
    }

    fn refuses(&self, package: &Package) -> Vec<String> {
        let name = &package.name;
        let mut reasons = Vec::new();
        for ban in self.bans.iter().filter(|ban| ban.matches(package)) {
            reasons.push(format!("get rid of {name}: {}", ban.reason));
        }
        if !package.source.is_empty() && !package.source.starts_with('/') {
            reasons.push(format!("take {name} from crates.io, not from {}", package.source));
        }
        if !self.allows(&package.license) {
            reasons
                .push(format!("get rid of {name}: its licence \"{}\" is not on the list", package.license));
        }
        reasons
    }

    /// Whether allowed licences suffice for an SPDX expression. `A/B` is the old way to write `A OR B`.
    fn allows(&self, expression: &str) -> bool {
        let spaced =
            expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "~");
        let tokens: Vec<String> =
            spaced.split_whitespace().map(|token| token.replace('~', " WITH ")).collect();
        let mut at = 0;
        self.any_of(&tokens, &mut at) && at == tokens.len()
    }

    fn any_of(&self, tokens: &[String], at: &mut usize) -> bool {
        let mut is_allowed = self.all_of(tokens, at);
        while take(tokens, at, "OR") {
            is_allowed |= self.all_of(tokens, at);
        }
        is_allowed
    }

    fn all_of(&self, tokens: &[String], at: &mut usize) -> bool {
        let mut is_allowed = self.term(tokens, at);
        while take(tokens, at, "AND") {
            is_allowed &= self.term(tokens, at);
        }
        is_allowed
    }

    fn term(&self, tokens: &[String], at: &mut usize) -> bool {
        if take(tokens, at, "(") {
            return self.any_of(tokens, at) & take(tokens, at, ")");
        }
        let license = tokens.get(*at);
        *at += 1;
        license.is_some_and(|license| self.licenses.contains(license))
    }
}

impl Ban {
    fn parse(entry: &Value) -> Result<Self> {
        let field = |key: &str| entry.get(key).and_then(Value::as_str);
        let spec = field("crate").with_context(|| format!("no `crate` in the ban {entry}"))?;
        let (name, below) = spec.split_once(":<").unwrap_or((spec, ""));
        ensure!(
            !name.contains([':', '@', '<', '>', '=']),
            "only `name` and `name:<version` are understood, not {spec}"
        );
        let reason = field("reason").with_context(|| format!("say why {name} is banned"))?;
        Ok(Self { name: name.to_owned(), below: version_parts(below), reason: reason.to_owned() })
    }

    fn matches(&self, package: &Package) -> bool {
        self.name == package.name && (self.below.is_empty() || package.version < self.below)
    }
}

fn take(tokens: &[String], at: &mut usize, word: &str) -> bool {
    let is_there = tokens.get(*at).is_some_and(|token| token == word);
    *at += usize::from(is_there);
    is_there
}

fn array<'a>(policy: &'a Table, section: &str, key: &str) -> &'a [Value] {
    policy.get(section).and_then(|s| s.get(key)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(policy: &Table, section: &str, key: &str) -> Vec<String> {
    array(policy, section, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `1.2.3-rc.1+meta` → 1, 2, 3.
fn version_parts(version: &str) -> Vec<u64> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    numbers.split('.').filter_map(|part| part.parse().ok()).collect()
}

fn built_crates(root: &Path, targets: &[String]) -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--locked", "--quiet", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .args(targets.iter().flat_map(|target| ["--target", target]))
        .current_dir(root)
        .output()
        .context("start cargo")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(Package::parse).collect())
}

#[cfg(test)]
mod tests;
