//! Labels and metadata in headers, and the other headers of an upload.

use std::collections::BTreeMap;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use usp_api::NewFile;
use usp_model::file::label_violations;
use usp_model::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use usp_model::{BucketName, Error, ErrorKind, FileKey, LabelKey, MediaType, Result, RuleName, Violation};

use super::content;
use crate::request::trace_context;
use crate::rest::headers::{conditions, digest, refused, single};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const META: &str = "x-usp-meta-";
const LABEL: &str = "x-usp-label-";

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
        trace: trace_context::of(headers),
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
        let reason =
            format!("has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters without spaces");
        Err(refused(&IDEMPOTENCY_KEY, &reason))
    }
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
