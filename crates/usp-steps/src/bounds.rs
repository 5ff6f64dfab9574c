//! Every bound of this crate, with its reason.

/// One read, one decoded piece, and the head that decides dialect and type.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// Values quoted in reports: enough to recognise one.
pub(crate) const VALUE_CHARS_MAX: usize = 128;

/// Columns that are profiled; fields beyond are counted, not kept.
pub(crate) const COLUMN_COUNT_MAX: usize = 2_000;
/// Bytes kept of one field. A longer one is usually a quote that was left open.
pub(crate) const FIELD_BYTES_MAX: usize = 1 << 20;
/// Bytes kept of one record.
pub(crate) const RECORD_BYTES_MAX: usize = 4 << 20;
/// Head of a table that decides its dialect.
pub(crate) const DIALECT_BYTES_MAX: usize = 64 << 10;
/// Records of the head that decide dialect and header.
pub(crate) const DIALECT_ROW_COUNT_MAX: usize = 200;
/// Problems listed in a profile; the rest is counted.
pub(crate) const PROBLEM_COUNT_MAX: usize = 20;
/// Most frequent values listed per column.
pub(crate) const TOP_COUNT_MAX: usize = 10;
/// Sketch entries over all columns together. Measured with 2,000 columns of numbers: 66 MiB for the whole profile.
/// Texts of more than 128 characters in as many columns may take some 40 MiB more; 20 columns take a few.
pub(crate) const SKETCH_ENTRY_COUNT_MAX: usize = 1 << 19;

/// Distinct paths profiled in JSON; values below further ones are only counted.
pub(crate) const PATH_COUNT_MAX: usize = 1_000;
/// Characters of a path in a report.
pub(crate) const PATH_CHARS_MAX: usize = 256;
/// Nesting of JSON: far over real documents, and a stack of this depth is small.
pub(crate) const JSON_DEPTH_MAX: usize = 1_000;
/// Bytes kept of one key; longer keys are told apart by these.
pub(crate) const JSON_KEY_BYTES_MAX: usize = 1 << 10;
/// Characters of one number literal.
pub(crate) const JSON_NUMBER_BYTES_MAX: usize = 1 << 10;

/// A JSON document that is checked against a schema is held in memory.
pub(crate) const SCHEMA_DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// One line of NDJSON that is checked against a schema.
pub(crate) const SCHEMA_LINE_BYTES_MAX: usize = 16 << 20;
/// Values of such a document: bounds what parsing makes of small bytes (`[1,1,1,…`).
pub(crate) const SCHEMA_VALUE_COUNT_MAX: u64 = 1_000_000;
/// Over this many values only the first violation is listed: the validator makes its whole list at once.
pub(crate) const SCHEMA_ALL_ERRORS_VALUE_COUNT_MAX: u64 = 100_000;
/// The schema itself, as JSON.
pub(crate) const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// Errors listed by `validate`.
pub(crate) const ERRORS_COUNT_MAX: u64 = 1_000;
pub(crate) const ERRORS_COUNT_DEFAULT: u64 = 100;

/// Text that decides the language.
pub(crate) const LANGUAGE_BYTES_MAX: usize = 2 << 10;
