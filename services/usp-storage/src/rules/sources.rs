//! Where rules come from.
//!
//! Some come with usp. Rules that are written over the API go before those, and rules in files before both: who has the
//! machine has the last word. Only written ones change while usp runs, one at a time, and a change counts once it is
//! committed; files are read again when someone says so.

use std::collections::BTreeMap;

use usp_api::{Caller, WrittenRule};
use usp_auth::{Permission, authorize};
use usp_catalog::records::Erased;
use usp_model::{Error, ErrorKind, Result, Rule, RuleName, RuleStep, Violation};

use super::{RULE_COUNT_MAX, RuleBook, absent_rule, check_rules, invalid};
use crate::put::failed_task;
use crate::storage::Storage;

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
    fn fixed(&self) -> Vec<Rule> {
        let all = self.built_in.iter().chain(&self.files);
        let by_name: BTreeMap<&RuleName, &Rule> = all.map(|rule| (&rule.name, rule)).collect();
        by_name.into_values().cloned().collect()
    }

    fn is_in_file(&self, name: &RuleName) -> bool {
        self.files.iter().any(|rule| rule.name == *name)
    }

    fn built_in(&self, name: &RuleName) -> Option<&Rule> {
        self.built_in.iter().find(|rule| rule.name == *name)
    }

    fn refuse_in_file(&self, action: &'static str, name: &RuleName) -> Result<()> {
        if !self.is_in_file(name) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, action).about(name).because(format!(
            "rule '{name}' stands in a file of the server's rules directory, which goes before; change it there"
        )))
    }

    fn check(&self, rule: &Rule) -> Result<()> {
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

impl Storage {
    /// In a task of its own: a rule that is committed is in force, whoever waits for it.
    pub(crate) async fn write_rule(&self, caller: &Caller, rule: Rule) -> Result<WrittenRule> {
        authorize(&caller.principal, Permission::RuleManage, None)?;
        let (storage, act) = (self.clone(), self.act(caller));
        let writing = tokio::spawn(async move {
            let sources = storage.rule_sources.lock().await;
            sources.refuse_in_file("write rule", &rule.name)?;
            sources.check(&rule)?;
            let book = storage.rule_book();
            let is_new = book.get(&rule.name).is_err();
            if is_new && book.rules().count() >= RULE_COUNT_MAX {
                return Err(invalid("write rule").because(format!(
                    "there are {RULE_COUNT_MAX} rules, which is the most; delete one first"
                )));
            }
            let anew = RuleBook::clone(&book).with(rule.clone())?;
            let rule = storage.catalog.write_rule(act, rule).await?;
            *storage.rules.write() = anew.versioned(rule.clone()).into();
            Ok(WrittenRule { rule, is_new })
        });
        writing.await.unwrap_or_else(|source| Err(failed_task(source)))
    }

    pub(crate) async fn erase_rule(&self, caller: &Caller, name: RuleName) -> Result<()> {
        authorize(&caller.principal, Permission::RuleManage, None)?;
        let (storage, act) = (self.clone(), self.act(caller));
        let erasing = tokio::spawn(async move {
            let sources = storage.rule_sources.lock().await;
            sources.refuse_in_file("delete rule", &name)?;
            let built_in = sources.built_in(&name).cloned();
            let mut anew = RuleBook::clone(&storage.rule_book()).without(&name);
            if let Some(rule) = built_in.clone() {
                anew = anew.with(rule)?;
            }
            if let Erased::Now(instead) = storage.catalog.erase_rule(act, &name, built_in.clone()).await? {
                *storage.rules.write() = instead.into_iter().fold(anew, RuleBook::versioned).into();
                return Ok(());
            }
            if built_in.is_some() {
                return Err(Error::new(ErrorKind::Conflict, "delete rule").about(&name).because(format!(
                    "rule '{name}' comes with usp; put another in its place, or let buckets name the rules they want"
                )));
            }
            Err(absent_rule(&name))
        });
        erasing.await.unwrap_or_else(|source| Err(failed_task(source)))
    }

    /// Swaps in rules that were read anew from files. Runs that exist keep the version they began with. A written rule that
    /// this usp does not take is left out and kept, so that it can be written anew or deleted.
    ///
    /// Errors: `InvalidInput` for a rule of a file that is not valid; then the old ones stay in force.
    pub async fn replace_rules(&self, files: Vec<Rule>) -> Result<Vec<RuleName>> {
        let mut sources = self.rule_sources.lock().await;
        let anew = RuleSources { files, ..sources.clone() };
        let mut book = RuleBook::compile(anew.fixed())?;
        for rule in self.catalog.written_rules().await? {
            if anew.is_in_file(&rule.name) {
                continue;
            }
            let name = rule.name.clone();
            match book.clone().with(rule) {
                Ok(with) => book = with,
                Err(error) => {
                    tracing::error!(rule = %name, error = error.detail(), "a written rule is left out; write it anew");
                }
            }
        }
        for rule in book.rules().cloned().collect::<Vec<_>>() {
            book = book.versioned(self.catalog.put_rule(self.duty("rules"), rule).await?);
        }
        let names: Vec<RuleName> = book.rules().map(|rule| rule.name.clone()).collect();
        self.catalog.retire_rules(self.duty("rules"), names.clone()).await?;
        *self.rules.write() = book.into();
        *sources = anew;
        Ok(names)
    }
}
