//! Refuses heads of HTTP/1 requests that two servers could read differently (request smuggling).
//!
//! The parser behind us takes a lone line feed for a line end, drops `Content-Length` where `Transfer-Encoding` also
//! stands, and keeps one of several equal lengths. A proxy before us may do otherwise, and then one of us sees a
//! request that the other does not (RFC 9112, sections 2.2 and 6). [`HeadScan`] therefore looks at the bytes. Only
//! heads that begin while nothing is being answered are looked at: that is where a proxy puts them when it reuses a
//! connection. What the parser leaves as it came is checked after it, on every head, by [`fault_of`].

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

/// Names, values and separators: more than a long token and long upload metadata together.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const LENGTH: &[u8] = b"content-length";
const ENCODING: &[u8] = b"transfer-encoding";

/// Reads bytes as they come, until the empty line.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    part: Part,
    /// The beginning of the field name in lower case; longer names are not of interest.
    name: [u8; ENCODING.len()],
    name_len: usize,
    before: u8,
    size_bytes: usize,
    length_count: u32,
    has_encoding: bool,
    has_bare_line_feed: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Name,
    Value,
    End,
}

impl HeadScan {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (&self.part, byte) {
                (Part::End, _) => return,
                (_, b'\n') => self.end_line(),
                (Part::Name, b':') => {
                    self.note_name();
                    self.part = Part::Value;
                }
                (Part::Name, b'\r') | (Part::Value, _) => {}
                (Part::Name, byte) => {
                    if let Some(place) = self.name.get_mut(self.name_len) {
                        *place = byte.to_ascii_lowercase();
                    }
                    self.name_len += 1;
                }
            }
            self.before = *byte;
            self.size_bytes += 1;
        }
    }

    /// Why this head is refused, if it is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if self.size_bytes > HEAD_BYTES_MAX {
            Some("the request head is too long")
        } else if self.has_bare_line_feed
            || self.length_count > 1
            || (self.length_count > 0 && self.has_encoding)
        {
            Some(
                "the head can be read in two ways: end lines with CRLF, and measure the body in one way only",
            )
        } else {
            None
        }
    }

    fn end_line(&mut self) {
        self.has_bare_line_feed |= self.before != b'\r';
        let is_empty = self.part == Part::Name && self.name_len == 0;
        self.part = if is_empty { Part::End } else { Part::Name };
        self.name_len = 0;
    }

    fn note_name(&mut self) {
        let name = self.name.get(..self.name_len).unwrap_or_default();
        self.length_count = self.length_count.saturating_add(u32::from(name == LENGTH));
        self.has_encoding |= name == ENCODING;
    }
}

/// Why a head of HTTP/1 is refused although it could be parsed, if it is.
///
/// Source: RFC 9112, section 3.2 (one `Host`) and 6.1 (codings that the server does not undo).
pub(super) fn fault_of(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let host_count = headers.get_all(HOST).iter().count();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let encoding = encodings.next();
    if version > Version::HTTP_11 {
        None
    } else if host_count > 1 {
        Some("there is more than one Host header")
    } else if host_count == 0 && version == Version::HTTP_11 {
        Some("a request of HTTP/1.1 needs a Host header")
    } else if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || encodings.next().is_some()
    {
        Some("the only Transfer-Encoding that is taken is chunked, once")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(head: &str) -> bool {
        // However the network cuts it.
        let mut by_byte = HeadScan::default();
        head.bytes().for_each(|byte| by_byte.push(&[byte]));
        let mut at_once = HeadScan::default();
        at_once.push(head.as_bytes());
        assert_eq!(by_byte.fault(), at_once.fault());
        at_once.fault().is_some()
    }

    #[test]
    fn two_ways_to_measure_a_body_are_ambiguous() {
        assert!(is_refused("POST / HTTP/1.1\r\nContent-Length: 3\r\nTRANSFER-encoding: chunked\r\n\r\n"));
        assert!(is_refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length:3\r\n\r\n"));
        assert!(!is_refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Content-Length: 3\r\n\r\n"));
        assert!(is_refused("POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: a\r\ncontent-length: 3\r\n\r\n"));
        assert!(!is_refused("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"));
    }

    #[test]
    fn a_lone_line_feed_is_refused() {
        assert!(is_refused("GET / HTTP/1.1\nhost: a\r\n\r\n"));
        assert!(is_refused("GET / HTTP/1.1\r\nhost: a\r\n\n"));
        assert!(!is_refused("GET / HTTP/1.1\r\nhost: a\r\n\r\nbody\nwith\nlines"));
    }

    #[test]
    fn the_body_is_not_part_of_the_head() {
        let head = "POST / HTTP/1.1\r\nContent-Length: 40\r\n\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!is_refused(head));
    }

    #[test]
    fn only_the_head_counts_towards_its_length() {
        let head = |size: usize| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(size));
        assert!(is_refused(&head(HEAD_BYTES_MAX)));
        assert!(!is_refused(&head(HEAD_BYTES_MAX - 100)));
        assert!(!is_refused(&format!("{}{}", head(1), "body".repeat(HEAD_BYTES_MAX))));
    }
}
