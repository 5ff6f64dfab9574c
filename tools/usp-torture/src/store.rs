//! A store in one directory, opened by the same steps as the binary's storage role, with sizes so small that a few
//! kilobytes fill chunks, slabs and packs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use usp_api::{Caller, Coding, NewFile, ReadFile, StorageApi};
use usp_auth::{SigningKeys, TokenConfig, TokenService};
use usp_catalog::{Catalog, SqliteCatalog, SqliteConfig};
use usp_content::{ChunkBounds, ContentConfig, ContentStore, LocalPacks, PackStore, RecoveryReport};
use usp_model::{
    BucketName, ByteRange, File, FileKey, FileRef, Grant, Principal, PrincipalKind, Role, Rule, UserName,
};
use usp_queue::EmbeddedQueue;
use usp_rt::{ByteBudget, Clock, ManualClock, Pool};
use usp_storage::{CatalogIndex, RuleSources, Storage, StorageConfig, StorageParts, parse_rules};

use crate::content::Content;

/// Bytes after which an upload takes a checkpoint.
pub const CHECKPOINT_BYTES: u64 = 24 << 10;
/// A pack is sealed before it grows beyond this.
pub const PACK_BYTES: u64 = 64 << 10;
/// The longest chunk; contents around it and around its divisors find the boundaries.
pub const CHUNK_BYTES_MAX: u32 = 4_096;
/// 20 November 2026.
pub const START_MS: i64 = 1_795_000_000_000;

const BUDGET_BYTES: u64 = 32 << 20;

/// An open store with everything that a test looks at.
#[derive(Debug, Clone)]
pub struct Store {
    pub storage: Storage,
    pub catalog: Arc<dyn Catalog>,
    pub content: ContentStore,
    pub packs: PackStore,
    pub clock: Arc<ManualClock>,
    pub recovery: RecoveryReport,
}

/// Called when the disk under the catalogue failed.
pub type OnFault = Arc<dyn Fn(&usp_model::Error) + Send + Sync>;

impl Store {
    /// Opens the directory, or makes a store in it.
    pub async fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Arc::new(|_fault| {})).await
    }

    pub async fn open_with(dir: &Path, fault: OnFault) -> Result<Self> {
        let packs = LocalPacks::open(dir, Pool::new("disk", 4))?;
        Self::over(dir, PackStore::in_one_place(Arc::new(packs)), fault).await
    }

    /// The catalogue of `dir` over packs that are kept elsewhere.
    pub async fn over(dir: &Path, packs: PackStore, fault: OnFault) -> Result<Self> {
        let sqlite = SqliteConfig {
            reader_count: 2,
            cache_kib_per_connection: 2_048,
            fault,
            ..SqliteConfig::new(dir.join("catalog.db"))
        };
        let catalog: Arc<dyn Catalog> = SqliteCatalog::open(sqlite)?;
        let clock = Arc::new(ManualClock::at_unix_ms(START_MS));
        let index = Arc::new(CatalogIndex::new(Arc::clone(&catalog), Arc::clone(&clock) as Arc<dyn Clock>));
        let budget = ByteBudget::new(BUDGET_BYTES);
        let (content, recovery) =
            ContentStore::open(content_config()?, packs.clone(), index, Pool::cpu(), budget).await?;
        let config = storage_config();
        let parts = StorageParts {
            catalog: Arc::clone(&catalog),
            content: content.clone(),
            queue: Arc::new(EmbeddedQueue::new(config.lease_time)),
            tokens: TokenService::new(&SigningKeys::generate()?, TokenConfig::default())?,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            disk: None,
            was_unclean: false,
            config,
        };
        let storage = Storage::start(parts, RuleSources::of_files(rules()?)).await?;
        Ok(Self { storage, catalog, content, packs, clock, recovery })
    }

    pub async fn put(&self, key: &str, content: &Content) -> usp_model::Result<File> {
        let file = NewFile::at(bucket()?, FileKey::parse(key)?);
        let pieces = stream::iter([Ok(Bytes::from(content.bytes()))]).boxed();
        Ok(self.storage.put(&admin()?, file, pieces).await?.file)
    }

    pub async fn read(&self, key: &str, range: Option<ByteRange>) -> usp_model::Result<Vec<u8>> {
        let read = ReadFile { file: file_ref(key)?, version: None, range, coding: Coding::Plain };
        let mut content = self.storage.read(&admin()?, read).await?.content;
        let mut bytes = Vec::new();
        while let Some(piece) = content.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

fn content_config() -> usp_model::Result<ContentConfig> {
    Ok(ContentConfig {
        chunk: ChunkBounds::around(CHUNK_BYTES_MAX / ChunkBounds::FACTOR)?,
        pack_size_bytes_max: PACK_BYTES,
        slab_size_bytes: 16 << 10,
        ..ContentConfig::default()
    })
}

fn storage_config() -> StorageConfig {
    StorageConfig {
        checkpoint_bytes: CHECKPOINT_BYTES,
        collect_grace: Duration::ZERO,
        collect_interval: Duration::ZERO,
        ..StorageConfig::default()
    }
}

/// One rule, for keys that end in `.csv`.
fn rules() -> usp_model::Result<Vec<Rule>> {
    parse_rules("name: tables\nwhen: file.extension == 'csv'\nsteps: [{name: digest, uses: digest}]\n")
}

pub fn admin() -> usp_model::Result<Caller> {
    let grants = vec![Grant { bucket: None, role: Role::Admin }];
    let name = UserName::parse("root")?;
    let principal = Principal { kind: PrincipalKind::User, name, api_key: None, grants };
    Ok(Caller { principal, request_id: "torture".to_owned() })
}

pub fn bucket() -> usp_model::Result<BucketName> {
    BucketName::parse("default")
}

pub fn file_ref(key: &str) -> usp_model::Result<FileRef> {
    Ok(FileRef::Key(bucket()?, FileKey::parse(key)?))
}
