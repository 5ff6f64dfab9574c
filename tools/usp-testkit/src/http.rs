//! REST, with as little between the test and the wire as possible.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::wait::until;

const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// The largest files of the long figures take minutes in a debug build.
const PROCESSING_PATIENCE: Duration = Duration::from_secs(240);

/// The path of a file by bucket and key.
pub fn file_path(bucket: &str, key: &str) -> String {
    format!("/api/v1/buckets/{bucket}/files/{}", utf8_percent_encode(key, KEY))
}

/// One caller.
#[derive(Debug, Clone)]
pub struct Http {
    base: String,
    token: Option<String>,
    client: reqwest::Client,
}

/// A whole answer, with what was asked, for messages.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    what: String,
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { base: format!("http://{address}"), token: None, client: reqwest::Client::new() }
    }

    /// The same server, another credential.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// A request to complete. `path` begins with `/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request of [`Self::request`] and takes in the whole answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let request = request.build()?;
        let what = format!("{} {}", request.method(), request.url());
        let answer = self.client.execute(request).await.with_context(|| what.clone())?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.with_context(|| format!("read the answer to {what}"))?;
        Ok(Answer { status, headers, body, what })
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// A request with a JSON body.
    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(method, path).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.json(Method::POST, path, body).await
    }

    /// Stores a content under a key of the bucket `default`.
    pub async fn put(&self, key: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Result<Answer> {
        let request = self.request(Method::PUT, &file_path("default", key));
        self.send(request.header("content-type", media_type).body(body)).await
    }

    /// The File, once nothing more happens to it by itself.
    pub async fn wait_final(&self, file_id: &str) -> Result<Value> {
        let path = format!("/api/v1/files/{file_id}");
        until(&format!("the end of processing of {file_id}"), PROCESSING_PATIENCE, async || {
            let file = self.get(&path).await?.must(200)?.value()?;
            let is_final =
                ["ready", "failed", "quarantined", "rejected"].iter().any(|state| file["state"] == *state);
            Ok(is_final.then_some(file))
        })
        .await
    }

    /// The File, once it is ready. Errors: it ended otherwise, with its runs in the message.
    pub async fn wait_ready(&self, file_id: &str) -> Result<Value> {
        let file = self.wait_final(file_id).await?;
        if file["state"] != "ready" {
            let status = self.get(&format!("/api/v1/files/{file_id}/status")).await?.text();
            bail!("the file ended {}: {status}", file["state"]);
        }
        Ok(file)
    }

    /// The newest run of a file, once it is in `state`.
    pub async fn wait_run(&self, file_id: &str, state: &str, timeout: Duration) -> Result<Value> {
        let path = format!("/api/v1/files/{file_id}/runs");
        until(&format!("a run of {file_id} to be {state}"), timeout, async || {
            let runs = self.get(&path).await?.must(200)?.value()?;
            let runs = runs["items"].as_array().context("no items")?;
            Ok(runs.iter().find(|run| run["state"] == state).cloned())
        })
        .await
    }
}

impl Answer {
    /// Fails with the whole answer unless it has this status.
    pub fn must(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "{} answered {}, not {status}: {}",
            self.what,
            self.status,
            self.text()
        );
        Ok(self)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn value(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: no JSON: {}", self.what, self.text()))
    }

    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body, which must be a well-formed problem document (RFC 9457) with this status and code.
    pub fn problem(&self, status: u16, code: &str) -> Result<Value> {
        ensure!(
            self.status == status,
            "{} answered {}, not {status}: {}",
            self.what,
            self.status,
            self.text()
        );
        let media_type = self.header("content-type");
        ensure!(media_type == "application/problem+json", "{}: the problem is {media_type}", self.what);
        let problem = self.value()?;
        ensure!(problem["status"] == status, "{}: status {}", self.what, problem["status"]);
        ensure!(problem["code"] == code, "{}: code {}, not {code}", self.what, problem["code"]);
        for member in ["type", "title", "detail", "request_id"] {
            ensure!(problem[member].is_string(), "{}: the problem has no {member}: {problem}", self.what);
        }
        let in_header = self.header("x-request-id");
        ensure!(
            problem["request_id"] == in_header,
            "{}: two request ids, the other is {in_header}",
            self.what
        );
        Ok(problem)
    }
}
