//! `usp config print|check`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cmd::serve::ConfigFlags;
use crate::config::{as_json, as_toml};
use crate::output::write_bytes;
use crate::session::Session;

/// Show or check the configuration of a server
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp config print\n  usp config check --config usp.toml")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print what is in force, and where each value comes from
    #[command(after_help = "\
Secrets print as [redacted]. The output is a configuration file with every key and its meaning.

Example:
  usp config print > usp.toml")]
    Print(ConfigFlags),
    /// List everything that is wrong, or say that nothing is
    #[command(after_help = "Example:\n  usp config check --config usp.toml")]
    Check(ConfigFlags),
}

pub(crate) fn run(args: ConfigArgs, session: &Session) -> Result<()> {
    match args.verb {
        ConfigVerb::Print(flags) => {
            let loaded = flags.sources().load_unchecked()?;
            if session.output.json {
                return session.output.result(&as_json(&loaded)?, String::new);
            }
            write_bytes(as_toml(&loaded)?.as_bytes())
        }
        ConfigVerb::Check(flags) => {
            flags.sources().load()?;
            session.output.outcome(&json!({"valid": true}), || "the configuration is valid".to_owned())
        }
    }
}
