//! REST, called without a socket, in front of a storage that is only pretended.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot ask may stop at once"
)]

mod answers;
mod content;
mod events;
mod form;
mod inputs;
mod openapi;
mod problems;
mod unread;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use usp_gateway::{Gateway, GatewayConfig, rest_router};

use crate::support::FakeStorage;

/// The router and what stands behind it.
pub(crate) struct Rest {
    gateway: Gateway,
    router: Router,
    pub(crate) storage: Arc<FakeStorage>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Rest {
    pub(crate) fn new() -> Self {
        Self::with(GatewayConfig::default())
    }

    fn with(config: GatewayConfig) -> Self {
        let storage = Arc::new(FakeStorage::new());
        let gateway = Gateway::new(config, Arc::clone(&storage) as _);
        Self { router: rest_router(gateway.clone()), gateway, storage }
    }

    /// Sends `"METHOD /path"` with headers of the form `"name: value"`.
    pub(crate) async fn ask(&self, line: &str, headers: &[&str], body: impl Into<Body>) -> Answer {
        let response = self.open(line, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The same, without waiting for the body.
    async fn open(&self, line: &str, headers: &[&str], body: impl Into<Body>) -> http::Response<Body> {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap_or_else(|| panic!("{header} is no header"));
            request = request.header(name, value.as_bytes());
        }
        self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
    }

    /// As an administrator, without a body.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[ADMIN], Body::empty()).await
    }

    /// As an administrator, with a JSON body.
    async fn send(&self, line: &str, body: &Value) -> Answer {
        self.ask(line, &[ADMIN, JSON], body.to_string()).await
    }

    /// Stores a file and tells its JSON.
    async fn stored(&self, key: &str, media_type: &str, content: &'static str) -> Value {
        let line = format!("PUT /api/v1/buckets/default/files/{key}");
        let answer = self.ask(&line, &[ADMIN, &format!("content-type: {media_type}")], content).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Status and code of a problem document.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        (self.status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
    }
}

pub(crate) const ADMIN: &str = "authorization: Bearer admin";
const READER: &str = "authorization: Bearer reader";
const NOBODY: &str = "authorization: Bearer nobody";
const JSON: &str = "content-type: application/json";

pub(crate) fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
