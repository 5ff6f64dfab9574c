//! Rules from files: the built-in ones, and those of the rules directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use usp_model::limits::RULES_BYTES_MAX;
use usp_model::{Rule, RuleStep};
use usp_storage::{RuleSources, built_in_rules, check_rules, parse_rules};

/// The rules of the files in `dir`, besides those that come with usp. An absent directory has none.
///
/// Errors: a file that is no rule or not a valid one, a step that does not exist or has wrong parameters; each names its file.
pub(crate) fn load(dir: &Path) -> Result<RuleSources> {
    let mut rules: BTreeMap<_, Rule> = BTreeMap::new();
    let mut named_by = BTreeMap::new();
    for path in yaml_files(dir)? {
        for rule in read(&path)? {
            if let Some(first) = named_by.insert(rule.name.clone(), path.clone()) {
                bail!("rule '{}' stands in {} and in {}", rule.name, first.display(), path.display());
            }
            rules.insert(rule.name.clone(), rule);
        }
    }
    Ok(RuleSources { built_in: built_in_rules()?, files: rules.into_values().collect(), check_step })
}

/// Parses as the worker will.
fn check_step(step: &RuleStep) -> usp_model::Result<()> {
    usp_steps::build(&step.uses, &step.with).map(drop)
}

fn yaml_files(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("failed to read {}", dir.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("failed to read {}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<Rule>> {
    let size_bytes = fs::metadata(path).with_context(|| format!("failed to read {}", path.display()))?.len();
    if size_bytes > RULES_BYTES_MAX {
        bail!("{} has {size_bytes} bytes; a rules file has at most {RULES_BYTES_MAX}", path.display());
    }
    let yaml = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let rules = parse_rules(&yaml).with_context(|| format!("failed to read {}", path.display()))?;
    check_rules(&rules).with_context(|| format!("failed to read {}", path.display()))?;
    for rule in &rules {
        for step in &rule.steps {
            check_step(step).with_context(|| {
                format!("failed to read {}: rule '{}', step '{}'", path.display(), rule.name, step.name)
            })?;
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_is_not_valid_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        for yaml in [
            "name: x\nsteps: []\n",
            "name: x\nwhen: 'file.size >'\nsteps: [{name: s, uses: sniff}]\n",
            "name: x\nsteps: [{name: s, uses: sniff}]\nretry: {backoff_ms_min: 1000, backoff_ms_max: 10}\n",
            "name: x\nsteps: [{name: s, uses: nothing}]\n",
        ] {
            fs::write(dir.path().join("zz.yaml"), yaml).unwrap();
            let error = format!("{:#}", load(dir.path()).unwrap_err());
            assert!(error.contains("zz.yaml"), "{error}");
        }
    }
}
