//! Labels and metadata as rows, so that a list filtered by one of them reads only what matches.

use std::collections::BTreeMap;

use usp_model::{FileKey, LabelKey};

use super::ask::Ask;
use super::fail::Outcome;
use super::tx::Tx;

/// Which of a file's two maps a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagKind {
    Label = 0,
    Metadata = 1,
}

pub(super) type Tags = BTreeMap<LabelKey, String>;

/// A file as its tag rows name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tagged<'a> {
    pub(super) file_row: i64,
    pub(super) bucket_row: i64,
    pub(super) key: &'a FileKey,
}

impl Tagged<'_> {
    /// Turns the rows of `before` into those of `after`, touching only what differs.
    pub(super) fn replace(self, tx: &Tx<'_>, kind: TagKind, before: &Tags, after: &Tags) -> Outcome<()> {
        for (name, value) in before {
            if after.get(name) != Some(value) {
                tx.run(
                    "DELETE FROM tags WHERE bucket = ?1 AND kind = ?2 AND name = ?3 AND value = ?4 AND key = ?5",
                    (self.bucket_row, kind as i64, name.as_str(), value, self.key.as_str()),
                )?;
            }
        }
        for (name, value) in after {
            if before.get(name) != Some(value) {
                tx.run(
                    "INSERT INTO tags (bucket, kind, name, value, key, file) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    (self.bucket_row, kind as i64, name.as_str(), value, self.key.as_str(), self.file_row),
                )?;
            }
        }
        Ok(())
    }
}
