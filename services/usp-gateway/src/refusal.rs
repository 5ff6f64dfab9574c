//! What every dialect tells of an error, so that no two of them tell it differently.

use std::time::Duration;

use usp_model::{Error, ErrorKind};

/// When to come back, where nobody knows better.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// The sentence for the caller. What failed inside is for the log alone, which the request id leads to.
pub(crate) fn detail(error: &Error, request_id: &str) -> String {
    if error.kind().is_callers_business() {
        error.detail()
    } else {
        format!("this failed inside; the log knows more under request id {request_id}")
    }
}

/// How loudly the log tells of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Something is broken inside: an error.
    Broken,
    /// A good request could not be served: a warning.
    NotServed,
    /// The answer was no: of interest to whoever looks for it.
    Refused,
}

pub(crate) fn severity(kind: ErrorKind) -> Severity {
    match kind {
        ErrorKind::Internal | ErrorKind::Corrupt => Severity::Broken,
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::StorageFull => Severity::NotServed,
        ErrorKind::InvalidInput
        | ErrorKind::Unauthenticated
        | ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Gone
        | ErrorKind::PreconditionFailed
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMedia
        | ErrorKind::OutOfRange
        | ErrorKind::DigestMismatch
        | ErrorKind::Locked
        | ErrorKind::RateLimited => Severity::Refused,
    }
}

/// What a dialect says of a lock when storage does not know how long it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLock {
    /// Try again after the default wait (gRPC: ABORTED calls for another try).
    Wait,
    /// Nothing (HTTP: whoever gets 423 first looks where the upload stands).
    SayNothing,
}

/// How long a client should wait before it tries again (`Retry-After`, `RetryInfo`); `None` where waiting alone does not
/// help.
pub(crate) fn retry_after(error: &Error, on_lock: OnLock) -> Option<Duration> {
    let default = match error.kind() {
        ErrorKind::RateLimited | ErrorKind::Unavailable => Some(RETRY_AFTER_DEFAULT),
        ErrorKind::Locked => (on_lock == OnLock::Wait).then_some(RETRY_AFTER_DEFAULT),
        ErrorKind::InvalidInput
        | ErrorKind::Unauthenticated
        | ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Gone
        | ErrorKind::PreconditionFailed
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMedia
        | ErrorKind::OutOfRange
        | ErrorKind::DigestMismatch
        // Asking again may do it twice: whoever asked has to look first.
        | ErrorKind::OutcomeUnknown
        | ErrorKind::StorageFull
        | ErrorKind::Corrupt
        | ErrorKind::Internal => None,
    };
    error.retry_after_hint().or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_says_when_and_nothing_else_does() {
        for kind in ErrorKind::ALL {
            for on_lock in [OnLock::Wait, OnLock::SayNothing] {
                let is_temporary = matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable)
                    || (*kind == ErrorKind::Locked && on_lock == OnLock::Wait);
                let error = Error::new(*kind, "test");
                let expected = is_temporary.then_some(RETRY_AFTER_DEFAULT);
                assert_eq!(retry_after(&error, on_lock), expected, "{kind:?} {on_lock:?}");
                let hint = Duration::from_secs(7);
                assert_eq!(
                    retry_after(&error.retry_after(hint), on_lock),
                    Some(hint),
                    "{kind:?} {on_lock:?}"
                );
            }
        }
    }

    #[test]
    fn what_failed_inside_is_told_by_its_request_id_alone() {
        let inside = Error::new(ErrorKind::Internal, "open").because("/secret/path");
        assert!(!detail(&inside, "r1").contains("secret") && detail(&inside, "r1").contains("r1"));
        let callers = Error::new(ErrorKind::Denied, "open").because("ask an administrator");
        assert_eq!(detail(&callers, "r1"), "ask an administrator");
    }
}
