//! The catalogue in one SQLite file: one writer that groups commits, a few readers, no server.
//!
//! Settings and what each table promises: docs/formats/catalogue.md. The writer's protocol: `writer`.

mod ask;
mod buckets;
mod check;
mod chunks;
mod claim;
mod collect;
mod columns;
mod commit;
mod cursor;
mod events;
mod fail;
mod file_list;
mod files;
mod filter;
mod idempotency;
mod key_order;
mod keys;
mod manifests;
mod readers;
mod rebuild;
mod redo;
mod report;
mod rollup;
mod rules;
mod run_list;
mod run_row;
mod runs;
mod schema;
mod scrub;
mod seam;
mod snapshot;
mod tags;
mod totals;
mod tx;
mod uploads;
mod users;
mod version_row;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use usp_model::{Error, Result};

pub use rebuild::{FoundFrame, IndexRebuild, RebuildReport};
pub use snapshot::{CatalogCopy, copy_catalog};

use readers::Readers;
use writer::Writer;

use crate::CatalogMetrics;

/// Hears once that the disk under the catalogue failed, so that the process can stop and start afresh.
pub type FaultHook = Arc<dyn Fn(&Error) + Send + Sync>;

/// Where the catalogue is and what it may use.
#[derive(Clone)]
pub struct SqliteConfig {
    /// The database file; its log stands beside it. On a local disk: network file systems break its locks.
    pub path: PathBuf,
    /// Reads that run at once. 0 counts as 1.
    pub reader_count: usize,
    /// Page cache of each connection. The operating system caches the same file for all of them.
    pub cache_kib_per_connection: u32,
    /// Called at most once, on the writer's thread.
    pub fault: FaultHook,
    pub metrics: CatalogMetrics,
}

impl SqliteConfig {
    const READER_COUNT_DEFAULT: usize = 4;
    const CACHE_KIB_DEFAULT: u32 = 16 * 1024;

    /// Defaults for everything but the path; a fault is only logged.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            reader_count: Self::READER_COUNT_DEFAULT,
            cache_kib_per_connection: Self::CACHE_KIB_DEFAULT,
            fault: Arc::new(|_fault| {}),
            metrics: CatalogMetrics::default(),
        }
    }
}

impl fmt::Debug for SqliteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConfig")
            .field("path", &self.path)
            .field("reader_count", &self.reader_count)
            .field("cache_kib_per_connection", &self.cache_kib_per_connection)
            .finish_non_exhaustive()
    }
}

/// Every fact that usp keeps, on one machine.
///
/// Dropping it waits until the writes that were taken are durable.
#[derive(Debug)]
pub struct SqliteCatalog {
    // Dropped in this order: the last connection to close is the one that can tidy the log away.
    readers: Readers,
    writer: Writer,
}

impl SqliteCatalog {
    /// Opens the database file, or makes it, and brings its schema up to date. Blocks on the disk.
    ///
    /// Errors: `Internal` for a file of another program or of a newer usp; `Corrupt`; `Unavailable`; `StorageFull`.
    pub fn open(config: SqliteConfig) -> Result<Arc<Self>> {
        let conn = schema::open_writer(&config.path, config.cache_kib_per_connection)?;
        let last_event = events::last(&conn).map_err(|fail| fail.into_error("open catalogue"))?;
        let readers = (0..config.reader_count.max(1))
            .map(|_| schema::open_reader(&config.path, config.cache_kib_per_connection))
            .collect::<Result<Vec<_>>>()?;
        let writer = Writer::start(conn, last_event, config.fault, config.metrics)?;
        Ok(Arc::new(Self { readers: Readers::new(readers), writer }))
    }
}
