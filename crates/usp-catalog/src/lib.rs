//! Facts: everything usp knows apart from the bytes themselves.

pub mod catalog;
pub mod records;

pub use catalog::Catalog;
