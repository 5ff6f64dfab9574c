//! `--wait`: what becomes of a stored file.

use std::time::Duration;

use anyhow::Result;
use usp_client::types::{File, FileStatus, RunStatus, Step};
use usp_client::{Client, ListRuns};
use usp_model::limits::LIST_COUNT_MAX;
use usp_model::{FileState, RunState, StepState};

use super::progress::Progress;

/// Small files are done in the time of the first question; long ones are asked about once a second.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How a file ended.
pub(super) struct Followed {
    pub(super) status: FileStatus,
}

impl Followed {
    /// What did not go well, one sentence each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.status.state != FileState::Ready {
            complaints.push(format!("ended as {}", self.status.state));
        }
        for run in self.status.runs.iter().filter(|run| run.state == RunState::Dead) {
            let error = run.error.as_deref().unwrap_or("no reason was given");
            complaints.push(format!("run {} of rule {} is dead: {error}", run.run_id, run.rule));
        }
        complaints
    }
}

/// Asks until nothing more happens by itself, and answers with the file as it is then.
pub(super) async fn to_the_end(
    client: &Client,
    stored: &File,
    progress: &Progress,
) -> Result<(File, Followed)> {
    let line = progress.waiting();
    let mut pause = PAUSE_MIN;
    loop {
        let mut status = client.status(&stored.id).await?;
        if !status.runs.is_empty() {
            status.runs = runs_of_version(client, stored).await?;
        }
        if status.is_settled() {
            let file = client.file(&stored.id).await?;
            // What somebody stored there meanwhile is another affair.
            let file = if file.version == stored.version { file } else { stored.clone() };
            return Ok((file, Followed { status }));
        }
        line.say(|| what_runs(&status));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The runs of what was stored: those of earlier versions are not this command's affair.
async fn runs_of_version(client: &Client, stored: &File) -> Result<Vec<RunStatus>> {
    let list = ListRuns { file: Some(stored.id), limit: Some(LIST_COUNT_MAX), ..ListRuns::default() };
    let runs = client.list_runs(&list).await?.items.into_iter();
    Ok(runs.filter(|run| run.version == stored.version).map(RunStatus::from).collect())
}

fn what_runs(status: &FileStatus) -> String {
    let runs = status.runs.iter().filter(|run| !run.state.is_final());
    let runs: Vec<String> = runs
        .map(|run| {
            let running = run.steps.iter().find(|step| step.state == StepState::Running);
            format!("{} {}{}", run.rule, run.state, running.map(step).unwrap_or_default())
        })
        .collect();
    if runs.is_empty() { status.state.to_string() } else { runs.join(" · ") }
}

fn step(step: &Step) -> String {
    format!(": {} {}%", step.name, step.percent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(file: &str, runs: &[&str]) -> FileStatus {
        let id = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let runs: Vec<_> = runs
            .iter()
            .map(|state| {
                json!({"run_id": id, "rule": "tables", "state": state, "error": "no table", "steps": [
                    {"name": "sniff", "state": "running", "percent": 42},
                ]})
            })
            .collect();
        serde_json::from_value(json!({"state": file, "upload": {"received": 1, "size": 1}, "runs": runs}))
            .unwrap()
    }

    #[test]
    fn a_file_is_followed_until_its_last_run_ended_also_one_that_was_not_required() {
        assert!(!status("processing", &["running"]).is_settled());
        assert!(!status("ready", &["succeeded", "retrying"]).is_settled());
        assert!(status("ready", &[]).is_settled() && status("failed", &["dead"]).is_settled());
    }

    #[test]
    fn only_ready_without_a_dead_run_is_well() {
        assert!(status("ready", &["succeeded", "cancelled"]).is_well());
        for (file, runs) in
            [("ready", &["dead"][..]), ("failed", &["dead"]), ("rejected", &[]), ("quarantined", &[])]
        {
            let followed = Followed { status: status(file, runs) };
            assert!(!followed.status.is_well() && !followed.complaints().is_empty(), "{file}");
        }
    }

    #[test]
    fn the_line_shows_the_step_that_runs() {
        assert_eq!(what_runs(&status("processing", &["running"])), "tables running: sniff 42%");
        assert_eq!(what_runs(&status("stored", &[])), "stored");
    }
}
