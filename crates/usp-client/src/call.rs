//! One call: built as a value, so that it can be sent again.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use usp_model::{Error, ErrorKind};

use crate::body::{PutBody, SourceError};
use crate::retry::{Repeat, wait_after};
use crate::{Client, ClientError, Problem, Token};

/// From the last byte sent to the first byte of the answer, for calls that move no content.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A JSON answer: a page of 1000 files with their reports fits.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A problem document.
const PROBLEM_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    body: Body,
    repeat: Repeat,
    answer_timeout: Option<Duration>,
}

#[derive(Debug)]
enum Body {
    Empty,
    Json(Bytes),
    Put(PutBody),
}

impl Call {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        let repeat = if method == Method::POST || method == Method::PATCH {
            Repeat::OnlyUnbegun
        } else {
            Repeat::Harmless
        };
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
            repeat,
            answer_timeout: Some(ANSWER_TIMEOUT),
        }
    }

    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Adds a query parameter; `None` leaves it out.
    pub(crate) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.url.query_pairs_mut().append_pair(name, &value.to_string());
        }
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        let text = serde_json::to_vec(body)
            .map_err(|source| Error::new(ErrorKind::Internal, "write request").caused_by(source))?;
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Body::Json(text.into());
        Ok(self)
    }

    /// Waits for the answer however long the server works on it.
    pub(crate) fn patient(mut self) -> Self {
        self.answer_timeout = None;
        self
    }

    /// Sends content. It takes as long as it takes: the server ends bodies that crawl.
    pub(crate) fn put(mut self, body: PutBody) -> Self {
        if !body.is_repeatable() {
            self.repeat = Repeat::Impossible;
        }
        self.body = Body::Put(body);
        self.answer_timeout = None;
        self
    }

    async fn request(&mut self, client: &Client) -> Result<reqwest::RequestBuilder, ClientError> {
        let request =
            client.http().request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        Ok(match &mut self.body {
            Body::Empty => request,
            Body::Json(text) => request.body(text.clone()),
            Body::Put(body) => {
                let (body, size_bytes) = body.open().await?;
                let request = request.body(body);
                match size_bytes {
                    Some(size_bytes) => request.header(CONTENT_LENGTH, size_bytes),
                    None => request,
                }
            }
        })
    }
}

impl Client {
    /// Sends a call until it succeeds, is refused for good, or patience ends. Cancel: drop it.
    pub(crate) async fn send(&self, call: Call) -> Result<Response, ClientError> {
        self.send_noting(call, &mut false).await
    }

    /// As `send`; notes whether an attempt may have been done whose answer got lost.
    async fn send_noting(&self, mut call: Call, may_be_done: &mut bool) -> Result<Response, ClientError> {
        let mut attempt = 1;
        let mut may_renew = call.repeat != Repeat::Impossible;
        let mut token = self.tokens().token().await?;
        loop {
            let error = match self.attempt(&mut call, token.as_ref()).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if let Some(refused) = &token
                && may_renew
                && error.kind() == ErrorKind::Unauthenticated
            {
                may_renew = false;
                if let Some(renewed) = self.tokens().renew(refused).await? {
                    token = Some(renewed);
                    continue;
                }
            }
            *may_be_done |=
                matches!(error, ClientError::Broken { .. }) || error.kind() == ErrorKind::OutcomeUnknown;
            let Some(wait) = wait_after(&error, attempt, call.repeat) else { return Err(error) };
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, call: &mut Call, token: Option<&Token>) -> Result<Response, ClientError> {
        let mut request = call.request(self).await?;
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let sent = match call.answer_timeout {
            Some(limit) => tokio::time::timeout(limit, request.send())
                .await
                .map_err(|_elapsed| self.broken(format!("no answer within {} s", limit.as_secs())))?,
            None => request.send().await,
        };
        let response = sent.map_err(|source| self.not_sent(&source))?;
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            let reason = format!("it redirects ({}); use the address it redirects to", status.as_u16());
            return Err(self.unexpected(reason));
        }
        // A body that breaks off leaves the status, which says most of it.
        let body = self.read_whole(response, PROBLEM_BYTES_MAX).await.unwrap_or_default();
        Err(ClientError::Refused(Box::new(Problem::read(status, &headers, &body))))
    }

    /// Sends a call and reads its JSON answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let response = self.send(call).await?;
        self.read_json(response).await
    }

    pub(crate) async fn read_json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let reading = self.read_whole(response, ANSWER_BYTES_MAX);
        let body = tokio::time::timeout(ANSWER_TIMEOUT, reading)
            .await
            .map_err(|_elapsed| self.broken("the answer came too slowly".to_owned()))??;
        serde_json::from_slice(&body).map_err(|source| self.unexpected(source.to_string()))
    }

    /// Sends a call whose answer says nothing. What is not there after an attempt to delete it whose answer got lost is deleted.
    pub(crate) async fn tell(&self, call: Call) -> Result<(), ClientError> {
        let (is_deletion, mut may_be_done) = (call.method == Method::DELETE, false);
        match self.send_noting(call, &mut may_be_done).await {
            Err(error) if is_deletion && may_be_done && error.kind() == ErrorKind::NotFound => Ok(()),
            sent => sent.map(drop),
        }
    }

    async fn read_whole(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|source| self.broken(reason_of(&source)))? {
            if body.len() + piece.len() > bytes_max {
                return Err(self.unexpected(format!("its answer has more than {bytes_max} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn not_sent(&self, source: &reqwest::Error) -> ClientError {
        let reason = reason_of(source);
        if let Some(SourceError(local)) = find_source_error(source) {
            let reason = format!("reading the content failed: {local}");
            return Error::new(ErrorKind::InvalidInput, "read content").because(reason).into();
        }
        if source.is_connect() {
            ClientError::Unreachable { url: self.url().to_owned(), reason }
        } else {
            self.broken(reason)
        }
    }

    pub(crate) fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken { url: self.url().to_owned(), reason }
    }

    pub(crate) fn unexpected(&self, reason: String) -> ClientError {
        ClientError::Unexpected { url: self.url().to_owned(), reason }
    }
}

/// The innermost cause: the library's outer layers repeat the URL and say nothing more.
pub(crate) fn reason_of(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut reason = error.to_string();
    while let Some(inner) = cause {
        reason = inner.to_string();
        cause = inner.source();
    }
    reason
}

/// The caller's own stream or file failed, not the network.
fn find_source_error(error: &reqwest::Error) -> Option<&SourceError> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}
