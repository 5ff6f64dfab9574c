//! `usp token`: mints a token with the key of a data directory, without asking a server.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use usp_auth::{SigningKeys, TokenService};
use usp_model::{BucketName, Error, ErrorKind, Grant, Role, UserName};

use crate::cmd::serve::ConfigFlags;
use crate::config::Interval;
use crate::paths;
use crate::session::{Session, now};

/// Mint a token with a data directory's own key
#[derive(Debug, Args)]
#[command(after_help = "\
Whoever can read the data directory is its root: no password is asked. The token narrows what the user may do; without \
--role and --bucket it is good for all of it.

Example:
  usp token --data-dir ./data
  usp token --data-dir ./data --user admin --role reader --bucket default --ttl 8h")]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    config: ConfigFlags,
    /// Whose token; the first start makes `admin`
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: UserName,
    /// The most that it may do: admin, manager, writer or reader
    #[arg(long)]
    role: Option<Role>,
    /// Only in this bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<BucketName>,
    /// How long it holds
    #[arg(long, default_value = "1h")]
    ttl: Interval,
}

pub(crate) fn run(args: &TokenArgs, session: &Session) -> Result<()> {
    let config = args.config.sources().load_unchecked()?.config;
    let path = paths::signing_keys(&config.data_dir);
    if !config.data_dir.is_dir() {
        let reason =
            format!("there is no data directory {}; `usp serve` makes one", config.data_dir.display());
        return Err(Error::new(ErrorKind::NotFound, "mint token").because(reason).into());
    }
    if !path.is_file() {
        let reason = format!("{} holds no store; `usp serve` makes one", config.data_dir.display());
        return Err(Error::new(ErrorKind::NotFound, "mint token").because(reason).into());
    }
    let tokens = TokenService::new(&SigningKeys::load_or_create(&path)?, config.token_config())?;
    let token = tokens.issue(&args.user, grants(args), args.ttl.0, now())?;
    let expires_in_s = args.ttl.0.as_secs();
    session
        .output
        .result(&json!({"token": token, "user": args.user, "expires_in": expires_in_s}), || token.clone())
}

/// `None` leaves it to what the user has when the token is used.
fn grants(args: &TokenArgs) -> Option<Vec<Grant>> {
    if args.role.is_none() && args.bucket.is_none() {
        return None;
    }
    Some(vec![Grant { bucket: args.bucket.clone(), role: args.role.unwrap_or(Role::Admin) }])
}
