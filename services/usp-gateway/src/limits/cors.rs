//! Which web pages may ask: those of the origins that the operator names, and no other.
//!
//! Tokens travel in a header that the page sets itself, so no answer ever allows ambient credentials. Only real
//! preflights end here: a plain `OPTIONS` belongs to the dialect. Which headers a page may use, the dialect says.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use usp_model::{Error, ErrorKind};

use super::Door;
use crate::dialect::CorsRules;
use crate::request;

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_AGE_S_MAX: HeaderValue = HeaderValue::from_static("600");

pub(super) async fn apply(
    State((door, rules)): State<(Arc<Door>, &'static CorsRules)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return vary(next.run(request).await);
    };
    let origins = &door.config.cors_origins;
    let is_allowed = origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight && !is_allowed {
        let error = Error::new(ErrorKind::Denied, "answer preflight")
            .because("pages of this origin may not ask; an operator can name it in gateway.cors_origins");
        return vary(door.dialect.refuse(error, &request::id::of(request.extensions())));
    }
    let mut response =
        if is_preflight { preflight(rules, request.headers()) } else { next.run(request).await };
    if is_allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !is_preflight {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(rules.response_headers));
        }
    }
    vary(response)
}

fn preflight(rules: &CorsRules, asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(rules.methods));
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S_MAX);
    let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|names| names.to_str().ok());
    let granted: Vec<String> = names
        .unwrap_or_default()
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| rules.takes_header(name))
        .collect();
    if let Ok(granted) = HeaderValue::from_str(&granted.join(", "))
        && !granted.is_empty()
    {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, granted);
    }
    response
}

/// A cache must not hand one origin's answer to another.
fn vary(mut response: Response) -> Response {
    response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    response
}
