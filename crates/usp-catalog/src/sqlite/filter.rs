//! A row that a walk stands on, as `usp_decide::list` looks at it.

use rusqlite::Row;
use usp_decide::list::FileColumns;
use usp_model::{FileState, MediaType, Timestamp};

use super::ask::Column;
use super::fail::{Fail, Outcome};
use super::tags::Tags;
use super::version_row::{self, version};

/// Has the columns of `version_row`.
pub(super) struct Examined<'a, 's>(pub(super) &'a Row<'s>);

impl FileColumns for Examined<'_, '_> {
    type Error = Fail;

    fn created_at(&self) -> Outcome<Timestamp> {
        Ok(self.0.time(version::CREATED_AT)?)
    }

    fn is_released(&self) -> Outcome<bool> {
        Ok(self.0.get(version::RELEASED)?)
    }

    fn state(&self) -> Outcome<FileState> {
        self.0.text(version::STATE)
    }

    fn key(&self) -> Outcome<&str> {
        Ok(self.0.get_ref(version::KEY)?.as_str().map_err(rusqlite::Error::from)?)
    }

    fn media_type(&self) -> Outcome<MediaType> {
        self.0.text(version::MEDIA_TYPE)
    }

    fn sha256(&self) -> Outcome<Option<&[u8]>> {
        version_row::sha256(self.0)
    }

    fn labels(&self) -> Outcome<Tags> {
        self.0.json_or_empty(version::LABELS)
    }

    fn metadata(&self) -> Outcome<Tags> {
        self.0.json_or_empty(version::METADATA)
    }
}
