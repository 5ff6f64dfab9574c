//! What can go wrong between a caller and the API, as the same kinds that the server works with.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize};
use usp_model::error::printable;
use usp_model::{ErrorKind, Violation};

/// An answer of the server that says what went wrong (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(default)]
    pub status: u16,
    /// Stable; one of [`ErrorKind::code`].
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub title: String,
    /// A sentence for a person.
    #[serde(default)]
    pub detail: String,
    /// What to quote to whoever runs the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Violation>,
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered, and said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// No answer: nobody listens, the name does not resolve, TLS fails.
    #[error("cannot reach {url}: {reason}; is usp running there?")]
    Unreachable { url: String, reason: String },
    /// The connection broke, or went silent, in the middle.
    #[error("the connection to {url} broke: {reason}")]
    Broken { url: String, reason: String },
    /// An answer that is none of our API's: another service, or a proxy.
    #[error("{url} does not answer like usp: {reason}")]
    Unexpected { url: String, reason: String },
    /// Nothing was sent, or what arrived does not hold.
    #[error(transparent)]
    Local(#[from] usp_model::Error),
}

impl ClientError {
    pub(crate) fn usage(action: &'static str, reason: impl Into<String>) -> Self {
        Self::Local(usp_model::Error::new(ErrorKind::InvalidInput, action).because(reason))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(problem) => problem.kind(),
            Self::Unreachable { .. } | Self::Broken { .. } => ErrorKind::Unavailable,
            Self::Unexpected { .. } => ErrorKind::Internal,
            Self::Local(error) => error.kind(),
        }
    }

    /// The server's own words, if it was the server that failed the call.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Unexpected { .. } | Self::Local(_) => None,
        }
    }
}

impl Problem {
    /// Reads the body of an answer that is no success. Anything that is not a problem document still has a status.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut problem = serde_json::from_slice::<Self>(body).unwrap_or_else(|_| Self {
            status: 0,
            code: String::new(),
            title: String::new(),
            detail: String::new(),
            request_id: None,
            errors: Vec::new(),
            retry_after: None,
        });
        problem.status = status.as_u16();
        problem.retry_after = retry_after(headers);
        if problem.request_id.is_none() {
            let id = headers.get("x-request-id").and_then(|value| value.to_str().ok());
            problem.request_id = id.map(str::to_owned);
        }
        if problem.detail.is_empty() {
            let reason = status.canonical_reason().unwrap_or("no reason given");
            problem.detail = format!("the server answered {} {reason}", status.as_u16());
        }
        if problem.code.is_empty() {
            problem.code = problem.kind().code().to_owned();
        }
        problem
    }

    /// By code; an answer without one that we know (a proxy's) is judged by its status.
    pub fn kind(&self) -> ErrorKind {
        let by_code = ErrorKind::ALL.iter().copied().find(|kind| kind.code() == self.code);
        by_code.unwrap_or_else(|| kind_of_status(self.status))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        for violation in &self.errors {
            let place = if violation.pointer.is_empty() { "request" } else { &violation.pointer };
            write!(f, "; {}: {}", printable(place), violation.detail)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " ({}, request {})", self.code, printable(id)),
            None => write!(f, " ({})", self.code),
        }
    }
}

fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        410 => ErrorKind::Gone,
        412 | 428 => ErrorKind::PreconditionFailed,
        413 => ErrorKind::TooLarge,
        415 => ErrorKind::UnsupportedMedia,
        416 => ErrorKind::OutOfRange,
        423 | 425 => ErrorKind::Locked,
        429 => ErrorKind::RateLimited,
        408 | 502 | 503 | 504 => ErrorKind::Unavailable,
        507 => ErrorKind::StorageFull,
        400..=499 => ErrorKind::InvalidInput,
        _ => ErrorKind::Internal,
    }
}

/// The form in seconds; a date is ignored, usp does not send one.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_problem_document_is_read_with_its_violations() {
        let body = br#"{"type":"about:blank","title":"Invalid","status":400,"detail":"two fields are wrong",
            "code":"invalid_input","request_id":"r1","errors":[{"pointer":"/policy/digests","detail":"no"}]}"#;
        let problem = Problem::read(StatusCode::BAD_REQUEST, &HeaderMap::new(), body);
        assert_eq!(problem.kind(), ErrorKind::InvalidInput);
        assert_eq!(problem.errors[0].pointer, "/policy/digests");
        let text = problem.to_string();
        assert_eq!(text, "two fields are wrong; /policy/digests: no (invalid_input, request r1)");
    }

    #[test]
    fn every_code_reads_back_as_its_kind() {
        for kind in ErrorKind::ALL {
            let body = serde_json::json!({"code": kind.code()}).to_string();
            let problem = Problem::read(StatusCode::IM_A_TEAPOT, &HeaderMap::new(), body.as_bytes());
            assert_eq!(problem.kind(), *kind);
        }
    }

    #[test]
    fn an_answer_of_a_proxy_is_judged_by_its_status() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        for (status, kind) in [
            (404, ErrorKind::NotFound),
            (409, ErrorKind::Conflict),
            (418, ErrorKind::InvalidInput),
            (429, ErrorKind::RateLimited),
            (502, ErrorKind::Unavailable),
            (500, ErrorKind::Internal),
            (507, ErrorKind::StorageFull),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let problem = Problem::read(status, &headers, b"<html>nginx</html>");
            assert_eq!(problem.kind(), kind);
            assert!(problem.detail.contains(status.as_str()), "{}", problem.detail);
            assert_eq!(problem.retry_after, Some(Duration::from_secs(7)));
        }
    }
}
