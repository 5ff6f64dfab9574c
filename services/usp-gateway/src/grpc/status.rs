//! Failures as gRPC statuses with `google.rpc` details: one table, one place that logs.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::{debug, error, warn};
use usp_model::{Error, ErrorKind};

use crate::refusal::{self, OnLock, Severity};

const DOMAIN: &str = "usp";

/// Translates an error for the caller and logs the rest.
///
/// Details: `ErrorInfo` with the stable code, `BadRequest` with the wrong fields, `RetryInfo` when a later try may
/// succeed, `RequestInfo`.
pub(super) fn of(error: &Error, request_id: &str) -> Status {
    let kind = error.kind();
    log(error, request_id);
    let message = refusal::detail(error, request_id);
    let mut details = ErrorDetails::with_error_info(kind.code(), DOMAIN, HashMap::new());
    details.set_request_info(request_id, "");
    for violation in error.violations() {
        details.add_bad_request_violation(field_of(&violation.pointer), &violation.detail);
    }
    if let Some(wait) = refusal::retry_after(error, OnLock::Wait) {
        details.set_retry_info(Some(wait));
    }
    Status::with_error_details(code(kind), message, details)
}

/// The one table from kinds to codes.
fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMedia
        | ErrorKind::DigestMismatch => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::NotFound | ErrorKind::Gone => Code::NotFound,
        ErrorKind::Conflict | ErrorKind::PreconditionFailed => Code::FailedPrecondition,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::Locked => Code::Aborted,
        ErrorKind::RateLimited | ErrorKind::StorageFull => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::OutcomeUnknown => Code::Unknown,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

/// `/labels/a~1b` as messages name it: `labels.a/b`.
fn field_of(pointer: &str) -> String {
    let path = pointer.trim_start_matches(['/', '?']).replace('/', ".");
    path.replace("~1", "/").replace("~0", "~")
}

fn log(error: &Error, request_id: &str) {
    let chain = error.chain();
    match refusal::severity(error.kind()) {
        Severity::Broken => {
            error!(request_id, error = %chain.escape_debug(), "call failed inside");
        }
        Severity::NotServed => {
            warn!(request_id, error = %chain.escape_debug(), "call could not be served");
        }
        Severity::Refused => {
            debug!(request_id, code = error.kind().code(), error = %chain.escape_debug(), "call refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use usp_model::Violation;

    #[test]
    fn every_kind_carries_its_stable_code() {
        for kind in ErrorKind::ALL {
            let status = of(&Error::new(*kind, "test"), "r1");
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(status.code() == Code::Unknown, *kind == ErrorKind::OutcomeUnknown);
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, kind.code());
            assert_eq!(details.request_info().unwrap().request_id, "r1");
        }
    }

    #[test]
    fn what_failed_inside_is_not_told() {
        let error = Error::new(ErrorKind::Internal, "open").because("/secret/path").caused_by("errno 5");
        let status = of(&error, "r1");
        assert!(!status.message().contains("secret") && status.message().contains("r1"));
        assert!(!String::from_utf8_lossy(status.details()).contains("secret"));
    }

    #[test]
    fn violations_name_fields_as_messages_do() {
        let error = Error::new(ErrorKind::InvalidInput, "test")
            .with_violations(vec![Violation::new("/labels/a~1b", "too long")]);
        let status = of(&error, "r1");
        let field = &status.get_error_details().bad_request().unwrap().field_violations[0].clone();
        assert_eq!((field.field.as_str(), field.description.as_str()), ("labels.a/b", "too long"));
    }

    #[test]
    fn temporary_failures_say_when_to_come_back() {
        let error = Error::new(ErrorKind::RateLimited, "test").retry_after(Duration::from_secs(7));
        let details = of(&error, "r1").get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(7)));
    }
}
