//! Who changes something, when, and at whose request.

use crate::{ApiKeyId, Principal, PrincipalKind, Timestamp, UserName};

/// What every write knows of its cause: events, the audit trail and spans read it.
///
/// Shape: `request_id` and `trace` are as the door took them, bounded there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The time that the write counts as its own.
    pub at: Timestamp,
    pub actor: Actor,
    /// The id under which the door logged the request; empty for what usp does by itself.
    pub request_id: String,
    /// The W3C trace context of the request that led to it.
    pub trace: Option<String>,
}

/// On whose behalf something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    Caller {
        kind: PrincipalKind,
        name: UserName,
        api_key: Option<ApiKeyId>,
    },
    /// A duty of usp itself, by its name: `upkeep`, `collection`, `start`.
    Duty(&'static str),
}

impl Act {
    /// What a caller asked for.
    pub fn of(principal: &Principal, request_id: &str, at: Timestamp) -> Self {
        let Principal { kind, name, api_key, grants: _ } = principal;
        let actor = Actor::Caller { kind: *kind, name: name.clone(), api_key: api_key.clone() };
        Self { at, actor, request_id: request_id.to_owned(), trace: None }
    }

    /// What usp does by itself.
    pub fn duty(duty: &'static str, at: Timestamp) -> Self {
        Self { at, actor: Actor::Duty(duty), request_id: String::new(), trace: None }
    }

    /// The same as part of a trace.
    #[must_use]
    pub fn traced(mut self, trace: Option<String>) -> Self {
        self.trace = trace;
        self
    }
}
