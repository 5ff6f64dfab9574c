//! `usp admin key`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use usp_client::types::{ApiKey, NewApiKey};
use usp_model::{ApiKeyId, UserName};

use super::{GrantArgs, granted};
use crate::config::Interval;
use crate::render::table;
use crate::session::Session;

/// Manage API keys
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  usp admin key ls\n  usp admin key add nightly-import --role writer --ttl 90d"
)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// List keys: your own, or everybody's for an administrator
    #[command(after_help = "Example:\n  usp admin key ls")]
    Ls,
    /// Make a key; it is shown once
    #[command(after_help = "\
A key never allows more than its user may do at the time of use.

Example:
  usp admin key add nightly-import --user alice --role writer --bucket default --ttl 90d")]
    Add {
        /// What the key is for
        name: String,
        /// Whose key; your own without it
        #[arg(long, value_name = "NAME")]
        user: Option<UserName>,
        #[command(flatten)]
        grants: GrantArgs,
        /// How long it holds; for ever without it
        #[arg(long)]
        ttl: Option<Interval>,
    },
    /// Revoke a key
    #[command(after_help = "Example:\n  usp admin key rm 0123456789abcdef")]
    Rm {
        /// Its id, as `ls` shows it
        id: ApiKeyId,
    },
}

pub(super) async fn run(args: KeyArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    match args.verb {
        KeyVerb::Ls => {
            let keys = client.api_keys().await?;
            session.output.result(&keys, || table(&keys.iter().map(row).collect::<Vec<_>>()))
        }
        KeyVerb::Add { name, user, grants, ttl } => {
            let grants = grants.grants().unwrap_or_default();
            let key = NewApiKey { name, user, grants, ttl_s: ttl.map(|ttl| ttl.0.as_secs()) };
            let created = client.create_api_key(&key).await?;
            session.output.note("usp: keep it now, it is not shown again");
            session.output.result(&created, || created.secret.clone())
        }
        KeyVerb::Rm { id } => {
            client.revoke_api_key(&id).await?;
            session.output.outcome(&json!({"revoked": id}), || format!("revoked {id}"))
        }
    }
}

fn row(key: &ApiKey) -> Vec<String> {
    let at = |at: Option<usp_model::Timestamp>, none: &str| {
        at.map_or_else(|| none.to_owned(), |at| at.to_string())
    };
    let grants =
        if key.grants.is_empty() { "all that the user may".to_owned() } else { granted(&key.grants) };
    vec![
        key.id.to_string(),
        key.name.clone(),
        key.user.to_string(),
        grants,
        format!("expires {}", at(key.expires_at, "never")),
        format!("used {}", at(key.last_used_at, "never")),
    ]
}
