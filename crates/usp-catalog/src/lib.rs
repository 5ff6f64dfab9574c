//! Facts: everything usp knows apart from the bytes themselves.

mod metrics;
pub mod ports;
pub mod records;
pub mod sqlite;
mod stored_event;

pub use metrics::CatalogMetrics;
pub use ports::{
    AccountFacts, BucketFacts, Catalog, EventFacts, FileFacts, RuleFacts, RunFacts, StoreFacts, UpkeepFacts,
    UploadFacts,
};
pub use sqlite::{
    CatalogCopy, FaultHook, FoundFrame, IndexRebuild, RebuildReport, SqliteCatalog, SqliteConfig,
    copy_catalog,
};
