//! `usp login`

use anyhow::Result;
use clap::Args;
use serde_json::json;
use usp_model::UserName;

use crate::prompt;
use crate::session::{Profile, Session, anonymous, now, save_login};

/// Sign in, and remember where and as whom
#[derive(Debug, Args)]
#[command(after_help = "\
The profile is kept in $XDG_CONFIG_HOME/usp/profile.toml (or ~/.config), readable by you alone, and renewed by itself.

Example:
  usp login http://127.0.0.1:8080
  usp login https://files.example.com --user alice --password-stdin")]
pub(crate) struct LoginArgs {
    /// The server's address
    server: String,
    /// As whom; the first start of a server makes `admin`
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: UserName,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

pub(crate) async fn run(args: LoginArgs, session: &Session) -> Result<()> {
    let client = anonymous(&args.server)?;
    let password = match args.password_stdin {
        true => prompt::stdin_line().await?,
        false => prompt::password(&format!("Password of {} at {}", args.user, client.url())).await?,
    };
    let pair = client.sign_in(&args.user, &password).await?;
    let path = save_login(&Profile::new(client.url(), args.user.as_str(), &pair, now())).await?;
    let told = json!({"url": client.url(), "user": args.user, "profile": path});
    let text = || format!("signed in as {} at {}; profile in {}", args.user, client.url(), path.display());
    session.output.outcome(&told, text)
}
