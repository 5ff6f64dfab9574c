//! Values that unit tests of several modules begin with.

use std::collections::BTreeMap;

use usp_model::{
    BucketName, ContentDigests, DigestAlgorithm, File, FileId, FileKey, FileState, MediaType, StoredBytes,
    Timestamp,
};

/// A SHA-256 that differs from those of other numbers.
pub(crate) fn digests(number: u8) -> ContentDigests {
    [(DigestAlgorithm::Sha256, format!("{number:02x}").repeat(32))].into()
}

/// A ready file of 1,000 bytes in bucket `default`, version 1.
pub(crate) fn file(key: &str, number: u8) -> File {
    File {
        id: FileId::from_bytes([number; 32]),
        bucket: BucketName::parse("default").unwrap(),
        key: FileKey::parse(key).unwrap(),
        version: 1,
        size_bytes: 1_000,
        media_type: MediaType::parse("text/csv").unwrap(),
        declared_media_type: None,
        etag: crate::commit::etag(&digests(number), 1).unwrap(),
        digests: digests(number),
        state: FileState::Ready,
        created_at: Timestamp::from_unix_ms(1_000),
        updated_at: Timestamp::from_unix_ms(1_000),
        owner: "alice".to_owned(),
        metadata: BTreeMap::new(),
        labels: BTreeMap::new(),
        stored: StoredBytes { bytes: 501, chunks: 1, deduplicated_bytes: 0 },
        reports: BTreeMap::new(),
        derived: Vec::new(),
        derived_from: None,
        expires_at: None,
        released: true,
    }
}
