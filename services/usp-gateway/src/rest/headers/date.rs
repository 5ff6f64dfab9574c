//! Dates in headers: whole seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use usp_model::Timestamp;

/// Prints an IMF-fixdate.
pub(crate) fn print(at: Timestamp) -> String {
    let since = Duration::from_millis(u64::try_from(at.unix_ms()).unwrap_or(0));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

/// Reads any of the three forms of RFC 9110, section 5.6.7, as seconds since 1970; `None` for anything else, which
/// RFC 9110 wants ignored.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let at = httpdate::parse_http_date(text.trim()).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// The second in which `at` lies.
pub(crate) fn second(at: Timestamp) -> u64 {
    u64::try_from(at.unix_ms() / 1_000).unwrap_or(0)
}

/// The current second.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
