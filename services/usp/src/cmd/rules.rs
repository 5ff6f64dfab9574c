//! `usp rules ls|get|test`

use anyhow::Result;
use clap::{Args, Subcommand};
use usp_client::types::{Rule, RuleTest};
use usp_model::RuleName;

use crate::cmd::id_of;
use crate::place::FileArg;
use crate::render::table;
use crate::session::Session;

/// Show the processing rules, or try one on a file
#[derive(Debug, Args)]
#[command(after_help = "\
Rules are YAML files in the server's rules directory; it reads them at start and on SIGHUP.

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
        RulesVerb::Test { name, file } => {
            let id = id_of(&client, &file.0).await?;
            let test = client.test_rule(&name, &id).await?;
            session.output.result(&test, || verdict(&test))
        }
    }
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
