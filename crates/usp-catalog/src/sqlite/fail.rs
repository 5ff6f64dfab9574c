//! Failures inside the catalogue, and how callers hear of them.

use rusqlite::ErrorCode;
use usp_model::{Error, ErrorKind};

/// What ends a transaction early: SQLite failed, or the answer is an error that the trait names.
#[derive(Debug)]
pub(super) enum Fail {
    Sql(rusqlite::Error),
    Answer(Error),
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

pub(super) type Outcome<T> = Result<T, Fail>;

impl Fail {
    /// Whether the database file can no longer be trusted to say what is on the disk.
    pub(super) fn is_fault(&self) -> bool {
        use ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
        matches!(self.code(), Some(DatabaseCorrupt | NotADatabase | SystemIoFailure))
    }

    /// Whether a COMMIT that failed so may have committed all the same, now or for a start after a crash.
    ///
    /// SQLite appends the changed pages to the log, the last of them with the mark of the commit, syncs the log, and then
    /// notes the pages in the log's index. It surely did not come to the mark when the transaction still stands (another
    /// connection is in the way, a constraint does not hold), or when a page did not fit on the disk: the mark stands in the
    /// last one. Behind the mark anything may have failed, also for want of memory, or of room for the index alone.
    pub(super) fn leaves_commit_open(&self) -> bool {
        use ErrorCode::{ConstraintViolation, DatabaseBusy, DatabaseLocked, DiskFull};
        match self {
            Self::Sql(error) => !matches!(
                error.sqlite_error_code(),
                Some(DatabaseBusy | DatabaseLocked | DiskFull | ConstraintViolation)
            ),
            Self::Answer(_) => false,
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            // The index of the log could not grow: that is no failure of the disk, it is full.
            Self::Sql(error) if has_no_room_for_index(error) => Some(ErrorCode::DiskFull),
            Self::Sql(error) => error.sqlite_error_code(),
            Self::Answer(_) => None,
        }
    }

    /// The error for the caller of a method that was about to `action`.
    pub(super) fn into_error(self, action: &'static str) -> Error {
        let code = self.code();
        match self {
            Self::Answer(error) => error,
            Self::Sql(error) => {
                let (kind, reason) = classify(code);
                let failed = Error::new(kind, action).caused_by(error);
                if reason.is_empty() { failed } else { failed.because(reason) }
            }
        }
    }
}

fn classify(code: Option<ErrorCode>) -> (ErrorKind, &'static str) {
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Unavailable, "the catalogue is busy; try again")
        }
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::StorageFull, "no space is left for the catalogue; free some and try again")
        }
        Some(ErrorCode::SystemIoFailure) => (ErrorKind::Unavailable, "the disk under the catalogue failed"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (ErrorKind::Corrupt, "the catalogue is damaged: restore a backup (usp admin restore)")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            ErrorKind::Internal,
            "the file cannot be opened to be written: look at the rights of it, its log and its directory",
        ),
        _ => (ErrorKind::Internal, ""),
    }
}

fn has_no_room_for_index(error: &rusqlite::Error) -> bool {
    const NO_ROOM: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error().is_some_and(|inner| inner.extended_code == NO_ROOM)
}

/// Whether a statement failed because a row with that name or number stands already.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    const UNIQUE: i32 = rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
    const PRIMARY_KEY: i32 = rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;
    error.sqlite_error().is_some_and(|inner| matches!(inner.extended_code, UNIQUE | PRIMARY_KEY))
}

/// "No such thing" of a sort.
pub(super) fn absent(action: &'static str, subject: impl std::fmt::Display, reason: &str) -> Error {
    Error::new(ErrorKind::NotFound, action).about(subject).because(reason)
}

/// Rows that contradict each other or their own shape.
pub(super) fn corrupt(action: &'static str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, action).because(reason)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn a_failed_commit_is_surely_undone_only_before_its_mark() {
        let fail = |code| Fail::Sql(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        let undone = [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_BUSY_SNAPSHOT,
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_FULL,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
            ffi::SQLITE_CONSTRAINT_COMMITHOOK,
        ];
        let open = [
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_ERROR,
        ];
        assert!(undone.into_iter().all(|code| !fail(code).leaves_commit_open()));
        assert!(open.into_iter().all(|code| fail(code).leaves_commit_open()));
    }

    /// Where nothing is committed it is the disk that is full.
    #[test]
    fn an_index_of_the_log_that_cannot_grow_is_a_full_disk_and_no_fault() {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_SHMSIZE), None);
        let fail = Fail::Sql(error);
        assert!(!fail.is_fault());
        assert_eq!(fail.into_error("write").kind(), ErrorKind::StorageFull);
    }
}
