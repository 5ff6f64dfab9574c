//! Callers as storage sees them: verified by someone before.

use usp_api::Caller;
use usp_model::{Grant, Principal, PrincipalKind, Role};

use super::{bucket, user};

fn caller(kind: PrincipalKind, name: &str, grants: Vec<Grant>) -> Caller {
    let principal = Principal { kind, name: user(name), api_key: None, grants };
    Caller { principal, request_id: "test".to_owned() }
}

/// May do everything.
pub(crate) fn admin() -> Caller {
    in_all_buckets("root", Role::Admin)
}

pub(crate) fn in_all_buckets(name: &str, role: Role) -> Caller {
    caller(PrincipalKind::User, name, vec![Grant { bucket: None, role }])
}

pub(crate) fn in_bucket(name: &str, at: &str, role: Role) -> Caller {
    caller(PrincipalKind::User, name, vec![Grant { bucket: Some(bucket(at)), role }])
}

/// Holds a credential and no grant at all.
pub(crate) fn stranger() -> Caller {
    caller(PrincipalKind::User, "stranger", Vec::new())
}

/// A processor of this installation.
pub(crate) fn worker() -> Caller {
    caller(PrincipalKind::Service, "worker", vec![Grant { bucket: None, role: Role::Reader }])
}
