//! `usp rules ls|get|apply|rm|test`

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use usp_client::types::{Rule, RuleTest};
use usp_model::RuleName;
use usp_model::limits::RULES_BYTES_MAX;
use usp_storage::parse_rules;

use crate::cmd::id_of;
use crate::place::FileArg;
use crate::render::table;
use crate::session::Session;

/// Show, write or delete the processing rules, or try one on a file
#[derive(Debug, Args)]
#[command(after_help = "\
Rules come with usp, are written with `usp rules apply`, or stand as YAML in the server's rules directory, which it reads at
start and on SIGHUP. A file of that directory goes before a written rule of the same name, and that before one of usp.

Example:
  usp rules ls")]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    verb: RulesVerb,
}

#[derive(Debug, Subcommand)]
enum RulesVerb {
    /// List the rules
    #[command(after_help = "Example:\n  usp rules ls")]
    Ls,
    /// Show one rule
    #[command(after_help = "Example:\n  usp rules get profile")]
    Get {
        /// Its name
        name: RuleName,
    },
    /// Write the rules of YAML files: new ones are made, others replaced
    #[command(
        after_help = "Example:\n  usp rules apply rules/tables.yaml\n  usp rules get profile | usp rules apply -"
    )]
    Apply {
        /// Files with one or several rules, separated by `---`; '-' reads standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Delete a rule that was written; one that comes with usp counts again as it was
    #[command(after_help = "Example:\n  usp rules rm tables")]
    Rm {
        /// Its name
        name: RuleName,
    },
    /// Say what a rule would do to a file, and do nothing
    #[command(after_help = "Example:\n  usp rules test profile usp://default/2026/orders.csv")]
    Test {
        /// The rule's name
        name: RuleName,
        /// usp://BUCKET/KEY or a file id
        file: FileArg,
    },
}

pub(crate) async fn run(args: RulesArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    match args.verb {
        RulesVerb::Ls => {
            let rules = client.rules().await?;
            session.output.result(&rules, || table(&rules.iter().map(row).collect::<Vec<_>>()))
        }
        RulesVerb::Get { name } => {
            let rule = client.rule(&name).await?;
            // JSON is YAML, too: what is shown can stand in a rules file.
            let text = serde_json::to_string_pretty(&rule)?;
            session.output.result(&rule, || text)
        }
        RulesVerb::Apply { files } => {
            // All of them are read before the first one counts.
            let mut rules = Vec::new();
            for file in &files {
                rules.extend(read(file)?);
            }
            check_named_once(&rules)?;
            let mut written: Vec<Rule> = Vec::new();
            for rule in &rules {
                let put = client.put_rule(&rule.name, rule).await;
                written.push(put.with_context(|| match written.last() {
                    Some(last) => {
                        format!("rules up to '{}' were written; failed to write '{}'", last.name, rule.name)
                    }
                    None => format!("failed to write rule '{}'", rule.name),
                })?);
            }
            let lines: Vec<String> =
                written.iter().map(|rule| format!("{} is version {}", rule.name, rule.version)).collect();
            session.output.result(&written, || lines.join("\n"))
        }
        RulesVerb::Rm { name } => {
            client.delete_rule(&name).await?;
            session.output.result(&json!({"deleted": name}), || format!("deleted {name}"))
        }
        RulesVerb::Test { name, file } => {
            let id = id_of(&client, &file.0).await?;
            let test = client.test_rule(&name, &id).await?;
            session.output.result(&test, || verdict(&test))
        }
    }
}

fn check_named_once(rules: &[usp_model::Rule]) -> Result<()> {
    let mut names = BTreeSet::new();
    for rule in rules {
        ensure!(names.insert(&rule.name), "rule '{}' stands there twice; nothing was written", rule.name);
    }
    Ok(())
}

/// Errors: `InvalidInput`, with the file, for what is no rule; the server decides about the rest.
fn read(file: &Path) -> Result<Vec<usp_model::Rule>> {
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(file).with_context(|| format!("failed to open {}", file.display()))?),
    };
    let mut yaml = String::new();
    let read = input.take(RULES_BYTES_MAX + 1).read_to_string(&mut yaml);
    let length = read.with_context(|| format!("failed to read {}", file.display()))?;
    ensure!(length as u64 <= RULES_BYTES_MAX, "{} has more than {RULES_BYTES_MAX} bytes", file.display());
    let rules = parse_rules(&yaml).with_context(|| format!("failed to read {}", file.display()))?;
    ensure!(!rules.is_empty(), "{} holds no rule", file.display());
    Ok(rules)
}

fn row(rule: &Rule) -> Vec<String> {
    let steps: Vec<&str> = rule.steps.iter().map(|step| step.uses.as_str()).collect();
    let when = if rule.when.is_empty() { "only when asked for" } else { &rule.when };
    vec![rule.name.to_string(), steps.join(" → "), when.to_owned()]
}

fn verdict(test: &RuleTest) -> String {
    match (&test.error, test.matches) {
        (Some(error), _) => format!("{} does not match: {}", test.rule, crate::output::shown(error)),
        (None, true) => format!("{} matches and would run: {}", test.rule, test.steps.join(" → ")),
        (None, false) => format!("{} does not match", test.rule),
    }
}
