//! The one public error: what kind of failure, during which action, about what, and why.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about a failure. Closed: every dialect translates it in one exhaustive table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request itself is wrong; sending it again will not help.
    InvalidInput,
    /// No credential, or one that does not hold.
    Unauthenticated,
    /// Known caller, not allowed.
    Denied,
    /// Absent, or invisible to this caller.
    NotFound,
    /// The state does not allow this now (name taken, run already ended).
    Conflict,
    /// Was there, is not any more (expired upload).
    Gone,
    /// A condition named by the caller does not hold (`If-Match`, `Upload-Offset`).
    PreconditionFailed,
    /// Over a limit on size.
    TooLarge,
    /// The bucket does not take this media type.
    UnsupportedMedia,
    /// The byte range lies outside the content.
    OutOfRange,
    /// The bytes received are not the bytes that the digest promised.
    DigestMismatch,
    /// Another request holds the resource.
    Locked,
    /// Too many requests; `retry_after` says when.
    RateLimited,
    /// Temporary: worth a retry.
    Unavailable,
    /// A write may have happened or not: ask before it is sent again.
    OutcomeUnknown,
    /// No space, or a quota is used up.
    StorageFull,
    /// Stored bytes failed their check. Never served.
    Corrupt,
    /// A bug or an unexpected failure inside.
    Internal,
}

impl ErrorKind {
    pub const ALL: &'static [Self] = &[
        Self::InvalidInput,
        Self::Unauthenticated,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::Gone,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMedia,
        Self::OutOfRange,
        Self::DigestMismatch,
        Self::Locked,
        Self::RateLimited,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::StorageFull,
        Self::Corrupt,
        Self::Internal,
    ];

    /// The stable code that clients match on (`code` of a problem document).
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::PreconditionFailed => "precondition_failed",
            Self::TooLarge => "too_large",
            Self::UnsupportedMedia => "unsupported_media",
            Self::OutOfRange => "out_of_range",
            Self::DigestMismatch => "digest_mismatch",
            Self::Locked => "locked",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::StorageFull => "storage_full",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }

    /// Whether the text of the error may be shown to the caller. The rest is logged, not told.
    pub fn is_callers_business(self) -> bool {
        !matches!(self, Self::Corrupt | Self::Internal)
    }

    /// Whether the same request may succeed later without being changed.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Locked | Self::RateLimited | Self::Unavailable | Self::StorageFull)
    }
}

/// One thing wrong with one field. `pointer` is an RFC 6901 JSON pointer, empty for the whole document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    pub pointer: String,
    pub detail: String,
}

impl Violation {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// Prints as "failed to {action} {subject}: {reason}"; keeps its cause for the log.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    action: &'static str,
    subject: Option<String>,
    reason: Option<String>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// `action` completes "failed to …": lowercase, no period.
    pub fn new(kind: ErrorKind, action: &'static str) -> Self {
        Self(Box::new(Parts {
            kind,
            action,
            subject: None,
            reason: None,
            violations: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Names what the action was about.
    #[must_use]
    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.0.subject = Some(subject.to_string());
        self
    }

    /// Says what happened and what to do, for a person.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Keeps the cause for logs; it is never shown to callers.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations = violations;
        self
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    pub fn retry_after_hint(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub fn action(&self) -> &'static str {
        self.0.action
    }

    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// The sentence for the caller: reason if there is one, else the action and its subject.
    pub fn detail(&self) -> String {
        match (&self.0.reason, &self.0.subject) {
            (Some(reason), _) => reason.clone(),
            (None, Some(subject)) => format!("failed to {} {subject}", self.0.action),
            (None, None) => format!("failed to {}", self.0.action),
        }
    }

    /// The whole chain of causes, for one log field.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.0.action)?;
        if let Some(subject) = &self.0.subject {
            write!(f, " {subject}")?;
        }
        if let Some(reason) = &self.0.reason {
            write!(f, ": {reason}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Shortens outside text and escapes control characters, so that it can stand in a message or a log line.
pub fn printable(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_control() || is_bidi_control(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Marks that reorder text on screen, so that a name can pretend to be another.
pub fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
