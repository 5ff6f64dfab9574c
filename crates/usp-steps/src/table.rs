//! Delimited tables: CSV, TSV and their relatives.

pub(crate) mod dialect;
pub(crate) mod header;
pub(crate) mod records;

pub(crate) use dialect::{Dialect, LineEnding};
pub(crate) use records::{Faults, Record, RecordParser, Records};
