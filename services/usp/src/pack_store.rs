//! Where the packs of a store are kept: the one place that decides it, for the server and for commands on a stopped store.

use std::path::Path;
use std::sync::Arc;

use usp_content::{LocalPacks, PackStore};
use usp_model::Result;
use usp_rt::Pool;

/// Opens the packs of a data directory, whose lock the caller holds. Errors: those of the disk.
pub(crate) fn open(dir: &Path) -> Result<PackStore> {
    Ok(PackStore::in_one_place(Arc::new(LocalPacks::open(dir, Pool::disk())?)))
}
