//! `usp admin user`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use usp_client::types::{NewUser, UserPatch};
use usp_model::UserName;

use super::{GrantArgs, granted};
use crate::exit::Ending;
use crate::prompt;
use crate::render::table;
use crate::session::Session;

/// Manage users
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  usp admin user ls\n  usp admin user add alice --role writer --bucket default"
)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    verb: UserVerb,
}

#[derive(Debug, Subcommand)]
enum UserVerb {
    /// List all users
    #[command(after_help = "Example:\n  usp admin user ls")]
    Ls,
    /// Add a user; a password is drawn and shown once, unless one is given
    #[command(
        after_help = "Example:\n  usp admin user add alice --role writer --bucket default --bucket reports"
    )]
    Add {
        /// The user's name
        name: UserName,
        #[command(flatten)]
        grants: GrantArgs,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Change what a user may do, its password, or whether it may sign in
    #[command(
        after_help = "Example:\n  usp admin user set alice --role reader\n  usp admin user set alice --disabled true"
    )]
    Set {
        /// The user's name
        name: UserName,
        /// All that it may do from now on
        #[command(flatten)]
        grants: GrantArgs,
        /// Read the new password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// Whether it is locked out
        #[arg(long, value_name = "BOOL")]
        disabled: Option<bool>,
    },
    /// Remove a user; its files stay
    #[command(after_help = "Example:\n  usp admin user rm alice")]
    Rm {
        /// The user's name
        name: UserName,
    },
}

pub(super) async fn run(args: UserArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    match args.verb {
        UserVerb::Ls => {
            let users = client.users().await?;
            let row = |user: &usp_client::types::User| {
                let state = if user.disabled { "disabled" } else { "active" };
                vec![user.name.to_string(), state.to_owned(), granted(&user.grants)]
            };
            session.output.result(&users, || table(&users.iter().map(row).collect::<Vec<_>>()))
        }
        UserVerb::Add { name, grants, password_stdin } => {
            let password = password(password_stdin).await?;
            let grants = grants.grants().unwrap_or_default();
            let created = client.create_user(&NewUser { name, password, grants }).await?;
            session.output.result(&created, || match &created.password {
                Some(password) => format!("{}  password: {password}  (not shown again)", created.user.name),
                None => created.user.name.to_string(),
            })
        }
        UserVerb::Set { name, grants, password_stdin, disabled } => {
            let patch =
                UserPatch { password: password(password_stdin).await?, grants: grants.grants(), disabled };
            if patch.password.is_none() && patch.grants.is_none() && patch.disabled.is_none() {
                return Err(Ending::WrongUsage(
                    "say what to change: --role, --password-stdin or --disabled".to_owned(),
                )
                .into());
            }
            let user = client.patch_user(&name, &patch).await?;
            session.output.outcome(&user, || format!("{}  {}", user.name, granted(&user.grants)))
        }
        UserVerb::Rm { name } => {
            client.delete_user(&name).await?;
            session.output.outcome(&json!({"deleted": name}), || format!("deleted {name}"))
        }
    }
}

async fn password(from_stdin: bool) -> Result<Option<String>> {
    Ok(if from_stdin { Some(prompt::stdin_line().await?) } else { None })
}
