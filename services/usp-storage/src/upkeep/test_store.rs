//! A storage over small chunks and packs, for tests of upkeep, and who calls it.

use std::path::Path;
use std::sync::Arc;

use usp_api::Caller;
use usp_auth::{SigningKeys, TokenConfig, TokenService};
use usp_catalog::{Catalog, SqliteCatalog, SqliteConfig};
use usp_content::{ChunkBounds, ContentConfig, ContentStore, OpenPacks, PackStore};
use usp_model::{BucketName, FileKey, Grant, Principal, PrincipalKind, Role, UserName};
use usp_queue::EmbeddedQueue;
use usp_rt::{ByteBudget, ManualClock, Pool};

use crate::{CatalogIndex, RuleSources, Storage, StorageConfig, StorageParts};

const BUDGET_BYTES: u64 = 32 << 20;
const PACK_BYTES: u64 = 48 << 10;

/// Opens the storage whose catalogue lies in `dir` and whose bytes lie in `packs`.
pub(super) async fn open(
    dir: &Path,
    packs: Arc<dyn OpenPacks>,
    config: StorageConfig,
) -> (Storage, Arc<dyn Catalog>) {
    let catalog: Arc<dyn Catalog> = SqliteCatalog::open(SqliteConfig::new(dir.join("catalog.db"))).unwrap();
    let clock = Arc::new(ManualClock::at_unix_ms(1_795_000_000_000));
    let content = ContentConfig {
        chunk: ChunkBounds::around(1_024).unwrap(),
        pack_size_bytes_max: PACK_BYTES,
        slab_size_bytes: 16 << 10,
        ..ContentConfig::default()
    };
    let index = Arc::new(CatalogIndex::new(catalog.clone(), clock.clone()));
    let (packs, budget) = (PackStore::in_one_place(packs), ByteBudget::new(BUDGET_BYTES));
    let opened = ContentStore::open(content, packs, index, Pool::cpu(), budget).await;
    let parts = StorageParts {
        catalog: catalog.clone(),
        content: opened.unwrap().0,
        queue: Arc::new(EmbeddedQueue::new(config.lease_time)),
        tokens: TokenService::new(&SigningKeys::generate().unwrap(), TokenConfig::default()).unwrap(),
        clock,
        disk: None,
        was_unclean: false,
        config,
    };
    (Storage::start(parts, RuleSources::of_files(Vec::new())).await.unwrap(), catalog)
}

pub(super) fn admin() -> Caller {
    let grants = vec![Grant { bucket: None, role: Role::Admin }];
    let name = UserName::parse("root").unwrap();
    let principal = Principal { kind: PrincipalKind::User, name, api_key: None, grants };
    Caller { principal, request_id: "test".to_owned() }
}

pub(super) fn bucket() -> BucketName {
    BucketName::parse("default").unwrap()
}

pub(super) fn key(text: &str) -> FileKey {
    FileKey::parse(text).unwrap()
}
