//! The id under which a request is logged and answered.

use http::Extensions;
use usp_model::ApiKeyId;

/// Put into the extensions by the outermost layer of the door.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The request's id, or a fresh one where no layer gave it one.
pub(crate) fn of(extensions: &Extensions) -> String {
    extensions.get::<RequestId>().map_or_else(fresh, |id| id.0.clone())
}

/// The request's id; a fresh one is stored, so that every part of the request uses the same.
pub(crate) fn ensure(extensions: &mut Extensions) -> String {
    extensions.get_or_insert_with(|| RequestId(fresh())).0.clone()
}

fn fresh() -> String {
    ApiKeyId::random().map_or_else(|_| "unknown".to_owned(), |id| id.as_str().to_owned())
}
