//! `Range`, after RFC 9110, section 14.

use axum::http::HeaderMap;
use axum::http::header::RANGE;
use usp_model::ByteRange;

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it. Also for several ranges, other units and what cannot be read: RFC 9110 lets a server ignore those.
    Whole,
    Part(ByteRange),
    /// Outside the content: 416.
    Unsatisfiable,
}

/// Reads `Range` against a content of `size_bytes`.
pub(crate) fn asked(headers: &HeaderMap, size_bytes: u64) -> Asked {
    let mut values = headers.get_all(RANGE).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(text), None) => parse(text, size_bytes).unwrap_or(Asked::Whole),
        _ => Asked::Whole,
    }
}

fn parse(text: &str, size_bytes: u64) -> Option<Asked> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", "") => None,
        ("", suffix) => Some(suffix_of(number(suffix)?, size_bytes)),
        (first, "") => Some(part(number(first)?, u64::MAX, size_bytes)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| part(first, last.saturating_add(1), size_bytes))
        }
    }
}

fn part(start: u64, end: u64, size_bytes: u64) -> Asked {
    match ByteRange::new(start, end.min(size_bytes)) {
        Ok(range) if !range.is_empty() => Asked::Part(range),
        _ => Asked::Unsatisfiable,
    }
}

/// The last `length` bytes. No range can name a part of an empty content, so all of it is served.
fn suffix_of(length: u64, size_bytes: u64) -> Asked {
    match (length, size_bytes) {
        (0, _) => Asked::Unsatisfiable,
        (_, 0) => Asked::Whole,
        _ => part(size_bytes.saturating_sub(length), size_bytes, size_bytes),
    }
}

/// Digits only: `u64::from_str` would take a sign. A number beyond 64 bits lies behind every content.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(start: u64, end: u64) -> Option<Asked> {
        Some(Asked::Part(ByteRange::new(start, end).unwrap()))
    }

    #[test]
    fn single_ranges_are_cut_to_the_content() {
        let table = [
            ("bytes=0-0", bytes(0, 1)),
            ("bytes=0-9", bytes(0, 10)),
            ("bytes=2-5", bytes(2, 6)),
            ("bytes=9-", bytes(9, 10)),
            ("bytes=5-999", bytes(5, 10)),
            ("bytes=-3", bytes(7, 10)),
            ("bytes=-999", bytes(0, 10)),
            ("Bytes = 1 - 2", bytes(1, 3)),
            ("bytes=0-99999999999999999999999", bytes(0, 10)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn ranges_outside_the_content_are_unsatisfiable() {
        for (text, size_bytes) in
            [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=0-0", 0)]
        {
            assert_eq!(parse(text, size_bytes), Some(Asked::Unsatisfiable), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_byte_range_is_ignored() {
        for text in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "pages=1-2",
        ] {
            assert_eq!(parse(text, 10), None, "{text}");
        }
        assert_eq!(parse("bytes=-5", 0), Some(Asked::Whole));
    }
}
