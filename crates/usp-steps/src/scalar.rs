//! What a piece of text means: the one place where `profile` and `validate` learn types.
//!
//! | type | written as |
//! |---|---|
//! | null | empty, `NA`, `N/A`, `NaN`, `nan`, `null`, `NULL` |
//! | integer | `-12`, `+3`; leading zeros make it a string when guessing (`00501` is a code), not when declared |
//! | float | `1.5`, `.5`, `5.`, `-1.5e3`; finite, with a point |
//! | boolean | `true`, `false`, `yes`, `no`, in lower, upper or title case |
//! | date | `2024-02-29` or `2024/02/29`, a day of the calendar |
//! | datetime | date, `T` or blank, `hh:mm[:ss[.fraction]]`, then nothing, `Z` or an offset |
//!
//! Blanks around a value are ignored.

mod number;
mod time;

pub(crate) use number::{Number, number};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Float,
    Boolean,
    Date,
    Datetime,
    Text,
}

/// What one value turned out to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    Null,
    /// `exact` is absent beyond 64 bits.
    Integer {
        value: f64,
        exact: Option<i64>,
    },
    Float(f64),
    Boolean,
    /// Days since 1970-01-01.
    Date(i64),
    /// Microseconds since 1970-01-01T00:00Z; without an offset, as if in UTC.
    Datetime(i64),
    Text,
}

impl Scalar {
    /// The type of a value of which nothing was declared.
    pub(crate) fn guess(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let Some(first) = value.first() else { return Self::Null };
        match first {
            b'0'..=b'9' | b'+' | b'-' | b'.' => match number(value) {
                Some(number) if number.has_leading_zeros => Self::Text,
                Some(number) => number.scalar(),
                None => time::moment(value).unwrap_or(Self::Text),
            },
            b'N' | b'n' if is_null_word(value) => Self::Null,
            b't' | b'f' | b'y' | b'n' | b'T' | b'F' | b'Y' | b'N' if is_boolean(value) => Self::Boolean,
            _ => Self::Text,
        }
    }

    /// Microseconds since 1970, of what is a time.
    pub(crate) fn moment(self) -> Option<i64> {
        const MICROS_PER_DAY: i64 = 86_400_000_000;
        match self {
            Self::Date(days) => Some(days.saturating_mul(MICROS_PER_DAY)),
            Self::Datetime(micros) => Some(micros),
            _ => None,
        }
    }

    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Self::Null => None,
            Self::Integer { .. } => Some(Kind::Integer),
            Self::Float(_) => Some(Kind::Float),
            Self::Boolean => Some(Kind::Boolean),
            Self::Date(_) => Some(Kind::Date),
            Self::Datetime(_) => Some(Kind::Datetime),
            Self::Text => Some(Kind::Text),
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Integer, Self::Float, Self::Boolean, Self::Date, Self::Datetime, Self::Text];

    /// The word for it in rules and reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Text => "string",
        }
    }

    /// Reads a value as the type that was declared for it; `None` if it is not of that type.
    pub(crate) fn read(self, value: &[u8]) -> Option<Scalar> {
        let value = value.trim_ascii();
        match self {
            Self::Integer => {
                number(value).map(Number::scalar).filter(|s| matches!(s, Scalar::Integer { .. }))
            }
            Self::Float => number(value).map(|number| Scalar::Float(number.value)),
            Self::Boolean => is_boolean(value).then_some(Scalar::Boolean),
            Self::Date => time::moment(value).filter(|s| matches!(s, Scalar::Date(_))),
            Self::Datetime => time::moment(value).filter(|s| matches!(s, Scalar::Datetime(_))),
            Self::Text => Some(Scalar::Text),
        }
    }

    /// The type with its article, for sentences.
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::Integer => "an integer",
            Self::Float => "a number",
            Self::Boolean => "a boolean",
            Self::Date => "a date (YYYY-MM-DD)",
            Self::Datetime => "a date and time (YYYY-MM-DDThh:mm:ss)",
            Self::Text => "a string",
        }
    }
}

/// Whether a value stands for the absence of one.
pub(crate) fn is_null(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    value.is_empty() || is_null_word(value)
}

fn is_null_word(value: &[u8]) -> bool {
    matches!(value, b"NA" | b"N/A" | b"null" | b"NULL" | b"NaN" | b"nan")
}

fn is_boolean(value: &[u8]) -> bool {
    matches!(
        value,
        b"true"
            | b"false"
            | b"True"
            | b"False"
            | b"TRUE"
            | b"FALSE"
            | b"yes"
            | b"no"
            | b"Yes"
            | b"No"
            | b"YES"
            | b"NO"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_guessed_from_their_form() {
        for (text, kind) in [
            ("", None),
            ("  ", None),
            ("NA", None),
            ("N/A", None),
            ("null", None),
            ("NaN", None),
            ("0", Some(Kind::Integer)),
            ("-12", Some(Kind::Integer)),
            (" +3 ", Some(Kind::Integer)),
            ("99999999999999999999", Some(Kind::Integer)),
            ("00501", Some(Kind::Text)),
            ("0.5", Some(Kind::Float)),
            (".5", Some(Kind::Float)),
            ("5.", Some(Kind::Float)),
            ("1.5e3", Some(Kind::Float)),
            ("-1E-5", Some(Kind::Float)),
            ("1e999", Some(Kind::Text)),
            ("-", Some(Kind::Text)),
            (".", Some(Kind::Text)),
            ("e5", Some(Kind::Text)),
            ("1e", Some(Kind::Text)),
            ("1,5", Some(Kind::Text)),
            ("0x10", Some(Kind::Text)),
            ("inf", Some(Kind::Text)),
            ("true", Some(Kind::Boolean)),
            ("No", Some(Kind::Boolean)),
            ("nO", Some(Kind::Text)),
            ("2024-02-29", Some(Kind::Date)),
            ("2024/02/29", Some(Kind::Date)),
            ("2023-02-29", Some(Kind::Text)),
            ("2024-13-01", Some(Kind::Text)),
            ("2024-02-29T23:59:60Z", Some(Kind::Datetime)),
            ("2024-02-29 12:00", Some(Kind::Datetime)),
            ("2024-02-29T12:00:00.123456789+05:30", Some(Kind::Datetime)),
            ("2024-02-29T25:00", Some(Kind::Text)),
            ("2024-02-29T12:00:00+0530x", Some(Kind::Text)),
            ("192.168.0.1", Some(Kind::Text)),
        ] {
            assert_eq!(Scalar::guess(text.as_bytes()).kind(), kind, "{text}");
        }
    }

    #[test]
    fn declared_integers_may_have_leading_zeros() {
        assert!(Kind::Integer.read(b"007").is_some());
        assert!(Kind::Integer.read(b"7.0").is_none());
        assert!(Kind::Float.read(b"7").is_some());
        assert!(Kind::Date.read(b"2024-01-01T00:00").is_none());
    }

    #[test]
    fn moments_are_ordered_across_offsets() {
        let at = |text: &str| match Scalar::guess(text.as_bytes()) {
            Scalar::Datetime(micros) => micros,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(at("1970-01-01T00:00:00Z"), 0);
        assert_eq!(at("2024-03-01T00:30:00+01:00"), at("2024-02-29T23:30:00Z"));
        assert!(at("2024-01-01 00:00:00.5") > at("2024-01-01 00:00:00.49"));
    }

    #[test]
    fn numbers_equal_what_the_standard_library_reads() {
        for text in
            ["0.1", "123456789.123", "1e22", "1.7976931348623157e308", "5e-324", "9007199254740993", "-0.0"]
        {
            assert_eq!(
                number(text.as_bytes()).unwrap().value.to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        }
    }
}
