//! Every limit that users can meet, with its reason.

/// S3's bound, so that a bucket can be served over the S3 dialect.
pub const BUCKET_NAME_BYTES_MAX: usize = 63;
/// S3's bound on keys.
pub const FILE_KEY_BYTES_MAX: usize = 1024;
/// Rule and user names stay readable in a table.
pub const NAME_BYTES_MAX: usize = 64;
/// Kubernetes-style label keys fit.
pub const LABEL_KEY_BYTES_MAX: usize = 128;
/// A value of labels or metadata: a sentence or a URL, not a document.
pub const LABEL_VALUE_BYTES_MAX: usize = 2048;
/// Labels, and likewise metadata entries, of one file.
pub const LABEL_COUNT_MAX: usize = 64;
/// 16 TiB: 2^44 bytes, far over any disk here, and safely inside a 64-bit signed integer.
pub const FILE_SIZE_BYTES_MAX: u64 = 1 << 44;
/// Parts that one upload may be joined of: their addresses fit into one HTTP header.
pub const UPLOAD_PART_COUNT_MAX: usize = 128;
/// Entries of one page of a list ([`PageLimit`](crate::PageLimit) is the rule).
pub const LIST_COUNT_MAX: u32 = 1000;
/// Entries of one page where nobody asked for a number.
pub const LIST_COUNT_DEFAULT: u32 = 100;
/// Entries of one manifest segment: bounds the memory of a reader or writer of any file.
pub const SEGMENT_ENTRY_COUNT_MAX: usize = 4096;
/// A report is a summary; steps cut long lists and say so.
pub const REPORT_BYTES_MAX: usize = 1 << 20;
/// A text of rules, which is read into memory whole.
pub const RULES_BYTES_MAX: u64 = 1 << 20;
/// Seconds of one attempt, of a rule or step that says nothing else.
pub const RULE_TIMEOUT_S_DEFAULT: u64 = 3_600;
/// Steps of one rule.
pub const RULE_STEP_COUNT_MAX: usize = 32;
/// Runs handed out in one answer: offers that one request trades.
pub const LEASE_COUNT_MAX: u32 = 256;
/// A CEL condition. Long ones belong in two rules.
pub const RULE_WHEN_BYTES_MAX: usize = 4096;
/// Bytes of a media type (RFC 6838 allows 127 + 1 + 127).
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Bytes of an idempotency key: a UUID or a digest fits, a document does not.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
