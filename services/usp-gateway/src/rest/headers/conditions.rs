//! Conditions on requests, after RFC 9110, section 13.

use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use usp_model::{Error, ErrorKind, File, KeyCondition, Result};

use super::etag::{self, Tags};
use super::{date, refused, single};

/// What a read with conditions comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Serve,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// Conditions of GET and HEAD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadConditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_unmodified_since: Option<u64>,
    if_modified_since: Option<u64>,
}

impl ReadConditions {
    /// Errors: `InvalidInput` for tags that cannot be read; dates that cannot be read are ignored, as RFC 9110 wants.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self> {
        Ok(Self {
            if_match: Tags::from_header(headers, &IF_MATCH)?,
            if_none_match: Tags::from_header(headers, &IF_NONE_MATCH)?,
            if_unmodified_since: single(headers, &IF_UNMODIFIED_SINCE)?.and_then(date::parse),
            if_modified_since: single(headers, &IF_MODIFIED_SINCE)?.and_then(date::parse),
        })
    }

    /// The order of RFC 9110, section 13.2.2: tags before dates, and what must hold before what saves bytes.
    pub(crate) fn verdict(&self, file: &File) -> Verdict {
        let modified_at = date::second(file.created_at);
        let holds = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => tags.matches_strongly(&file.etag),
            (None, Some(since)) => modified_at <= since,
            (None, None) => true,
        };
        if !holds {
            return Verdict::Failed;
        }
        let is_held_already = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => tags.matches_weakly(&file.etag),
            (None, Some(since)) => modified_at <= since,
            (None, None) => false,
        };
        if is_held_already { Verdict::NotModified } else { Verdict::Serve }
    }
}

/// Whether `If-Range` lets a range be served. Without the header it does.
///
/// A date counts only if the file has stood unchanged since the second after it: within one second a date cannot tell
/// two contents apart (RFC 9110, section 8.8.2.2).
pub(crate) fn range_holds(headers: &HeaderMap, file: &File) -> Result<bool> {
    let Some(text) = single(headers, &IF_RANGE)? else { return Ok(true) };
    if let Some(tag) = etag::parse_one(text) {
        return Ok(!tag.is_weak && tag.opaque == file.etag);
    }
    let modified_at = date::second(file.created_at);
    Ok(date::parse(text) == Some(modified_at) && modified_at + 1 < date::now())
}

/// The condition on what stands under a key when a PUT commits.
pub(crate) fn key_condition(headers: &HeaderMap) -> Result<KeyCondition> {
    let (if_match, if_none_match) =
        (Tags::from_header(headers, &IF_MATCH)?, Tags::from_header(headers, &IF_NONE_MATCH)?);
    match (if_match, if_none_match) {
        (None, None) => Ok(KeyCondition::Any),
        (None, Some(Tags::Any)) => Ok(KeyCondition::Absent),
        (Some(tags), None) => strong_tags(tags).map(KeyCondition::Matches),
        (None, Some(Tags::Listed(_))) => Err(refused(&IF_NONE_MATCH, "takes only '*' on an upload")),
        (Some(_), Some(_)) => Err(refused(&IF_MATCH, "and If-None-Match together make no condition")),
    }
}

/// The condition of PATCH and DELETE; `None` without `If-Match`.
pub(crate) fn change_condition(headers: &HeaderMap) -> Result<Option<Vec<String>>> {
    Tags::from_header(headers, &IF_MATCH)?.map(strong_tags).transpose()
}

/// Tags that may match, empty for `*`. A list of weak tags alone can match nothing, so it fails here: handed on as an
/// empty list it would match everything.
fn strong_tags(tags: Tags) -> Result<Vec<String>> {
    let Tags::Listed(tags) = tags else { return Ok(Vec::new()) };
    let strong: Vec<String> = tags.into_iter().filter(|tag| !tag.is_weak).map(|tag| tag.opaque).collect();
    if strong.is_empty() {
        return Err(Error::new(ErrorKind::PreconditionFailed, "check If-Match")
            .because("weak entity tags never match; send the etag of the file as it stands"));
    }
    Ok(strong)
}
