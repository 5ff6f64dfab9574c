//! Entity tags, after RFC 9110, section 8.8.3.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use usp_model::Result;

use super::{joined, refused};

/// Tags of one header; more are refused.
const TAG_COUNT_MAX: usize = 64;

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`
    Any,
    Listed(Vec<Tag>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Between the quotes.
    pub(crate) opaque: String,
    pub(crate) is_weak: bool,
}

impl Tags {
    /// Reads a list header; `None` when it is absent. Errors: `InvalidInput`: a condition that nobody understood must
    /// not pass as no condition.
    pub(crate) fn from_header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>> {
        let Some(text) = joined(headers, name)? else { return Ok(None) };
        if text.trim() == "*" {
            return Ok(Some(Self::Any));
        }
        match parse_list(&text) {
            Some(tags) if tags.len() <= TAG_COUNT_MAX => Ok(Some(Self::Listed(tags))),
            _ => Err(refused(name, "holds neither '*' nor a list of at most 64 entity tags such as \"abc\"")),
        }
    }

    /// The comparison for what is about to change: weak tags never match.
    pub(crate) fn matches_strongly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| !tag.is_weak && tag.opaque == etag),
        }
    }

    /// The comparison for what a client may already hold.
    pub(crate) fn matches_weakly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| tag.opaque == etag),
        }
    }
}

/// One tag, for `If-Range`.
pub(crate) fn parse_one(text: &str) -> Option<Tag> {
    match parse_list(text)?.as_mut_slice() {
        [tag] => Some(Tag { opaque: std::mem::take(&mut tag.opaque), is_weak: tag.is_weak }),
        _ => None,
    }
}

/// The header's value for a strong tag.
pub(crate) fn print(etag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{etag}\"")).ok()
}

/// Tags may hold commas, so that splitting at commas would be wrong.
fn parse_list(text: &str) -> Option<Vec<Tag>> {
    let is_opaque = |c: char| c == '!' || ('#'..='~').contains(&c);
    let mut tags = Vec::new();
    let mut rest = text.trim();
    loop {
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !opaque.chars().all(is_opaque) {
            return None;
        }
        tags.push(Tag { opaque: opaque.to_owned(), is_weak });
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(tags);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_hold_commas_inside_tags_and_weak_ones_beside_strong_ones() {
        let tags = parse_list(r#""a,b" , W/"c", """#).unwrap();
        let found: Vec<(&str, bool)> = tags.iter().map(|tag| (tag.opaque.as_str(), tag.is_weak)).collect();
        assert_eq!(found, [("a,b", false), ("c", true), ("", false)]);
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for text in ["", "abc", "\"a", "\"a\" \"b\"", "\"a\",", ",\"a\"", "w/\"a\"", "\"a b\"", "*, \"a\""] {
            assert_eq!(parse_list(text), None, "{text:?}");
        }
    }

    #[test]
    fn weak_tags_match_weakly_only() {
        let tags = Tags::Listed(parse_list(r#"W/"a""#).unwrap());
        assert!(tags.matches_weakly("a") && !tags.matches_strongly("a"));
    }
}
