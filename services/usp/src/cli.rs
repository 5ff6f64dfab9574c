//! The command line: verbs, and what is common to all of them.

use std::future::Future;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use usp_model::ErrorKind;

use crate::cmd;
use crate::exit::{Ending, Exit, exit_of};
use crate::output::Output;
use crate::place::with_mark;
use crate::session::Session;

const ABOUT_EXITS: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 conflict or precondition, 6 temporary, \
7 processing ended in failure (--wait), 74 storage fault, 130 interrupted.

USP_URL and USP_TOKEN (or USP_TOKEN_FILE) name the server and the credential without a login.

Example:
  usp serve                              start a server on this machine, data in ./data
  usp login http://127.0.0.1:8080        sign in, once
  usp put report.csv --wait              store a file and wait until it is processed
  usp watch                              see what happens";

/// Heads the options that every verb takes.
const EVERYWHERE: &str = "Everywhere";

/// Files in, kept once, processed, and seen the whole way.
#[derive(Debug, Parser)]
#[command(name = "usp", version, after_help = ABOUT_EXITS, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct GlobalArgs {
    /// Print JSON: one document, or one per line for streams
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
    /// The server's address, instead of USP_URL and the profile's
    #[arg(long, global = true, value_name = "URL", help_heading = EVERYWHERE)]
    url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(cmd::serve::ServeArgs),
    Health(cmd::health::HealthArgs),
    Token(cmd::token::TokenArgs),
    Login(cmd::login::LoginArgs),
    Put(cmd::put::PutArgs),
    Get(cmd::get::GetArgs),
    Ls(cmd::ls::LsArgs),
    Stat(cmd::stat::StatArgs),
    Rm(cmd::rm::RmArgs),
    Status(cmd::status::StatusArgs),
    Watch(cmd::watch::WatchArgs),
    Runs(cmd::runs::RunsArgs),
    Retry(cmd::runs::RetryArgs),
    Cancel(cmd::runs::CancelArgs),
    Rules(cmd::rules::RulesArgs),
    Admin(cmd::admin::AdminArgs),
    Config(cmd::config::ConfigArgs),
    Completions(cmd::completions::CompletionsArgs),
}

/// Parses, runs, and says how it ended.
pub(crate) fn run() -> Exit {
    let cli = Cli::parse_from(std::env::args_os().map(with_mark));
    let output = Output { json: cli.global.json, quiet: cli.global.quiet };
    let session = Session { output, url: cli.global.url };
    match run_verb(cli.verb, &session) {
        Ok(()) => Exit::Done,
        Err(error) => {
            tell(output, &error);
            exit_of(&error)
        }
    }
}

fn run_verb(verb: Verb, session: &Session) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let ended = match verb {
        // The server ends itself: it has things to finish first.
        Verb::Serve(args) => runtime.block_on(Box::pin(cmd::serve::run(args))),
        verb => runtime.block_on(until_interrupted(Box::pin(dispatch(verb, session)))),
    };
    // A thread that waits for standard input would keep the process alive for ever.
    runtime.shutdown_background();
    ended
}

async fn dispatch(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Serve(args) => cmd::serve::run(args).await,
        Verb::Health(args) => cmd::health::run(args, session).await,
        Verb::Token(args) => cmd::token::run(&args, session),
        Verb::Login(args) => cmd::login::run(args, session).await,
        Verb::Put(args) => cmd::put::run(args, session).await,
        Verb::Get(args) => cmd::get::run(args, session).await,
        Verb::Ls(args) => cmd::ls::run(args, session).await,
        Verb::Stat(args) => cmd::stat::run(args, session).await,
        Verb::Rm(args) => cmd::rm::run(args, session).await,
        Verb::Status(args) => cmd::status::run(args, session).await,
        Verb::Watch(args) => cmd::watch::run(args, session).await,
        Verb::Runs(args) => cmd::runs::run(args, session).await,
        Verb::Retry(args) => cmd::runs::retry(args, session).await,
        Verb::Cancel(args) => cmd::runs::cancel(args, session).await,
        Verb::Rules(args) => cmd::rules::run(args, session).await,
        Verb::Admin(args) => cmd::admin::run(args, session).await,
        Verb::Config(args) => cmd::config::run(args, session),
        Verb::Completions(args) => cmd::completions::run(&args, Cli::command()),
    }
}

async fn until_interrupted(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        ended = work => ended,
        received = tokio::signal::ctrl_c() => {
            received.context("failed to wait for signals")?;
            Err(Ending::Interrupted.into())
        }
    }
}

/// Says what went wrong, unless whoever started us knows already.
fn tell(output: Output, error: &anyhow::Error) {
    if matches!(error.downcast_ref(), Some(Ending::OutputClosed | Ending::Interrupted)) {
        return;
    }
    output.error(error);
    let kind = error.chain().find_map(|cause| cause.downcast_ref()).map(usp_client::ClientError::kind);
    if kind == Some(ErrorKind::Unauthenticated) {
        output.note("usp: sign in with `usp login URL`, or set USP_TOKEN");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(command: &clap::Command, path: &str, check: &mut impl FnMut(&str, &clap::Command)) {
        let path = format!("{path} {}", command.get_name());
        check(path.trim(), command);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            visit(below, &path, check);
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_explains_itself_with_an_example_that_parses() {
        visit(&Cli::command(), "", &mut |path, command| {
            assert!(command.get_about().is_some(), "{path} has no description");
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let (_, examples) =
                help.split_once("Example:\n").unwrap_or_else(|| panic!("{path} has no example"));
            for line in examples.lines().filter(|line| line.starts_with("  usp ")) {
                let line =
                    line.split("   ").next().unwrap_or_default().split(" | ").next().unwrap_or_default();
                if line.contains('=') && line.trim().starts_with("USP_") {
                    continue;
                }
                let line = line.split(" > ").next().unwrap_or_default();
                let parsed = Cli::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.unwrap_err());
            }
        });
    }

    #[test]
    fn every_option_is_described() {
        visit(&Cli::command(), "", &mut |path, command| {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {} has no help", argument.get_id());
            }
        });
    }

    #[test]
    fn the_verbs_of_the_contract_are_there() {
        let mut found = Vec::new();
        visit(&Cli::command(), "", &mut |path, _| found.push(path.to_owned()));
        for verb in [
            "serve",
            "token",
            "login",
            "put",
            "get",
            "ls",
            "stat",
            "rm",
            "status",
            "watch",
            "runs",
            "retry",
            "cancel",
            "rules ls",
            "rules get",
            "rules test",
            "admin user",
            "admin key",
            "admin bucket",
            "admin stats",
            "admin gc",
            "admin scrub",
            "admin fsck",
            "admin backup",
            "admin restore",
            "admin rebuild-index",
            "config print",
            "config check",
            "completions",
        ] {
            assert!(found.contains(&format!("usp {verb}")), "{verb}");
        }
    }
}
