//! Runs: list, start, retry, cancel.

use futures::{Stream, TryStreamExt};
use reqwest::Method;
use serde_json::json;
use usp_model::{BucketName, FileId, RuleName, RunId, RunState};

use crate::call::Call;
use crate::types::{RetriedRuns, Run, RunPage};
use crate::{Client, ClientError};

/// Which runs to list. All conditions that are set must hold.
#[derive(Debug, Clone, Default)]
pub struct ListRuns {
    pub state: Option<RunState>,
    pub bucket: Option<BucketName>,
    pub rule: Option<RuleName>,
    pub file: Option<FileId>,
    /// Of one page; `None` leaves it to the server.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

impl Client {
    pub async fn list_runs(&self, list: &ListRuns) -> Result<RunPage, ClientError> {
        let call = Call::get(self.base().at(["runs"])?)
            .query("state", list.state)
            .query("bucket", list.bucket.as_ref())
            .query("file_id", list.file)
            .query("rule", list.rule.as_ref())
            .query("limit", list.limit)
            .query("cursor", list.cursor.as_ref());
        self.ask(call).await
    }

    /// Every run of a list, newest first; asks for the next page only when it is polled for it.
    pub fn runs(&self, list: ListRuns) -> impl Stream<Item = Result<Run, ClientError>> + Send + use<> {
        let client = self.clone();
        let pages = futures::stream::try_unfold(Some(list), move |list| {
            let client = client.clone();
            async move {
                let Some(mut list) = list else { return Ok(None) };
                let page = client.list_runs(&list).await?;
                list.cursor = page.next_cursor;
                let runs = futures::stream::iter(page.items.into_iter().map(Ok));
                Ok::<_, ClientError>(Some((runs, list.cursor.is_some().then_some(list))))
            }
        });
        pages.try_flatten()
    }

    pub async fn run(&self, id: &RunId) -> Result<Run, ClientError> {
        self.ask(Call::get(self.base().at(["runs", &id.to_string()])?)).await
    }

    /// Applies a rule to a file, whether or not its condition holds.
    pub async fn start_run(&self, file: &FileId, rule: &RuleName) -> Result<Run, ClientError> {
        let url = self.base().by_id(file, Some("runs"))?;
        self.ask(Call::new(Method::POST, url).json(&json!({"rule": rule}))?).await
    }

    /// Errors: `Conflict` unless the run is dead or cancelled.
    pub async fn retry_run(&self, id: &RunId) -> Result<Run, ClientError> {
        self.ask(Call::new(Method::POST, self.base().at(["runs", &id.to_string(), "retry"])?)).await
    }

    /// Tries dead runs again, or cancelled ones if the state says so, up to the limit; the cursor leads to the rest.
    pub async fn retry_runs(&self, asked: &ListRuns) -> Result<RetriedRuns, ClientError> {
        let body = json!({
            "state": asked.state, "bucket": asked.bucket, "rule": asked.rule, "file_id": asked.file,
            "limit": asked.limit, "cursor": asked.cursor,
        });
        self.ask(Call::new(Method::POST, self.base().at(["runs", "retry"])?).json(&body)?).await
    }

    /// Errors: `Conflict` once the run ended.
    pub async fn cancel_run(&self, id: &RunId) -> Result<Run, ClientError> {
        self.ask(Call::new(Method::POST, self.base().at(["runs", &id.to_string(), "cancel"])?)).await
    }
}
