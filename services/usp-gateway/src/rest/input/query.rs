//! Query parameters: each route names those it knows, and others are refused.

use std::error::Error as StdError;

use axum::extract::{FromRequestParts, Query, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use usp_model::error::printable;
use usp_model::{Error, ErrorKind, PageLimit, Result, Violation};

use crate::problem::Failure;

/// Query parameters of type `T`, which denies unknown fields.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        read(&parts.uri).map(Self).map_err(Failure::from)
    }
}

/// Stands before routes that document no query parameter. Errors: `InvalidInput` that names the first one sent.
pub(crate) async fn refuse_parameters(request: Request, next: Next) -> Result<Response, Failure> {
    let first = request.uri().query().and_then(|query| query.split(['=', '&']).find(|name| !name.is_empty()));
    match first {
        None => Ok(next.run(request).await),
        Some(name) => Err(refused(&decode(name)?, "this path takes no query parameters").into()),
    }
}

/// Errors: `InvalidInput` that names the parameter.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T> {
    Query::try_from_uri(uri).map(|Query(parameters)| parameters).map_err(|rejection| {
        let (name, detail) = rejected_parameter(&rejection);
        refused(&name, detail)
    })
}

/// Takes the parameters whose names `is_open` accepts out of the query; the rest stays for [`read`].
pub(crate) fn split_open(uri: &Uri, is_open: impl Fn(&str) -> bool) -> Result<(Vec<(String, String)>, Uri)> {
    let mut open = Vec::new();
    let mut rest = Vec::new();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?;
        if is_open(&name) {
            open.push((name, decode(value)?));
        } else {
            rest.push(pair);
        }
    }
    let rest = Uri::try_from(format!("/?{}", rest.join("&"))).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, "read query")
            .because("the query string is not valid")
            .caused_by(source)
    })?;
    Ok((open, rest))
}

/// The length of a page. Errors: `InvalidInput` that names the parameter.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32> {
    PageLimit::asked(asked).map(PageLimit::get).map_err(|error| refused("limit", error.detail()))
}

/// The error for one parameter.
pub(crate) fn refused(name: &str, detail: impl Into<String>) -> Error {
    let (name, detail) = (printable(name), detail.into());
    Error::new(ErrorKind::InvalidInput, "read query")
        .because(format!("the query parameter '{name}' will not do: {detail}"))
        .with_violations(vec![Violation::new(format!("?{name}"), detail)])
}

fn decode(text: &str) -> Result<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(|text| text.into_owned()).map_err(|source| {
        Error::new(ErrorKind::InvalidInput, "read query")
            .because("the query string is not UTF-8 once it is percent-decoded")
            .caused_by(source)
    })
}

/// Finds the parameter that was rejected, and why.
fn rejected_parameter(rejection: &(dyn StdError + 'static)) -> (String, String) {
    let mut cause = Some(rejection);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<serde_path_to_error::Error<serde::de::value::Error>>() {
            let (path, detail) = (found.path().to_string(), found.inner().to_string());
            // serde blames the whole query for a parameter that occurs twice.
            let named = detail.split('`').nth(1).filter(|_| path == ".").map(str::to_owned);
            return (named.unwrap_or(path), detail);
        }
        cause = error.source();
    }
    (String::new(), rejection.to_string())
}
