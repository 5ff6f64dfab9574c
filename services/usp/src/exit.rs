//! How a command ends: one table from failures to exit codes.

use std::process::ExitCode;

use usp_client::ClientError;
use usp_model::ErrorKind;

/// What the shell sees. The numbers are part of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    WrongUsage = 2,
    NotFound = 3,
    Denied = 4,
    /// Conflict, or a precondition that does not hold.
    Conflict = 5,
    /// Worth a retry.
    Temporary = 6,
    /// `--wait`: processing ended in failure.
    ProcessingFailed = 7,
    /// `EX_IOERR` of sysexits.h.
    StorageFault = 74,
    /// 128 + SIGINT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Endings that no error kind expresses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("{0}")]
    WrongUsage(String),
    #[error("{0}")]
    ProcessingFailed(String),
    #[error("interrupted")]
    Interrupted,
    /// The reader of our standard output has enough: `usp ls | head`.
    #[error("standard output was closed")]
    OutputClosed,
    /// The command did its work, and what it found is no good.
    #[error("{sentence}")]
    Found { sentence: String, exit: Exit },
    /// Several things failed and each was reported as it did; this is the exit of the first.
    #[error("{count} failed")]
    Reported { count: usize, exit: Exit },
}

impl Ending {
    /// The word for scripts, beside the codes of error kinds.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::WrongUsage(_) => ErrorKind::InvalidInput.code(),
            Self::ProcessingFailed(_) => "processing_failed",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output_closed",
            Self::Found { exit: Exit::StorageFault, .. } => ErrorKind::Corrupt.code(),
            Self::Found { .. } => "findings",
            Self::Reported { .. } => "failed",
        }
    }
}

/// How a command that returned `error` ends. The outermost cause that has a kind decides.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(ending) = error.downcast_ref::<Ending>() {
        return exit_of_ending(ending);
    }
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<ClientError>() {
            return exit_of_kind(error.kind());
        }
        if let Some(error) = cause.downcast_ref::<usp_model::Error>() {
            return exit_of_kind(error.kind());
        }
    }
    Exit::Failed
}

fn exit_of_ending(ending: &Ending) -> Exit {
    match ending {
        Ending::WrongUsage(_) => Exit::WrongUsage,
        Ending::ProcessingFailed(_) => Exit::ProcessingFailed,
        Ending::Interrupted => Exit::Interrupted,
        Ending::OutputClosed => Exit::Done,
        Ending::Reported { exit, .. } | Ending::Found { exit, .. } => *exit,
    }
}

/// The table. One arm per kind and never `_`: a new kind must stop the build here.
pub(crate) fn exit_of_kind(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::InvalidInput => Exit::WrongUsage,
        ErrorKind::Unauthenticated | ErrorKind::Denied => Exit::Denied,
        ErrorKind::NotFound | ErrorKind::Gone => Exit::NotFound,
        ErrorKind::Conflict | ErrorKind::PreconditionFailed => Exit::Conflict,
        ErrorKind::TooLarge
        | ErrorKind::UnsupportedMedia
        | ErrorKind::OutOfRange
        | ErrorKind::DigestMismatch
        | ErrorKind::Internal => Exit::Failed,
        ErrorKind::Locked
        | ErrorKind::RateLimited
        | ErrorKind::Unavailable
        | ErrorKind::OutcomeUnknown
        | ErrorKind::StorageFull => Exit::Temporary,
        ErrorKind::Corrupt => Exit::StorageFault,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use usp_model::Error;

    use super::*;

    #[test]
    fn every_kind_has_the_exit_code_of_the_contract() {
        let table: Vec<(&str, u8)> =
            ErrorKind::ALL.iter().map(|kind| (kind.code(), exit_of_kind(*kind) as u8)).collect();
        let expected = [
            ("invalid_input", 2),
            ("unauthenticated", 4),
            ("denied", 4),
            ("not_found", 3),
            ("conflict", 5),
            ("gone", 3),
            ("precondition_failed", 5),
            ("too_large", 1),
            ("unsupported_media", 1),
            ("out_of_range", 1),
            ("digest_mismatch", 1),
            ("locked", 6),
            ("rate_limited", 6),
            ("unavailable", 6),
            ("outcome_unknown", 6),
            ("storage_full", 6),
            ("corrupt", 74),
            ("internal", 1),
        ];
        assert_eq!(table, expected);
    }

    #[test]
    fn content_that_is_corrupt_and_a_connection_that_broke_end_differently() {
        let problem = serde_json::from_str(r#"{"status": 500, "code": "corrupt"}"#).unwrap();
        let corrupt = anyhow::Error::from(ClientError::Refused(Box::new(problem))).context("fetch file");
        assert_eq!(exit_of(&corrupt) as u8, 74);
        let broken = ClientError::Broken { url: String::new(), reason: "reset".to_owned() };
        assert_eq!(exit_of(&broken.into()) as u8, 6);
    }

    #[test]
    fn what_is_temporary_is_worth_a_retry_and_nothing_else_is() {
        for kind in ErrorKind::ALL {
            assert_eq!(
                exit_of_kind(*kind) == Exit::Temporary,
                kind.is_temporary() || *kind == ErrorKind::OutcomeUnknown,
                "{}",
                kind.code()
            );
        }
    }

    #[test]
    fn the_kind_is_found_below_what_was_said_about_it() {
        let absent = || Error::new(ErrorKind::NotFound, "find file");
        let nested = Err::<(), _>(absent()).context("while it was tried").unwrap_err();
        assert_eq!(exit_of(&nested), Exit::NotFound);
        assert_eq!(exit_of(&ClientError::Local(absent()).into()), Exit::NotFound);
        assert_eq!(exit_of(&anyhow::anyhow!("anything")), Exit::Failed);
        assert_eq!(exit_of(&Ending::Interrupted.into()) as u8, 130);
        assert_eq!(exit_of(&Ending::ProcessingFailed(String::new()).into()) as u8, 7);
    }
}
