//! Failures as RFC 9457 problem documents: one table from kinds to status codes, one place that writes and logs them.
//!
//! A handler returns [`Failure`]; it travels in the response's extensions up to [`write_problems`], the outermost
//! layer of a dialect, which alone knows the request id and logs the failure once.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{debug, error, warn};
use usp_model::{Error, ErrorKind, Violation};
use utoipa::ToSchema;

use crate::refusal::{self, OnLock, Severity};
use crate::request;

/// What a handler answers when it cannot do what was asked.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    error: Error,
    /// Set only where no kind of error fits (405, 460); otherwise the table decides.
    problem_type: Option<ProblemType>,
    headers: Vec<(HeaderName, HeaderValue)>,
    members: Map<String, Value>,
}

/// What RFC 9457 calls a problem type: how a failure appears to clients.
#[derive(Debug, Clone, Copy)]
struct ProblemType {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
}

impl Failure {
    pub(crate) fn method_not_allowed() -> Self {
        let error = Error::new(ErrorKind::InvalidInput, "route request")
            .because("this path does not take this method; the Allow header names those it takes");
        let problem_type = ProblemType {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "method_not_allowed",
            title: "Method not allowed",
        };
        Self::of_type(error, problem_type)
    }

    /// tus has a status of its own for a body that is not what its checksum says.
    pub(crate) fn checksum_mismatch() -> Self {
        let kind = ErrorKind::DigestMismatch;
        let error = Error::new(kind, "check content").because(
            "the bytes that arrived are not those that Upload-Checksum promised; none of them count, send them again",
        );
        let status = StatusCode::from_u16(460).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
        Self::of_type(error, ProblemType { status, ..problem_type(kind) })
    }

    fn of_type(error: Error, problem_type: ProblemType) -> Self {
        Self(Arc::new(Parts {
            error,
            problem_type: Some(problem_type),
            headers: Vec::new(),
            members: Map::new(),
        }))
    }

    /// Adds a header that goes out with the problem.
    pub(crate) fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.change(|parts| parts.headers.push((name, value)))
    }

    /// Adds an extension member to the problem document.
    pub(crate) fn with_member(self, name: &str, value: Value) -> Self {
        self.change(|parts| {
            parts.members.insert(name.to_owned(), value);
        })
    }

    /// Changes the failure while it has one owner; it is shared only once it is in an answer.
    fn change(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        if let Some(parts) = Arc::get_mut(&mut self.0) {
            change(parts);
        }
        self
    }

    /// Writes the document and logs the failure.
    pub(crate) fn respond(&self, request_id: &str) -> Response {
        let Parts { error, headers, members, .. } = &*self.0;
        let problem_type = self.problem_type();
        log(error, problem_type.status, request_id);
        let problem = Problem {
            r#type: format!("urn:usp:problem:{}", problem_type.code),
            title: problem_type.title.to_owned(),
            status: problem_type.status.as_u16(),
            detail: refusal::detail(error, request_id),
            code: problem_type.code.to_owned(),
            request_id: request_id.to_owned(),
            errors: fields(error),
            members: members.clone(),
        };
        let mut response = (problem_type.status, Json(problem)).into_response();
        let out = response.headers_mut();
        out.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if problem_type.status == StatusCode::UNAUTHORIZED {
            out.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"usp\""));
        }
        if let Some(wait) = refusal::retry_after(error, OnLock::SayNothing) {
            out.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        for (name, value) in headers {
            out.insert(name, value.clone());
        }
        response
    }

    fn problem_type(&self) -> ProblemType {
        self.0.problem_type.unwrap_or_else(|| problem_type(self.0.error.kind()))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Arc::new(Parts { error, problem_type: None, headers: Vec::new(), members: Map::new() }))
    }
}

/// An empty answer that carries the failure to [`write_problems`].
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.problem_type().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The one table from kinds to what HTTP says of them.
fn problem_type(kind: ErrorKind) -> ProblemType {
    let (status, title) = match kind {
        ErrorKind::InvalidInput => (StatusCode::BAD_REQUEST, "The request is not valid"),
        ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "Not signed in"),
        ErrorKind::Denied => (StatusCode::FORBIDDEN, "Not allowed"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "The state does not allow this"),
        ErrorKind::Gone => (StatusCode::GONE, "Not there any more"),
        ErrorKind::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "A condition does not hold"),
        ErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Too large"),
        ErrorKind::UnsupportedMedia => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Media type not taken"),
        ErrorKind::OutOfRange => (StatusCode::RANGE_NOT_SATISFIABLE, "Range outside the content"),
        ErrorKind::DigestMismatch => (StatusCode::UNPROCESSABLE_ENTITY, "Digest does not match"),
        ErrorKind::Locked => (StatusCode::LOCKED, "Locked"),
        ErrorKind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Not available right now"),
        ErrorKind::OutcomeUnknown => (StatusCode::SERVICE_UNAVAILABLE, "The change may have happened"),
        ErrorKind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "No space left"),
        ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "Stored bytes failed their check"),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Failed inside"),
    };
    ProblemType { status, code: kind.code(), title }
}

/// A violation whose pointer begins with `?` is about a query parameter.
fn fields(error: &Error) -> Vec<ProblemField> {
    let field = |violation: &Violation| match violation.pointer.strip_prefix('?') {
        Some(parameter) => ProblemField {
            pointer: format!("/{}", parameter.replace('~', "~0").replace('/', "~1")),
            parameter: Some(parameter.to_owned()),
            detail: violation.detail.clone(),
        },
        None => ProblemField {
            pointer: violation.pointer.clone(),
            parameter: None,
            detail: violation.detail.clone(),
        },
    };
    error.violations().iter().map(field).collect()
}

/// Rounded up: a client that comes back early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn log(error: &Error, status: StatusCode, request_id: &str) {
    let (chain, status) = (error.chain(), status.as_u16());
    match refusal::severity(error.kind()) {
        Severity::Broken => {
            error!(request_id, status, error = %chain.escape_debug(), "request failed inside");
        }
        Severity::NotServed => {
            warn!(request_id, status, error = %chain.escape_debug(), "request could not be served");
        }
        Severity::Refused => {
            debug!(request_id, status, error = %chain.escape_debug(), "request refused");
        }
    }
}

/// Turns every [`Failure`] on its way out into a problem document.
pub(crate) async fn write_problems(mut request: Request, next: Next) -> Response {
    let request_id = request::id::ensure(request.extensions_mut());
    let mut response = next.run(request).await;
    let Some(failure) = response.extensions_mut().remove::<Failure>() else {
        return response;
    };
    let mut problem = failure.respond(&request_id);
    // Headers of the layers in between stay (Allow of a 405, for one); those of the replaced body do not.
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            problem.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
    problem
}

/// Why a request was not done, after RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    #[schema(example = "urn:usp:problem:not_found")]
    r#type: String,
    /// The same for every problem of this type.
    #[schema(example = "Not found")]
    title: String,
    #[schema(example = 404)]
    status: u16,
    /// What happened and what to do about it.
    #[schema(example = "there is no bucket 'photos'")]
    detail: String,
    /// Stable; match on this one.
    #[schema(example = "not_found")]
    code: String,
    /// Quote it when you report a problem; the log knows it.
    request_id: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemField>,
    #[serde(flatten)]
    #[schema(ignore)]
    members: Map<String, Value>,
}

/// One thing that is wrong with one field or one query parameter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemField {
    /// RFC 6901 pointer into the JSON body, or into the query as if it were one; empty for all of it.
    #[schema(example = "/policy/quota_bytes")]
    pointer: String,
    /// The query parameter's name, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    detail: String,
}
