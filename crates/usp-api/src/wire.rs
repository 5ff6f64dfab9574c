//! The JSON inside the node protocol's envelope, and errors on their way through it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::{Code, ConnectError, Status};
use usp_model::{ByteRange, Error, ErrorKind, EventQuery, File, Principal, Result, Upload, Violation};

use crate::types::{AppendUpload, NewFile, PutOutcome, ReadFile, Readiness, TokenGrant, TokenPair};
use crate::{Reply, Request};

/// The catalogue ends a page long before it fills a message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Of one transfer, on its way without being taken: the memory that a slow reader costs the role before it, and what a
/// fast one gets in each round trip.
pub const TRANSFER_WINDOW_BYTES: u32 = 512 << 10;
/// Of all transfers of a connection: more than they have together, or a few that nobody takes would hold up the rest.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;
/// Pieces are cut to this before they travel.
pub(crate) const PIECE_BYTES_MAX: usize = 1 << 20;
/// An error travels in the trailer of a call. The longest names some hundred labels, each by a key of 128 bytes, twice:
/// in its sentence and in its violations.
pub(crate) const TRAILER_BYTES_MAX: u32 = 1 << 20;
pub(crate) const NODE_SECRET_HEADER: &str = "x-usp-node-secret";

/// What a node asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The bearer token or API key of an outside caller.
    Authenticate {
        bearer: String,
    },
    IssueToken {
        grant: TokenGrant,
    },
    Readiness,
    Call(Request),
    Put(NewFile),
    Append(AppendUpload),
    Read(ReadFile),
    Watch(EventQuery),
}

/// What storage answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Principal(Principal),
    Tokens(TokenPair),
    Readiness(Readiness),
    Reply(Reply),
    Put(Box<PutOutcome>),
    Appended(Box<Upload>),
    Reading { file: Box<File>, range: ByteRange },
}

/// An error as it travels: all that a dialect shows, nothing of its cause.
#[derive(Debug, Serialize, Deserialize)]
struct WireError {
    kind: ErrorKind,
    detail: String,
    violations: Vec<Violation>,
    retry_after_ms: Option<u64>,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|source| Error::new(ErrorKind::Internal, "write node message").caused_by(source))
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| {
        Error::new(ErrorKind::Internal, "read node message")
            .because("the other role speaks another release of usp: run the same one everywhere")
            .caused_by(source)
    })
}

/// The status says roughly what kind it is, the details say all.
pub(crate) fn to_status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Locked => Code::Unavailable,
        ErrorKind::OutcomeUnknown => Code::Unknown,
        ErrorKind::Internal | ErrorKind::Corrupt => Code::Internal,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::InvalidInput
        | ErrorKind::Unauthenticated
        | ErrorKind::Denied
        | ErrorKind::Conflict
        | ErrorKind::Gone
        | ErrorKind::PreconditionFailed
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMedia
        | ErrorKind::OutOfRange
        | ErrorKind::DigestMismatch
        | ErrorKind::StorageFull => Code::FailedPrecondition,
    };
    let wire = WireError {
        kind: error.kind(),
        detail: error.detail(),
        violations: error.violations().to_vec(),
        retry_after_ms: error.retry_after_hint().and_then(|wait| u64::try_from(wait.as_millis()).ok()),
    };
    let details = serde_json::to_vec(&wire).unwrap_or_default();
    // The details say all; saying it twice would cost room in the trailer.
    Status::with_details(code, wire.kind.code(), details.into())
}

/// Whether storage was reached, so that another try would end the same.
pub(crate) fn is_answer(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::OutOfRange)
        || serde_json::from_slice::<WireError>(status.details()).is_ok()
}

impl Ask {
    /// Whether everything is as before once it was answered: when the answer is lost, nothing else is.
    pub(crate) fn changes_nothing(&self) -> bool {
        let looks = ["queue_status", "scrub_status", "check_store", "store_damage"];
        match self {
            Self::Readiness | Self::Read(_) | Self::Watch(_) => true,
            Self::Call(request) if looks.contains(&request.name()) => true,
            Self::Authenticate { .. }
            | Self::IssueToken { .. }
            | Self::Call(_)
            | Self::Put(_)
            | Self::Append(_) => self.is_question(),
        }
    }

    /// Whether it may be asked twice: it changes nothing.
    pub(crate) fn is_question(&self) -> bool {
        match self {
            Self::Authenticate { .. } => true,
            Self::Call(request) => {
                let name = request.name();
                name.starts_with("get_")
                    || name.starts_with("list_")
                    || ["file_status", "known_contents", "test_rule", "last_event", "stats"].contains(&name)
            }
            // Readiness tells how things are now; the others have contents that cannot be sent again from here.
            Self::IssueToken { .. }
            | Self::Readiness
            | Self::Put(_)
            | Self::Append(_)
            | Self::Read(_)
            | Self::Watch(_) => false,
        }
    }
}

/// Whether the question never left: there was no connection, or the one there was had ended before.
pub(crate) fn was_unsent(status: &Status) -> bool {
    let Some(cause) = std::error::Error::source(status) else { return false };
    // hyper cancels only what it has not begun to send. A peer that resets a stream as cancelled may have read all of it.
    let is_unsent = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<ConnectError>()
            || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    };
    std::iter::successors(Some(cause), |cause| cause.source()).any(is_unsent)
}

/// The error of a call that may have changed something and whose answer is lost.
pub(crate) fn outcome_unknown(lost: Error) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, "ask the storage role")
        .because("the answer of the storage role was lost; what was asked for may have happened: look before asking again")
        .caused_by(lost)
}

/// The error that storage meant; a broken connection is `Unavailable`.
pub(crate) fn from_status(status: &Status) -> Error {
    const ACTION: &str = "ask the storage role";
    match serde_json::from_slice::<WireError>(status.details()) {
        Ok(wire) => {
            let mut error =
                Error::new(wire.kind, ACTION).because(wire.detail).with_violations(wire.violations);
            if let Some(ms) = wire.retry_after_ms {
                error = error.retry_after(Duration::from_millis(ms));
            }
            error
        }
        Err(_) if status.code() == Code::Unauthenticated => Error::new(ErrorKind::Internal, ACTION)
            .because("the storage role refused the node secret: give both roles the same one"),
        Err(_) if status.code() == Code::OutOfRange => Error::new(ErrorKind::TooLarge, ACTION)
            .because("the answer is larger than a message between roles may be; ask for fewer at a time"),
        Err(_) => Error::new(ErrorKind::Unavailable, ACTION)
            .because("the storage role does not answer; try again shortly")
            .caused_by(status.to_string()),
    }
}

pub(crate) fn unexpected_reply<T: std::fmt::Debug>(_reply: &T) -> Error {
    Error::new(ErrorKind::Internal, "read node message").because("the storage role answered another question")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_arrives_as_it_was_sent() {
        for kind in ErrorKind::ALL {
            let sent = Error::new(*kind, "test")
                .because("because of a reason")
                .with_violations(vec![Violation::new("/a", "wrong")])
                .retry_after(Duration::from_millis(1_500));
            let received = from_status(&to_status(&sent));
            assert_eq!(received.kind(), *kind);
            assert_eq!(received.detail(), "because of a reason");
            assert_eq!(received.violations(), sent.violations());
            assert_eq!(received.retry_after_hint(), sent.retry_after_hint());
        }
    }

    #[test]
    fn only_what_changes_nothing_is_asked_twice() {
        let id = usp_model::RunId::from_bytes([1; 32]);
        for (request, is_question) in [
            (Request::GetRun { id }, true),
            (Request::ListBuckets {}, true),
            (Request::Stats {}, true),
            (Request::RetryRun { id }, false),
            (Request::LeaseRuns { worker: String::new(), count_max: 1, wait_ms: 0 }, false),
            (Request::Collect { dry_run: true }, false),
        ] {
            assert_eq!(Ask::Call(request.clone()).is_question(), is_question, "{request:?}");
        }
    }

    #[test]
    fn what_is_asked_twice_changes_nothing_and_some_more_does_not() {
        let id = usp_model::RunId::from_bytes([1; 32]);
        for (ask, changes_nothing) in [
            (Ask::Call(Request::GetRun { id }), true),
            (Ask::Call(Request::CheckStore { is_deep: false }), true),
            (Ask::Readiness, true),
            (Ask::Watch(EventQuery::default()), true),
            (Ask::Call(Request::CancelRun { id }), false),
            (Ask::Call(Request::StartScrub { options: crate::ScrubOptions::default() }), false),
            (Ask::IssueToken { grant: TokenGrant::Refresh { token: String::new() } }, false),
        ] {
            assert_eq!(ask.changes_nothing(), changes_nothing, "{ask:?}");
            assert!(ask.changes_nothing() || !ask.is_question(), "{ask:?}");
        }
    }

    #[test]
    fn a_status_of_someone_else_is_temporary() {
        assert_eq!(from_status(&Status::unknown("h2 reset")).kind(), ErrorKind::Unavailable);
    }
}
