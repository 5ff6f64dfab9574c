//! The filters of a file list.

use std::collections::BTreeMap;

use axum::http::Uri;
use serde::Deserialize;
use usp_model::{Digest, FileQuery, FileSort, FileState, LabelKey, Result, Timestamp};
use utoipa::IntoParams;

use crate::rest::input::query::{limit, read, refused, split_open};
use crate::rest::json::words;

/// Filters with names of their own; labels and metadata come beside them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Keys that begin with it.
    #[param(example = "2026/")]
    prefix: Option<String>,
    /// Folds keys up to its first occurrence after the prefix.
    #[param(example = "/")]
    delimiter: Option<String>,
    #[param(schema_with = words::file_state, required = false)]
    state: Option<FileState>,
    /// A type or a pattern such as `text/*`.
    #[param(example = "text/*")]
    media_type: Option<String>,
    /// SHA-256 of the content in hex, bare or behind `sha256:`.
    digest: Option<String>,
    /// RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    created_after: Option<Timestamp>,
    /// RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
    /// `key` by default; `-` reverses the order.
    #[param(inline)]
    sort: Option<SortWord>,
    /// 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
enum SortWord {
    #[serde(rename = "key")]
    Key,
    #[serde(rename = "-key")]
    KeyDescending,
    #[serde(rename = "created_at")]
    CreatedAt,
    #[serde(rename = "-created_at")]
    CreatedAtDescending,
}

/// Reads the query of a list. Errors: `InvalidInput` that names the parameter.
pub(super) fn query(uri: &Uri) -> Result<FileQuery> {
    let is_open = |name: &str| name == "label" || name.starts_with("label.") || name.starts_with("meta.");
    let (open, rest) = split_open(uri, is_open)?;
    let (labels, metadata) = split_pairs(open)?;
    let parameters: ListParameters = read(&rest)?;
    Ok(FileQuery {
        prefix: parameters.prefix.unwrap_or_default(),
        delimiter: parameters.delimiter.filter(|delimiter| !delimiter.is_empty()),
        state: parameters.state,
        media_type: parameters.media_type,
        labels,
        metadata,
        sha256: parameters.digest.as_deref().map(sha256).transpose()?,
        created_after: parameters.created_after,
        created_before: parameters.created_before,
        sort: parameters.sort.map_or(FileSort::KeyAscending, FileSort::from),
        limit: limit(parameters.limit)?,
        cursor: parameters.cursor,
        // Storage decides it, for every dialect.
        with_unreleased: false,
    })
}

type Pairs = BTreeMap<LabelKey, String>;

/// Labels (`label=key=value`, `label=key:value`, `label.key=value`) and metadata (`meta.key=value`).
fn split_pairs(open: Vec<(String, String)>) -> Result<(Pairs, Pairs)> {
    let (mut labels, mut metadata) = (Pairs::new(), Pairs::new());
    for (name, value) in open {
        let (map, key, wanted) = match name.split_once('.') {
            Some(("meta", key)) => (&mut metadata, key.to_owned(), value),
            Some((_, key)) => (&mut labels, key.to_owned(), value),
            None => match value.split_once(['=', ':']) {
                Some((key, wanted)) => (&mut labels, key.to_owned(), wanted.to_owned()),
                None => return Err(refused(&name, "takes key=value")),
            },
        };
        let key = LabelKey::parse(&key).map_err(|error| refused(&name, error.detail()))?;
        if map.insert(key, wanted).is_some() {
            return Err(refused(&name, "asks for two values of one key"));
        }
    }
    Ok((labels, metadata))
}

fn sha256(text: &str) -> Result<String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    match Digest::parse(&hex) {
        Ok(_) => Ok(hex),
        Err(_) => Err(refused("digest", "takes a SHA-256 of 64 hex characters, bare or behind 'sha256:'")),
    }
}

impl From<SortWord> for FileSort {
    fn from(word: SortWord) -> Self {
        match word {
            SortWord::Key => Self::KeyAscending,
            SortWord::KeyDescending => Self::KeyDescending,
            SortWord::CreatedAt => Self::CreatedAscending,
            SortWord::CreatedAtDescending => Self::CreatedDescending,
        }
    }
}
