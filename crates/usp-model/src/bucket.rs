//! Buckets: where files live, and under which policy.

use crate::{BucketName, DigestAlgorithm, RuleName, Timestamp, Violation};

words! {
    /// How chunks are stored. `auto` compresses what shrinks and leaves the rest alone.
    pub enum Compression {
        Auto = "auto",
        None = "none",
        Lz4 = "lz4",
        Zstd = "zstd",
    }
}

words! {
    /// When readers see a file: at once, or only after every run of it succeeded (quarantine first).
    pub enum Release {
        Immediate = "immediate",
        AfterSuccess = "after_success",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bucket {
    pub name: BucketName,
    pub policy: BucketPolicy,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a bucket accepts and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BucketPolicy {
    /// Patterns such as `text/*`; empty takes every type.
    pub media_types: Vec<String>,
    /// Larger files are refused with 413.
    pub file_size_bytes_max: Option<u64>,
    /// Plain bytes of all current versions together; over it uploads are refused with 507.
    pub quota_bytes: Option<u64>,
    pub compression: Compression,
    /// Buckets that name the same domain share chunks. `None`: the bucket is its own domain. Fixed at creation.
    pub dedup_domain: Option<String>,
    /// Rules that may apply; `None`: every rule whose condition holds.
    pub rules: Option<Vec<RuleName>>,
    pub release: Release,
    /// Digests computed besides SHA-256.
    pub digests: Vec<DigestAlgorithm>,
}

impl Default for BucketPolicy {
    fn default() -> Self {
        Self {
            media_types: Vec::new(),
            file_size_bytes_max: None,
            quota_bytes: None,
            compression: Compression::Auto,
            dedup_domain: None,
            rules: None,
            release: Release::Immediate,
            digests: Vec::new(),
        }
    }
}

impl BucketPolicy {
    /// All that is wrong with the policy, with pointers below `base` (`/policy`).
    pub fn violations(&self, base: &str) -> Vec<Violation> {
        const PATTERN_COUNT_MAX: usize = 100;
        let mut found = Vec::new();
        if self.media_types.len() > PATTERN_COUNT_MAX {
            found.push(Violation::new(
                format!("{base}/media_types"),
                format!("at most {PATTERN_COUNT_MAX} patterns"),
            ));
        }
        for (index, pattern) in self.media_types.iter().enumerate() {
            let is_pattern = pattern == "*/*" || crate::MediaType::parse(&pattern.replace('*', "x")).is_ok();
            if !is_pattern {
                let pointer = format!("{base}/media_types/{index}");
                found.push(Violation::new(pointer, "not a media type or a pattern such as text/*"));
            }
        }
        if let Some(domain) = &self.dedup_domain
            && RuleName::parse(domain).is_err()
        {
            found.push(Violation::new(
                format!("{base}/dedup_domain"),
                "use a-z, 0-9, '_' and '-', 1 to 64 characters",
            ));
        }
        if self.file_size_bytes_max.is_some_and(|max| max > crate::limits::FILE_SIZE_BYTES_MAX) {
            found.push(Violation::new(
                format!("{base}/file_size_bytes_max"),
                format!("at most {} bytes", crate::limits::FILE_SIZE_BYTES_MAX),
            ));
        }
        found
    }
}
