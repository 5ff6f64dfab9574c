//! Collection against everything that goes on meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use proptest::prelude::*;
use tempfile::TempDir;
use usp_api::{AppendUpload, CollectReport, NewFile, ReadFile, StorageApi, StorageCalls};
use usp_catalog::Catalog;
use usp_content::MemoryPacks;
use usp_model::{ByteRange, ErrorKind, FileRef, Grant, PackState, Result, Role};
use usp_testkit::generate;

use super::{Cycle, Pace, PackBytes};
use crate::upkeep::test_store::{self, admin, bucket, key};
use crate::{Storage, StorageConfig};

mod crashes;
mod model;
mod traffic;

/// A storage over packs in memory, so that hundreds of cycles take seconds; it can be dropped and opened again.
struct World {
    dir: TempDir,
    packs: Arc<MemoryPacks>,
    storage: Storage,
    catalog: Arc<dyn Catalog>,
}

/// Contents are made of blocks of this size, so that files share some and differ in others.
const BLOCK_BYTES: usize = 6_000;

impl World {
    async fn open() -> Self {
        // Syncs are not what is tested here, and a file system in memory spares them.
        let shm = std::path::Path::new("/dev/shm");
        let dir = if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.unwrap();
        let packs = Arc::new(MemoryPacks::default());
        let (storage, catalog) = open_storage(&dir, &packs).await;
        Self { dir, packs, storage, catalog }
    }

    /// What a crash leaves: no task of the old process goes on.
    async fn reopened(self) -> Self {
        let Self { dir, packs, storage, catalog } = self;
        drop((storage, catalog));
        let (storage, catalog) = open_storage(&dir, &packs).await;
        Self { dir, packs, storage, catalog }
    }

    async fn put(&self, at: &str, content: &[u8]) -> Result<()> {
        let bytes = Bytes::copy_from_slice(content);
        let pieces = stream::iter([Ok(bytes)]).boxed();
        self.storage.put(&admin(), NewFile::at(bucket(), key(at)), pieces).await.map(drop)
    }

    async fn put_in_parts(&self, at: &str, parts: &[Vec<u8>]) -> Result<()> {
        let mut ids = Vec::new();
        for part in parts {
            let size_bytes = Some(part.len() as u64);
            let id = self.storage.start_part(&admin(), bucket(), size_bytes).await?.id;
            let pieces = stream::iter([Ok(Bytes::copy_from_slice(part))]).boxed();
            let append = AppendUpload { id, offset: 0, size_bytes: None };
            self.storage.append(&admin(), append, pieces).await?;
            ids.push(id);
        }
        let joined = self.storage.join_uploads(&admin(), NewFile::at(bucket(), key(at)), ids).await?;
        self.storage.finish_upload(&admin(), joined.id, Vec::new()).await.map(drop)
    }

    async fn delete(&self, at: &str) -> Result<()> {
        self.storage.delete_file(&admin(), FileRef::Key(bucket(), key(at)), None).await
    }

    async fn read(&self, at: &str) -> Result<Vec<u8>> {
        read(&self.storage, at, None).await
    }

    async fn collect(&self) -> CollectReport {
        self.storage.collect(&admin(), false).await.unwrap()
    }

    /// As many cycles as it takes until what was dead is off the disk.
    async fn collect_all(&self) {
        for _cycle in 0..4 {
            self.collect().await;
        }
    }

    async fn space(&self) -> PackBytes {
        PackBytes::of(&self.catalog.pack_usage().await.unwrap())
    }

    /// Bytes that lie on the medium, whatever rows say.
    async fn disk_bytes(&self) -> u64 {
        let mut sum = 0;
        for pack in self.packs.list() {
            sum += self.packs.len(pack).unwrap();
        }
        sum
    }

    async fn assert_holds(&self, expected: &BTreeMap<String, Vec<u8>>) {
        for (at, content) in expected {
            assert!(self.read(at).await.unwrap() == *content, "{at} reads back");
        }
        let query = usp_model::FileQuery { limit: 1_000, ..usp_model::FileQuery::default() };
        let listed = self.storage.list_files(&admin(), bucket(), query).await;
        assert_eq!(listed.unwrap().files.len(), expected.len());
    }
}

async fn open_storage(dir: &TempDir, packs: &Arc<MemoryPacks>) -> (Storage, Arc<dyn Catalog>) {
    let config = StorageConfig {
        checkpoint_bytes: 24 << 10,
        collect_grace: Duration::ZERO,
        collect_interval: Duration::ZERO,
        ..StorageConfig::default()
    };
    test_store::open(dir.path(), packs.clone(), config).await
}

/// A content of blocks; equal numbers are equal bytes.
fn content(blocks: &[u64]) -> Vec<u8> {
    blocks.iter().flat_map(|&block| generate::bytes(block, BLOCK_BYTES)).collect()
}

async fn read(storage: &Storage, at: &str, range: Option<ByteRange>) -> Result<Vec<u8>> {
    let read = ReadFile {
        file: FileRef::Key(bucket(), key(at)),
        version: None,
        range,
        coding: usp_api::Coding::Plain,
    };
    let parts: Vec<Bytes> = storage.read(&admin(), read).await?.content.try_collect().await?;
    Ok(parts.concat())
}
