//! `usp runs`, `usp retry`, `usp cancel`

use anyhow::Result;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use usp_client::types::{RetriedRuns, Run};
use usp_client::{Client, ListRuns};
use usp_model::limits::LIST_COUNT_MAX;
use usp_model::{BucketName, RuleName, RunState};

use crate::cmd::id_of;
use crate::place::{FileArg, RunArg};
use crate::render::table;
use crate::session::Session;

/// List runs, the newest first
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  usp runs --state dead\n  usp runs --file usp://default/2026/orders.csv --json"
)]
pub(crate) struct RunsArgs {
    /// Only in this state: queued, running, retrying, succeeded, dead, cancelled
    #[arg(long)]
    state: Option<RunState>,
    /// Only of files in this bucket
    #[arg(long)]
    bucket: Option<BucketName>,
    /// Only of this rule
    #[arg(long)]
    rule: Option<RuleName>,
    /// Only of this file: usp://BUCKET/KEY or a file id
    #[arg(long)]
    file: Option<FileArg>,
    /// Stop after so many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
}

/// Give dead or cancelled runs all their attempts again
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  usp retry AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  usp retry --all --rule profile --bucket default")]
pub(crate) struct RetryArgs {
    /// Run ids, as `usp runs` shows them
    #[arg(required_unless_present = "all", value_name = "RUN_ID")]
    runs: Vec<RunArg>,
    /// Every dead run, or those that the options below leave
    #[arg(long, conflicts_with = "runs")]
    all: bool,
    /// With --all: dead, or cancelled
    #[arg(long, requires = "all")]
    state: Option<RunState>,
    /// With --all: only of files in this bucket
    #[arg(long, requires = "all")]
    bucket: Option<BucketName>,
    /// With --all: only of this rule
    #[arg(long, requires = "all")]
    rule: Option<RuleName>,
    /// With --all: only of this file: usp://BUCKET/KEY or a file id
    #[arg(long, requires = "all")]
    file: Option<FileArg>,
}

/// End runs that are not final
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  usp cancel AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
pub(crate) struct CancelArgs {
    /// Run ids, as `usp runs` shows them
    #[arg(required = true, value_name = "RUN_ID")]
    runs: Vec<RunArg>,
}

pub(crate) async fn run(args: RunsArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    let file = match &args.file {
        Some(file) => Some(id_of(&client, &file.0).await?),
        None => None,
    };
    let page_size = u32::try_from(args.limit).unwrap_or(LIST_COUNT_MAX).clamp(1, LIST_COUNT_MAX);
    let list = ListRuns {
        state: args.state,
        bucket: args.bucket,
        rule: args.rule,
        file,
        limit: Some(page_size),
        cursor: None,
    };
    let runs = client.runs(list).take(args.limit);
    if session.output.json {
        return runs
            .map_err(anyhow::Error::from)
            .try_for_each(|run| async move { session.output.result(&run, String::new) })
            .await;
    }
    let rows: Vec<_> = runs.map_ok(|run| row(&run)).try_collect().await?;
    session.output.result(&(), || table(&rows))
}

pub(crate) async fn retry(args: RetryArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    if args.all {
        return retry_all(args, &client, session).await;
    }
    for RunArg(id) in &args.runs {
        let run = client.retry_run(id).await?;
        session.output.outcome(&run, || format!("{id}  {}", run.state))?;
    }
    Ok(())
}

/// Asks page by page, so that no request takes long.
async fn retry_all(args: RetryArgs, client: &Client, session: &Session) -> Result<()> {
    let file = match &args.file {
        Some(file) => Some(id_of(client, &file.0).await?),
        None => None,
    };
    let mut asked = ListRuns {
        state: args.state,
        bucket: args.bucket,
        rule: args.rule,
        file,
        limit: Some(LIST_COUNT_MAX),
        cursor: None,
    };
    let mut sum = RetriedRuns { retried: 0, next_cursor: None };
    loop {
        let page = client.retry_runs(&asked).await?;
        sum.retried += page.retried;
        asked.cursor = page.next_cursor;
        if asked.cursor.is_none() {
            return session.output.outcome(&sum, || format!("{} runs are tried again", sum.retried));
        }
    }
}

pub(crate) async fn cancel(args: CancelArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    for RunArg(id) in &args.runs {
        let run = client.cancel_run(id).await?;
        session.output.outcome(&run, || format!("{id}  {}", run.state))?;
    }
    Ok(())
}

fn row(run: &Run) -> Vec<String> {
    vec![
        run.run_id.to_string(),
        run.state.to_string(),
        run.rule.to_string(),
        format!("{}/{}", run.attempt, run.attempts_max),
        run.bucket.to_string(),
        run.file_id.to_string(),
        run.error.clone().unwrap_or_default(),
    ]
}
