//! What REST says in headers: conditions, ranges, digests, file names, dates.

pub(crate) mod coding;
pub(crate) mod conditions;
pub(crate) mod date;
pub(crate) mod digest;
pub(crate) mod disposition;
pub(crate) mod etag;
pub(crate) mod range;

use axum::http::{HeaderMap, HeaderName};
use usp_model::error::printable;
use usp_model::{Error, ErrorKind, Result};

/// The only value of a header as text. Errors: `InvalidInput` when it occurs twice or is not UTF-8.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused(name, "stands more than once"));
    }
    std::str::from_utf8(value.as_bytes()).map(Some).map_err(|_| refused(name, "is not UTF-8"))
}

/// All values of a list header, joined as RFC 9110 allows.
pub(crate) fn joined(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let mut all: Option<String> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| refused(name, "is not ASCII"))?;
        match &mut all {
            Some(all) => {
                all.push_str(", ");
                all.push_str(value);
            }
            None => all = Some(value.to_owned()),
        }
    }
    Ok(all)
}

pub(crate) fn refused(name: &HeaderName, reason: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "read header")
        .about(name)
        .because(format!("the header {} {reason}", printable(name.as_str())))
}
