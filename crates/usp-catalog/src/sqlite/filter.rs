//! What a list shows, checked on the row that the walk stands on.

use rusqlite::Row;
use usp_model::{ContentDigest, DigestAlgorithm, FileQuery, FileState, MediaType, Timestamp};

use super::ask::Column;
use super::fail::Outcome;
use super::tags::Tags;
use super::version_row::{self, version};

/// The conditions of a query, in the order of what they cost.
#[derive(Debug)]
pub(super) struct Filter {
    with_unreleased: bool,
    state: Option<FileState>,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    prefix: String,
    media_type: Option<String>,
    sha256: Option<ContentDigest>,
    labels: Tags,
    metadata: Tags,
}

impl Filter {
    /// Errors: `InvalidInput` for a digest that is none.
    pub(super) fn new(query: &FileQuery) -> Outcome<Self> {
        Ok(Self {
            with_unreleased: query.with_unreleased,
            state: query.state,
            created_after: query.created_after,
            created_before: query.created_before,
            prefix: query.prefix.clone(),
            media_type: query.media_type.clone(),
            sha256: sha256(query)?,
            labels: query.labels.clone(),
            metadata: query.metadata.clone(),
        })
    }

    /// `row` has the columns of `version_row`.
    pub(super) fn takes(&self, row: &Row<'_>) -> Outcome<bool> {
        let created_at = row.time(version::CREATED_AT)?;
        let is_in_time = self.created_after.is_none_or(|after| created_at > after)
            && self.created_before.is_none_or(|before| created_at < before);
        if !is_in_time || !(self.with_unreleased || row.get::<_, bool>(version::RELEASED)?) {
            return Ok(false);
        }
        if let Some(state) = self.state
            && row.text::<FileState>(version::STATE)? != state
        {
            return Ok(false);
        }
        let key = row.get_ref(version::KEY)?.as_str().map_err(rusqlite::Error::from)?;
        Ok(key.starts_with(&self.prefix) && self.takes_content(row)? && self.takes_tags(row)?)
    }

    fn takes_content(&self, row: &Row<'_>) -> Outcome<bool> {
        if let Some(pattern) = &self.media_type
            && !row.text::<MediaType>(version::MEDIA_TYPE)?.matches(pattern)
        {
            return Ok(false);
        }
        let Some(sha256) = &self.sha256 else { return Ok(true) };
        Ok(version_row::sha256(row)? == Some(sha256.as_bytes()))
    }

    fn takes_tags(&self, row: &Row<'_>) -> Outcome<bool> {
        Ok(has_all(row, version::LABELS, &self.labels)? && has_all(row, version::METADATA, &self.metadata)?)
    }
}

fn has_all(row: &Row<'_>, column: usize, wanted: &Tags) -> Outcome<bool> {
    if wanted.is_empty() {
        return Ok(true);
    }
    let standing: Tags = row.json_or_empty(column)?;
    Ok(wanted.iter().all(|(name, value)| standing.get(name) == Some(value)))
}

/// The digest that a query asks for. Errors: `InvalidInput`.
pub(super) fn sha256(query: &FileQuery) -> Outcome<Option<ContentDigest>> {
    let asked = query.sha256.as_ref();
    Ok(asked.map(|hex| ContentDigest::from_hex(DigestAlgorithm::Sha256, hex)).transpose()?)
}
