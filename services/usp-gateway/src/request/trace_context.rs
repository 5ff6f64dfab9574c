//! The trace that a request belongs to, as its client names it.

use http::{HeaderMap, HeaderName};

/// <https://www.w3.org/TR/trace-context/>
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The value of `traceparent`. A malformed one counts as absent: the standard wants it ignored.
pub(crate) fn of(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_set = |part: &str| part.bytes().any(|b| b != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = *parts.as_slice() else { return None };
    let is_well_formed = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_set(trace)
        && is_hex(parent, 16)
        && is_set(parent)
        && is_hex(flags, 2);
    is_well_formed.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace_of(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, text.parse().unwrap());
        of(&headers)
    }

    #[test]
    fn a_trace_is_taken_as_it_is_and_a_malformed_one_is_none() {
        let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_of(sound).as_deref(), Some(sound));
        for malformed in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(trace_of(malformed), None, "{malformed}");
        }
    }
}
