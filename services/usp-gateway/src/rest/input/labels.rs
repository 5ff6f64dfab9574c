//! Labels and metadata in headers, and the other headers of an upload.

use std::collections::BTreeMap;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use usp_api::NewFile;
use usp_model::file::label_violations;
use usp_model::{BucketName, Error, ErrorKind, FileKey, LabelKey, MediaType, Result, RuleName, Violation};

use super::content;
use crate::rest::headers::{conditions, digest, refused, single};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// https://www.w3.org/TR/trace-context/
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const META: &str = "x-usp-meta-";
const LABEL: &str = "x-usp-label-";

/// A UUID or a digest fits, a document does not.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// All that the headers of a PUT say about the content.
pub(crate) fn new_file(
    headers: &HeaderMap,
    bucket: BucketName,
    key: FileKey,
    rule: Option<RuleName>,
) -> Result<NewFile> {
    content::check_coding(headers)?;
    content::check_whole(headers)?;
    Ok(NewFile {
        size_bytes: content::announced_size(headers)?,
        declared_media_type: single(headers, &CONTENT_TYPE)?.map(MediaType::parse).transpose()?,
        metadata: prefixed(headers, META, "/metadata")?,
        labels: prefixed(headers, LABEL, "/labels")?,
        condition: conditions::key_condition(headers)?,
        expected_digests: digest::expected(headers)?,
        idempotency_key: idempotency_key(headers)?,
        rule,
        trace: trace(headers),
        ..NewFile::at(bucket, key)
    })
}

/// Errors: `InvalidInput` unless it is 1 to 255 printable ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(text) = single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Some(text.to_owned()))
    } else {
        Err(refused(&IDEMPOTENCY_KEY, "has 1 to 255 printable ASCII characters without spaces"))
    }
}

/// The trace that the request belongs to. One that is malformed is none: the standard wants it ignored.
pub(crate) fn trace(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let names_one = |part: &str| part.bytes().any(|b| b != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = *parts.as_slice() else { return None };
    let is_sound = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && names_one(trace)
        && is_hex(parent, 16)
        && names_one(parent)
        && is_hex(flags, 2);
    is_sound.then(|| text.to_owned())
}

/// A label or a metadata entry of the file that a PUT brings.
pub(crate) fn is_of_one_file(name: &HeaderName) -> bool {
    name.as_str().starts_with(META) || name.as_str().starts_with(LABEL)
}

/// Checks a map of labels or metadata as a whole.
pub(crate) fn check(map: &BTreeMap<LabelKey, String>, base: &str) -> Result<()> {
    let mut violations = label_violations(map, base);
    for (key, value) in map {
        if value.chars().any(char::is_control) {
            let key = key.as_str().replace('~', "~0").replace('/', "~1");
            violations.push(Violation::new(format!("{base}/{key}"), "holds control characters"));
        }
    }
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "read labels")
        .because("labels and metadata are short texts, at most 64 of each")
        .with_violations(violations))
}

fn prefixed(headers: &HeaderMap, prefix: &str, base: &str) -> Result<BTreeMap<LabelKey, String>> {
    let mut found = BTreeMap::new();
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(prefix) else { continue };
        let value = single(headers, name)?.unwrap_or_default();
        found.insert(LabelKey::parse(key)?, value.to_owned());
    }
    check(&found, base)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace_of(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, text.parse().unwrap());
        trace(&headers)
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
