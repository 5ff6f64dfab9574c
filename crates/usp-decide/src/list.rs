//! What a list shows of what a walk comes to.

use std::collections::BTreeMap;

use usp_model::{
    ContentDigest, DigestAlgorithm, Error, ErrorKind, FileQuery, FileSort, FileState, LabelKey, MediaType,
    Result, Run, RunQuery, Timestamp,
};

/// A version as its row has it. Each property is read only if a query asks for it.
pub trait FileColumns {
    /// What reading a property may end with.
    type Error;

    fn created_at(&self) -> Result<Timestamp, Self::Error>;
    fn is_released(&self) -> Result<bool, Self::Error>;
    fn state(&self) -> Result<FileState, Self::Error>;
    fn key(&self) -> Result<&str, Self::Error>;
    fn media_type(&self) -> Result<MediaType, Self::Error>;
    fn sha256(&self) -> Result<Option<&[u8]>, Self::Error>;
    fn labels(&self) -> Result<BTreeMap<LabelKey, String>, Self::Error>;
    fn metadata(&self) -> Result<BTreeMap<LabelKey, String>, Self::Error>;
}

/// What a list of files takes.
#[derive(Debug)]
pub struct FileFilter {
    with_unreleased: bool,
    state: Option<FileState>,
    created_after: Option<Timestamp>,
    created_before: Option<Timestamp>,
    prefix: String,
    media_type: Option<String>,
    sha256: Option<ContentDigest>,
    labels: BTreeMap<LabelKey, String>,
    metadata: BTreeMap<LabelKey, String>,
}

impl FileFilter {
    /// Errors: `InvalidInput` for a digest that is none, and for a delimiter in another order than by key.
    pub fn new(query: &FileQuery) -> Result<Self> {
        let sha256 = sha256(query)?;
        if query.delimiter.is_some() && !is_by_key(query.sort) {
            let reason = "a delimiter groups keys, so it needs the order by key";
            return Err(Error::new(ErrorKind::InvalidInput, "list files").because(reason));
        }
        Ok(Self {
            with_unreleased: query.with_unreleased,
            state: query.state,
            created_after: query.created_after,
            created_before: query.created_before,
            prefix: query.prefix.clone(),
            media_type: query.media_type.clone(),
            sha256,
            labels: query.labels.clone(),
            metadata: query.metadata.clone(),
        })
    }

    /// Whether the list shows the version. Conditions are asked in the order of what they cost, up to the first that fails.
    ///
    /// Errors: those of `row`.
    pub fn takes<R: FileColumns>(&self, row: &R) -> Result<bool, R::Error> {
        Ok(self.takes_time(row.created_at()?)
            && (self.with_unreleased || row.is_released()?)
            && asked_or(self.state, |state| Ok(row.state()? == state))?
            && row.key()?.starts_with(&self.prefix)
            && asked_or(self.media_type.as_deref(), |pattern| Ok(row.media_type()?.matches(pattern)))?
            && asked_or(self.sha256.as_ref(), |sha256| Ok(row.sha256()? == Some(sha256.as_bytes())))?
            && (self.labels.is_empty() || has_all(&row.labels()?, &self.labels))
            && (self.metadata.is_empty() || has_all(&row.metadata()?, &self.metadata)))
    }

    /// Both bounds are left out.
    fn takes_time(&self, created_at: Timestamp) -> bool {
        self.created_after.is_none_or(|after| created_at > after)
            && self.created_before.is_none_or(|before| created_at < before)
    }
}

fn is_by_key(sort: FileSort) -> bool {
    match sort {
        FileSort::KeyAscending | FileSort::KeyDescending => true,
        FileSort::CreatedAscending | FileSort::CreatedDescending => false,
    }
}

/// True where nothing is asked for.
fn asked_or<T, E>(asked: Option<T>, holds: impl FnOnce(T) -> Result<bool, E>) -> Result<bool, E> {
    asked.map_or(Ok(true), holds)
}

fn has_all(standing: &BTreeMap<LabelKey, String>, wanted: &BTreeMap<LabelKey, String>) -> bool {
    wanted.iter().all(|(name, value)| standing.get(name) == Some(value))
}

/// The digest that a query asks for. Errors: `InvalidInput`.
pub fn sha256(query: &FileQuery) -> Result<Option<ContentDigest>> {
    let asked = query.sha256.as_ref();
    asked.map(|hex| ContentDigest::from_hex(DigestAlgorithm::Sha256, hex)).transpose()
}

/// Whether a list of runs shows this one: all that the query names, within what the caller may see.
pub fn takes_run(query: &RunQuery, run: &Run) -> bool {
    query.state.is_none_or(|state| run.state == state)
        && query.file.is_none_or(|file| run.file_id == file)
        && query.bucket.as_ref().is_none_or(|bucket| run.bucket == *bucket)
        && query.rule.as_ref().is_none_or(|rule| run.rule == *rule)
        && query.buckets.as_ref().is_none_or(|buckets| buckets.contains(&run.bucket))
}

#[cfg(test)]
mod tests;
