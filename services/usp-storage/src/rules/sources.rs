//! Where rules come from.
//!
//! Some come with usp. Rules that are written over the API go before those, and rules in files before both: who has the
//! machine has the last word. Only written ones change while usp runs, one at a time, and a change counts once it is
//! committed; files are read again when someone says so.

use std::collections::BTreeMap;

use usp_model::{Error, ErrorKind, Result, Rule, RuleName, RuleStep, Violation};

use super::check_rules;
use crate::rule_book::invalid;

/// Rules besides those that were written.
#[derive(Debug, Clone)]
pub struct RuleSources {
    pub built_in: Vec<Rule>,
    pub files: Vec<Rule>,
    /// Whether there is such a step and it takes these parameters: `InvalidInput` if not, with pointers below the step.
    pub check_step: fn(&RuleStep) -> Result<()>,
}

impl RuleSources {
    /// Nothing but these.
    pub fn of_files(files: Vec<Rule>) -> Self {
        Self { built_in: Vec::new(), files, check_step: |_step| Ok(()) }
    }

    /// Those that no API changes, each name once.
    pub(super) fn fixed(&self) -> Vec<Rule> {
        let all = self.built_in.iter().chain(&self.files);
        let by_name: BTreeMap<&RuleName, &Rule> = all.map(|rule| (&rule.name, rule)).collect();
        by_name.into_values().cloned().collect()
    }

    pub(super) fn is_in_file(&self, name: &RuleName) -> bool {
        self.files.iter().any(|rule| rule.name == *name)
    }

    pub(super) fn built_in(&self, name: &RuleName) -> Option<&Rule> {
        self.built_in.iter().find(|rule| rule.name == *name)
    }

    pub(super) fn refuse_in_file(&self, action: &'static str, name: &RuleName) -> Result<()> {
        if !self.is_in_file(name) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, action).about(name).because(format!(
            "rule '{name}' stands in a file of the server's rules directory, which goes before; change it there"
        )))
    }

    pub(super) fn check(&self, rule: &Rule) -> Result<()> {
        check_rules(std::slice::from_ref(rule))?;
        for (index, step) in rule.steps.iter().enumerate() {
            let Err(error) = (self.check_step)(step) else { continue };
            let below =
                |v: &Violation| Violation::new(format!("/steps/{index}{}", v.pointer), v.detail.clone());
            let violations = error.violations().iter().map(below).collect();
            let detail = format!("rule '{}', step '{}': {}", rule.name, step.name, error.detail());
            return Err(invalid("write rule").about(&rule.name).because(detail).with_violations(violations));
        }
        Ok(())
    }
}
