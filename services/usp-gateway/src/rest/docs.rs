//! The documentation: the OpenAPI document and a small page that makes it readable, without anything from elsewhere.

use axum::Extension;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use usp_model::{Error, ErrorKind};

use super::input::path::At;
use crate::problem::Failure;

const HTML: &str = include_str!("../assets/docs.html");
const SCRIPT: &str = include_str!("../assets/docs.js");
const STYLE: &str = include_str!("../assets/docs.css");

/// Scripts and styles from this origin only, none inline; the page cannot be framed and sends nothing anywhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                           object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Makes the document. The table of routes hands it in, because the document describes the route that serves it, too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document(pub(crate) fn() -> &'static str);

/// The OpenAPI 3.1 document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    responses((status = 200, body = Object, content_type = "application/json"))
)]
pub(crate) async fn show_openapi(Extension(Document(text)): Extension<Document>) -> Response {
    asset("application/json", text())
}

/// The documentation as a page
#[utoipa::path(
    get,
    path = "/docs",
    tag = "service",
    responses((status = 200, body = String, content_type = "text/html"))
)]
pub(crate) async fn show_page() -> Response {
    asset("text/html; charset=utf-8", HTML)
}

/// Script and style of the page
#[utoipa::path(
    get,
    path = "/docs/{file}",
    tag = "service",
    params(("file" = String, Path, example = "docs.js")),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 404, description = "There is no such file."),
    )
)]
pub(crate) async fn show_asset(At(file): At<String>) -> Result<Response, Failure> {
    match file.as_str() {
        "docs.js" => Ok(asset("text/javascript; charset=utf-8", SCRIPT)),
        "docs.css" => Ok(asset("text/css; charset=utf-8", STYLE)),
        _ => {
            Err(Error::new(ErrorKind::NotFound, "show documentation").because("there is no such page").into())
        }
    }
}

/// The way to the documentation
#[utoipa::path(
    get,
    path = "/",
    tag = "service",
    responses((status = 307, description = "To `/docs`.", headers(("Location" = String))))
)]
pub(crate) async fn show_start() -> Redirect {
    Redirect::temporary("/docs")
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::OK, HEADERS, [(CONTENT_TYPE, media_type)], text).into_response()
}
