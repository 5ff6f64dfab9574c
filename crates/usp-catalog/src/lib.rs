//! Facts: everything usp knows apart from the bytes themselves.

pub mod catalog;
mod metrics;
pub mod records;
pub mod sqlite;

pub use catalog::Catalog;
pub use metrics::CatalogMetrics;
pub use sqlite::{
    CatalogCopy, FaultHook, FoundFrame, IndexRebuild, RebuildReport, SqliteCatalog, SqliteConfig,
    copy_catalog,
};
