//! What is refused because of what a client said or sent.

use std::collections::BTreeSet;

use usp_api::NewFile;
use usp_model::file::label_violations;
use usp_model::limits::{FILE_SIZE_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
use usp_model::{
    BucketPolicy, ContentDigest, ContentDigests, DigestAlgorithm, Error, ErrorKind, MediaType, Result,
    Violation,
};

/// Step 1: what can be refused before a byte is read.
pub(super) fn check_new_file(file: &NewFile, policy: &BucketPolicy) -> Result<()> {
    let mut violations: Vec<Violation> = label_violations(&file.labels, "/labels");
    violations.extend(label_violations(&file.metadata, "/metadata"));
    if file
        .idempotency_key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX)
    {
        violations
            .push(Violation::new("/idempotency_key", format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")));
    }
    if !violations.is_empty() {
        let detail =
            violations.iter().map(|v| format!("{}: {}", v.pointer, v.detail)).collect::<Vec<_>>().join("; ");
        return Err(Error::new(ErrorKind::InvalidInput, "store file")
            .because(detail)
            .with_violations(violations));
    }
    check_size(file.size_bytes.unwrap_or(0), size_limit(policy))
}

pub(super) fn size_limit(policy: &BucketPolicy) -> u64 {
    policy.file_size_bytes_max.unwrap_or(FILE_SIZE_BYTES_MAX)
}

pub(super) fn check_size(size_bytes: u64, size_bytes_max: u64) -> Result<()> {
    if size_bytes <= size_bytes_max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, "store file")
        .because(format!("this bucket takes files of up to {size_bytes_max} bytes")))
}

pub(super) fn check_announced_size(announced: Option<u64>, received: u64) -> Result<()> {
    match announced {
        Some(announced) if announced != received => Err(Error::new(ErrorKind::InvalidInput, "store file")
            .because(format!(
                "{announced} bytes were announced and {received} arrived; send the file again"
            ))),
        _ => Ok(()),
    }
}

pub(super) fn check_media_type(media_type: &MediaType, policy: &BucketPolicy) -> Result<()> {
    if policy.media_types.is_empty() || policy.media_types.iter().any(|pattern| media_type.matches(pattern)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::UnsupportedMedia, "store file")
        .because(format!("the content is {media_type}; this bucket takes {}", policy.media_types.join(", "))))
}

/// Every expected digest must be known and equal. Errors: `DigestMismatch`, `InvalidInput`.
pub(super) fn check_digests(expected: &[ContentDigest], found: &ContentDigests) -> Result<()> {
    for digest in expected {
        let algorithm = digest.algorithm();
        match found.get(&algorithm) {
            Some(hex) if *hex == digest.to_hex() => {}
            Some(hex) => {
                return Err(Error::new(ErrorKind::DigestMismatch, "check digest").because(format!(
                    "the bytes received have {algorithm} {hex}, not {}; nothing was stored",
                    digest.to_hex()
                )));
            }
            None => {
                return Err(Error::new(ErrorKind::InvalidInput, "check digest").because(format!(
                    "a {algorithm} digest cannot be checked for an upload that was resumed; use sha256"
                )));
            }
        }
    }
    Ok(())
}

/// The digests to compute besides SHA-256, each once.
pub(super) fn wanted_digests(policy: &BucketPolicy, expected: &[ContentDigest]) -> Vec<DigestAlgorithm> {
    let expected = expected.iter().map(ContentDigest::algorithm);
    let wanted: BTreeSet<_> = policy.digests.iter().copied().chain(expected).collect();
    wanted.into_iter().filter(|algorithm| *algorithm != DigestAlgorithm::Sha256).collect()
}

/// Only the SHA-256 can be taken up where an earlier request left it.
pub(super) fn refuse_unresumable(expected: &[ContentDigest]) -> Result<()> {
    match expected.iter().find(|digest| digest.algorithm() != DigestAlgorithm::Sha256) {
        Some(digest) => Err(Error::new(ErrorKind::InvalidInput, "open upload").because(format!(
            "a {} digest cannot be checked for a resumable upload; use sha256",
            digest.algorithm()
        ))),
        None => Ok(()),
    }
}

pub(super) fn check_announced(received_bytes: u64, size_bytes_max: u64) -> Result<()> {
    if received_bytes <= size_bytes_max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, "append to upload")
        .because(format!("more bytes came than the {size_bytes_max} that the upload could still take")))
}
