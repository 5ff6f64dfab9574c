//! Media types such as `text/csv`, and patterns over them.

use crate::error::printable;
use crate::limits::MEDIA_TYPE_BYTES_MAX;
use crate::{Error, ErrorKind, Result};

/// A `type/subtype` in lower case, without parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(String);

impl MediaType {
    /// Reads a `Content-Type` value and drops its parameters.
    pub fn parse(text: &str) -> Result<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        match essence.split_once('/') {
            Some((kind, sub)) if is_token(kind) && is_token(sub) && essence.len() <= MEDIA_TYPE_BYTES_MAX => {
                Ok(Self(essence))
            }
            _ => Err(Error::new(ErrorKind::InvalidInput, "read media type")
                .because(format!("'{}' is not a media type such as text/csv", printable(text)))),
        }
    }

    /// What is said of bytes that nothing recognises.
    pub fn octet_stream() -> Self {
        Self("application/octet-stream".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a pattern (`text/csv`, `text/*`, `*/*`) takes this type.
    pub fn matches(&self, pattern: &str) -> bool {
        match pattern.trim().to_ascii_lowercase().as_str() {
            "*" | "*/*" => true,
            pattern => match pattern.strip_suffix("/*") {
                Some(kind) => self.0.split_once('/').is_some_and(|(own, _)| own == kind),
                None => self.0 == pattern,
            },
        }
    }
}

checked_text!(MediaType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_are_dropped() {
        assert_eq!(MediaType::parse("Text/CSV; charset=utf-8").unwrap().as_str(), "text/csv");
        assert!(MediaType::parse("text").is_err());
        assert!(MediaType::parse("text/csv\r\nx: y").is_err());
    }

    #[test]
    fn patterns_match_whole_kinds() {
        let csv = MediaType::parse("text/csv").unwrap();
        assert!(csv.matches("text/*") && csv.matches("*/*") && csv.matches("TEXT/CSV"));
        assert!(!csv.matches("image/*") && !csv.matches("text/plain"));
    }
}
