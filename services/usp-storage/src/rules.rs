//! Rules: read from YAML, written over the API, asked at every commit.

use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::Mutex;
use usp_api::{Caller, RuleTest, WrittenRule};
use usp_auth::{Permission, authorize};
use usp_catalog::RuleFacts;
use usp_catalog::records::Erased;
use usp_model::{Act, Error, ErrorKind, FileRef, Result, Rule, RuleName};

use crate::core::{Core, run_to_end};
use crate::files::Files;
use crate::rule_book::{Facts, RuleBook, RulesInForce, absent_rule, invalid};

mod sources;

pub use sources::RuleSources;

/// Rules of one file, which may hold several separated by `---`; and rules in all that are written.
const RULE_COUNT_MAX: usize = 1_000;

const BUILT_IN: &str = include_str!("rules/built-in.yaml");

/// The rules that come with usp, so that a table or a text is profiled without any set-up.
pub fn built_in_rules() -> Result<Vec<Rule>> {
    parse_rules(BUILT_IN)
}

/// Reads rules from YAML. Errors: `InvalidInput` with every violation found.
pub fn parse_rules(yaml: &str) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for document in serde_norway::Deserializer::from_str(yaml.trim_start_matches('\u{feff}')) {
        if rules.len() == RULE_COUNT_MAX {
            return Err(
                invalid("read rules").because(format!("one file holds at most {RULE_COUNT_MAX} rules"))
            );
        }
        let rule = Option::<Rule>::deserialize(document)
            .map_err(|source| invalid("read rules").because(format!("not a rule: {source}")))?;
        rules.extend(rule);
    }
    Ok(rules)
}

/// Errors: `InvalidInput` naming the first rule that is not valid, and what is wrong with it.
pub fn check_rules(rules: &[Rule]) -> Result<()> {
    RuleBook::compile(rules.to_vec()).map(drop)
}

/// The part of storage that knows rules. Clones share everything.
#[derive(Clone)]
pub(crate) struct Rules {
    core: Arc<Core>,
    facts: Arc<dyn RuleFacts>,
    files: Files,
    in_force: RulesInForce,
    /// Held by the change of rules that runs.
    sources: Arc<Mutex<RuleSources>>,
}

impl Rules {
    pub(crate) fn new(
        core: Arc<Core>,
        facts: Arc<dyn RuleFacts>,
        files: Files,
        in_force: RulesInForce,
        sources: RuleSources,
    ) -> Self {
        Self { core, facts, files, in_force, sources: Arc::new(Mutex::new(sources)) }
    }

    pub(crate) fn list_rules(&self, caller: &Caller) -> Result<Vec<Rule>> {
        authorize(&caller.principal, Permission::RuleRead, None)?;
        let mut rules: Vec<_> = self.in_force.book().rules().cloned().collect();
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rules)
    }

    pub(crate) fn get_rule(&self, caller: &Caller, name: &RuleName) -> Result<Rule> {
        authorize(&caller.principal, Permission::RuleRead, None)?;
        self.in_force.book().get(name).cloned()
    }

    /// To the end: a rule that is committed is in force, whoever waits for it.
    pub(crate) async fn put_rule(&self, caller: &Caller, act: Act, rule: Rule) -> Result<WrittenRule> {
        authorize(&caller.principal, Permission::RuleManage, None)?;
        let rules = self.clone();
        run_to_end("write rule", async move {
            let sources = rules.sources.lock().await;
            sources.refuse_in_file("write rule", &rule.name)?;
            sources.check(&rule)?;
            let book = rules.in_force.book();
            let is_new = book.get(&rule.name).is_err();
            if is_new && book.rules().count() >= RULE_COUNT_MAX {
                return Err(invalid("write rule").because(format!(
                    "there are {RULE_COUNT_MAX} rules, which is the most; delete one first"
                )));
            }
            let anew = RuleBook::clone(&book).with(rule.clone())?;
            let rule = rules.facts.write_rule(act, rule).await?;
            rules.in_force.replace(anew.versioned(rule.clone()));
            Ok(WrittenRule { rule, is_new })
        })
        .await
    }

    pub(crate) async fn delete_rule(&self, caller: &Caller, act: Act, name: RuleName) -> Result<()> {
        authorize(&caller.principal, Permission::RuleManage, None)?;
        let rules = self.clone();
        run_to_end("delete rule", async move {
            let sources = rules.sources.lock().await;
            sources.refuse_in_file("delete rule", &name)?;
            let built_in = sources.built_in(&name).cloned();
            let mut anew = RuleBook::clone(&rules.in_force.book()).without(&name);
            if let Some(rule) = built_in.clone() {
                anew = anew.with(rule)?;
            }
            if let Erased::Now(instead) = rules.facts.erase_rule(act, &name, built_in.clone()).await? {
                rules.in_force.replace(instead.into_iter().fold(anew, RuleBook::versioned));
                return Ok(());
            }
            if built_in.is_some() {
                return Err(Error::new(ErrorKind::Conflict, "delete rule").about(&name).because(format!(
                    "rule '{name}' comes with usp; put another in its place, or let buckets name the rules they want"
                )));
            }
            Err(absent_rule(&name))
        })
        .await
    }

    pub(crate) async fn test_rule(&self, caller: &Caller, name: RuleName, file: FileRef) -> Result<RuleTest> {
        authorize(&caller.principal, Permission::RuleRead, None)?;
        let record = self.files.for_caller(caller, Permission::FileRead, &file, None).await?;
        let book = self.in_force.book();
        let rule = book.get(&name)?;
        let (matches, error) = match book.matches(&name, &Facts::of(&record.file)) {
            Ok(matches) => (matches, None),
            Err(error) => (false, Some(error.detail())),
        };
        let steps = rule.steps.iter().map(|step| format!("{} ({})", step.name, step.uses)).collect();
        Ok(RuleTest { rule: name, matches, error, steps })
    }

    /// Swaps in rules that were read anew from files. Runs that exist keep the version they began with. A written rule that
    /// this usp does not take is left out and kept, so that it can be written anew or deleted.
    ///
    /// Errors: `InvalidInput` for a rule of a file that is not valid; then the old ones stay in force.
    pub(crate) async fn replace_rules(&self, files: Vec<Rule>) -> Result<Vec<RuleName>> {
        let mut sources = self.sources.lock().await;
        let anew = RuleSources { files, ..sources.clone() };
        let mut book = RuleBook::compile(anew.fixed())?;
        for rule in self.facts.written_rules().await? {
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
            book = book.versioned(self.facts.put_rule(self.core.duty("rules"), rule).await?);
        }
        let names: Vec<RuleName> = book.rules().map(|rule| rule.name.clone()).collect();
        self.facts.retire_rules(self.core.duty("rules"), names.clone()).await?;
        self.in_force.replace(book);
        *sources = anew;
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
