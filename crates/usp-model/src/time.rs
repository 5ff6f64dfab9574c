//! Points in time, whole milliseconds since 1970-01-01T00:00:00Z.

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use ::time::macros::format_description;

use crate::{Error, ErrorKind, Result};

/// Prints as RFC 3339 UTC with exactly three decimals: `2026-11-22T10:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The year 9999 ends here; later times are refused by `parse` and print as this bound.
    const UNIX_MS_MAX: i64 = 253_402_300_799_999;

    pub fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms.clamp(0, Self::UNIX_MS_MAX))
    }

    pub fn unix_ms(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// Reads any RFC 3339 time and drops what is finer than a millisecond.
    pub fn parse(text: &str) -> Result<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|source| {
            Error::new(ErrorKind::InvalidInput, "read time")
                .because(format!(
                    "'{}' is not an RFC 3339 time such as 2026-01-31T12:00:00Z",
                    crate::error::printable(text)
                ))
                .caused_by(source)
        })?;
        let unix_ms = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        Ok(Self::from_unix_ms(unix_ms))
    }

    fn as_str(self) -> String {
        let format =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|at| at.format(&format).ok())
            .unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
    }
}

checked_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_utc_with_three_decimals_and_reads_it_back() {
        let at = Timestamp::from_unix_ms(1_795_000_000_007);
        assert_eq!(at.to_string(), "2026-11-18T11:06:40.007Z");
        assert_eq!(Timestamp::parse(&at.to_string()).unwrap(), at);
        assert_eq!(Timestamp::parse("2026-11-18T12:06:40.0079+01:00").unwrap(), at);
    }
}
