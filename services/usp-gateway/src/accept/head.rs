//! Looks at the head of an HTTP/1 request for what two servers could read differently.
//!
//! The parser behind us takes a lone line feed for a line end, and drops `Content-Length` where `Transfer-Encoding`
//! also stands. A proxy before us may do otherwise, and then one of us sees a request that the other does not
//! (RFC 9112, sections 2.2 and 6.1). Only heads that begin while nothing is being answered are looked at: that is
//! where a proxy puts them when it reuses a connection.

/// Names, values, and what stands around them: more than a long token and long upload metadata together.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const LENGTH: &[u8] = b"content-length";
const ENCODING: &[u8] = b"transfer-encoding";

/// Reads bytes as they come, until the empty line.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    part: Part,
    /// The beginning of the field name in lower case; longer ones are none that matter.
    name: [u8; ENCODING.len()],
    name_len: usize,
    before: u8,
    size_bytes: usize,
    has_length: bool,
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
        } else if self.has_bare_line_feed || (self.has_length && self.has_encoding) {
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
        self.has_length |= name == LENGTH;
        self.has_encoding |= name == ENCODING;
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
