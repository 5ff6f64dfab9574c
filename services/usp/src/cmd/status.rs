//! `usp status`

use anyhow::Result;
use clap::Args;
use usp_client::types::{FileStatus, RunStatus, Step};
use usp_model::FileId;

use crate::cmd::id_of;
use crate::place::FileArg;
use crate::render::{size, table};
use crate::session::Session;

/// Say where a file stands: its upload, its runs, every step
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  usp status usp://default/2026/orders.csv\n  usp status usp://default/a.csv --json"
)]
pub(crate) struct StatusArgs {
    /// A file id or usp://BUCKET/KEY
    file: FileArg,
}

pub(crate) async fn run(args: StatusArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    let id = id_of(&client, &args.file.0).await?;
    let status = client.status(&id).await?;
    session.output.result(&status, || describe(&id, &status))
}

fn describe(id: &FileId, status: &FileStatus) -> String {
    let received = match status.upload.size {
        Some(whole) => format!("{} of {} received", size(status.upload.received), size(whole)),
        None => format!("{} received", size(status.upload.received)),
    };
    let mut lines = vec![format!("{id}  {}  {received}", status.state)];
    for run in &status.runs {
        lines.push(run_line(run));
        let steps: Vec<_> = run.steps.iter().map(step_row).collect();
        lines.extend(table(&steps).lines().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

fn run_line(run: &RunStatus) -> String {
    let error = run.error.as_deref().map(|error| format!(": {}", crate::output::shown(error)));
    format!("  run {}  {}  {}{}", run.rule, run.state, run.run_id, error.unwrap_or_default())
}

fn step_row(step: &Step) -> Vec<String> {
    let attempt = match step.attempt {
        0 => String::new(),
        attempt => format!("attempt {attempt}"),
    };
    vec![
        step.name.clone(),
        step.state.to_string(),
        format!("{}%", step.percent),
        attempt,
        step.error.clone().unwrap_or_default(),
    ]
}
