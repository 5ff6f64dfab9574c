//! Scrubbing a whole storage: what is damaged is named, mended by new bytes, and a restart goes on.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use usp_api::{DamageReport, NewFile, ReadFile, ScrubOptions, ScrubStatus, StorageApi, StorageCalls};
use usp_catalog::Catalog;
use usp_content::LocalPacks;
use usp_model::{ErrorKind, FileRef, PackState, Result, StoredChunk};
use usp_rt::{Pool, Shutdown};
use usp_testkit::generate;

use crate::upkeep::test_store::{self, admin, bucket, key};
use crate::{Storage, StorageConfig};

/// A storage over packs on disk that can be closed and opened again.
pub(in crate::upkeep) struct World {
    pub(in crate::upkeep) dir: TempDir,
    pub(in crate::upkeep) storage: Storage,
    pub(in crate::upkeep) catalog: Arc<dyn Catalog>,
}

impl World {
    pub(in crate::upkeep) async fn open() -> Self {
        let dir = TempDir::new().unwrap();
        let (storage, catalog) = open_storage(&dir).await;
        Self { dir, storage, catalog }
    }

    pub(in crate::upkeep) async fn reopened(self) -> Self {
        let Self { dir, storage, catalog } = self;
        drop((storage, catalog));
        let (storage, catalog) = open_storage(&dir).await;
        Self { dir, storage, catalog }
    }

    pub(in crate::upkeep) async fn put(&self, at: &str, content: &[u8]) {
        let pieces = stream::iter([Ok(Bytes::copy_from_slice(content))]).boxed();
        self.storage.put(&admin(), NewFile::at(bucket(), key(at)), pieces).await.unwrap();
    }

    pub(in crate::upkeep) async fn read(&self, at: &str) -> Result<Vec<u8>> {
        let coding = usp_api::Coding::Plain;
        let read = ReadFile { file: FileRef::Key(bucket(), key(at)), version: None, range: None, coding };
        let parts: Vec<Bytes> = self.storage.read(&admin(), read).await?.content.try_collect().await?;
        Ok(parts.concat())
    }

    /// Runs a scrub to its end.
    async fn scrub(&self, resume: bool) -> ScrubStatus {
        let options = ScrubOptions { resume, pace_bytes_per_s: None };
        self.storage.start_scrub(&admin(), options).await.unwrap();
        drop(self.storage.upkeep.scrubber.turn.lock().await);
        self.storage.scrub_status(&admin()).await.unwrap()
    }

    async fn damage(&self) -> DamageReport {
        self.storage.store_damage(&admin()).await.unwrap()
    }

    /// The rows of every pack.
    pub(in crate::upkeep) async fn chunks(&self) -> Vec<StoredChunk> {
        let mut chunks = Vec::new();
        for pack in self.catalog.packs().await.unwrap() {
            chunks.extend(self.catalog.chunks_in_pack(pack.pack).await.unwrap());
        }
        chunks
    }

    pub(in crate::upkeep) fn path(&self, chunk: &StoredChunk) -> PathBuf {
        let pack = chunk.place.pack.0;
        self.dir.path().join(format!("packs/{:02x}/{pack:016x}.pack", pack & 0xff))
    }

    pub(in crate::upkeep) fn flip(&self, chunk: &StoredChunk, byte: u64) {
        let file = std::fs::File::options().read(true).write(true).open(self.path(chunk)).unwrap();
        let mut bytes = [0];
        let at = chunk.place.offset + byte;
        file.read_exact_at(&mut bytes, at).unwrap();
        file.write_all_at(&[bytes[0] ^ 4], at).unwrap();
    }
}

async fn open_storage(dir: &TempDir) -> (Storage, Arc<dyn Catalog>) {
    let packs = Arc::new(LocalPacks::open(dir.path(), Pool::disk()).unwrap());
    let config = StorageConfig { checkpoint_bytes: 24 << 10, ..StorageConfig::default() };
    test_store::open(dir.path(), packs, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_store_scrubs_clean_while_it_is_written() {
    let world = World::open().await;
    assert_eq!(world.scrub(false).await.packs, 0, "an empty store is sound");
    world.put("a", &generate::bytes(1, 100_000)).await;
    let status = world.scrub(false).await;
    assert!(status.damaged == 0 && status.packs >= 2 && status.size_bytes > 100_000, "{status:?}");
    assert_eq!(status.frames, world.chunks().await.len() as u64);
    assert!(status.ended_at.is_some() && !status.running && status.packs_left == 0);
    assert_eq!(world.damage().await, DamageReport::default());
    world.put("b", &generate::bytes(2, 100_000)).await;
    assert_eq!(world.scrub(false).await.damaged, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_names_the_files_that_are_hit_and_new_bytes_mend_them() {
    let world = World::open().await;
    let (shared, own) = (generate::bytes(1, 60_000), generate::bytes(2, 60_000));
    world.put("one", &shared).await;
    world.put("two", &shared).await;
    world.put("whole", &own).await;
    let hit = world.chunks().await[5];
    world.flip(&hit, 70);
    let status = world.scrub(false).await;
    assert_eq!(status.damaged, 1);
    let report = world.damage().await;
    assert!(report.damage[0].hits(&hit.place), "{report:?}");
    let mut keys: Vec<_> = report.contents.iter().map(|content| content.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["one", "two"]);
    assert!(report.contents.iter().all(|content| content.version == Some(1) && content.damage == [0]));

    let rows = world.catalog.packs().await.unwrap();
    let pack = rows.iter().find(|row| row.pack == hit.place.pack).unwrap();
    assert_eq!(pack.state, PackState::SetAside);
    assert!(world.path(&hit).exists(), "a damaged pack is kept");
    assert_eq!(world.read("one").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(world.read("whole").await.unwrap() == own);

    world.put("again", &shared).await;
    for at in ["one", "two", "again"] {
        assert!(world.read(at).await.unwrap() == shared, "{at} is mended");
    }
    assert!(world.damage().await.contents.is_empty(), "nobody is hit any more");
    assert_eq!(world.scrub(false).await.damaged, 1, "the damaged place is still there, and is told again");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_pack_that_takes_frames_does_not_disturb_uploads() {
    let world = World::open().await;
    world.put("a", &generate::bytes(1, 5_000)).await;
    let first = world.chunks().await[0];
    world.flip(&first, 60);
    assert_eq!(world.scrub(false).await.damaged, 1);
    let content = generate::bytes(3, 5_000);
    world.put("b", &content).await;
    assert!(world.read("b").await.unwrap() == content);
    assert!(world.chunks().await.iter().any(|chunk| chunk.place.pack != first.place.pack));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_gone_hits_everyone_who_needs_it() {
    let world = World::open().await;
    world.put("a", &generate::bytes(1, 200_000)).await;
    let world = world.reopened().await;
    let first = world.chunks().await[0];
    std::fs::remove_file(world.path(&first)).unwrap();
    assert_eq!(world.scrub(false).await.damaged, 1);
    let report = world.damage().await;
    assert_eq!((report.damage[0].part.as_str(), report.contents.len()), ("missing", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_that_was_stopped_goes_on_after_a_restart_and_keeps_what_it_found() {
    let world = World::open().await;
    world.put("a", &generate::bytes(1, 400_000)).await;
    let hit = world.chunks().await[3];
    world.flip(&hit, 80);
    // A pace at which the first packs take a while: it is stopped as soon as one was checked.
    let options = ScrubOptions { resume: false, pace_bytes_per_s: Some(200_000) };
    world.storage.start_scrub(&admin(), options).await.unwrap();
    let refused = world.storage.start_scrub(&admin(), options).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    while world.storage.scrub_status(&admin()).await.unwrap().packs == 0 {
        tokio::task::yield_now().await;
    }
    let stopped = world.storage.stop_scrub(&admin()).await.unwrap();
    assert!(!stopped.running && stopped.ended_at.is_none() && stopped.packs_left > 0, "{stopped:?}");

    let world = world.reopened().await;
    let before = world.storage.scrub_status(&admin()).await.unwrap();
    assert_eq!((before.packs, before.damaged), (stopped.packs, stopped.damaged));
    let ended = world.scrub(true).await;
    assert_eq!(ended.packs, stopped.packs + stopped.packs_left, "each pack once");
    assert_eq!(ended.damaged, 1);
    assert_eq!(world.damage().await.contents.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_scrubs_by_itself_after_an_unclean_end_and_finishes_what_was_cut_off() {
    let world = World::open().await;
    world.put("a", &generate::bytes(1, 100_000)).await;
    let stop = Shutdown::new();
    world.storage.upkeep.scrubber.scrub_at_leisure(false, &stop).await.unwrap();
    let first = world.storage.scrub_status(&admin()).await.unwrap();
    assert!(first.ended_at.is_some() && first.packs > 0, "a store that was never scrubbed is");
    world.put("b", &generate::bytes(2, 100_000)).await;
    world.storage.upkeep.scrubber.scrub_at_leisure(false, &stop).await.unwrap();
    assert_eq!(world.storage.scrub_status(&admin()).await.unwrap(), first, "it is not time yet");
    world.storage.upkeep.scrubber.scrub_at_leisure(true, &stop).await.unwrap();
    assert!(world.storage.scrub_status(&admin()).await.unwrap().packs > first.packs);
    assert_eq!(
        world.storage.upkeep.scrubber.next_scrub_in().await.unwrap(),
        Some(StorageConfig::default().scrub_interval)
    );

    world.catalog.begin_scrub(world.storage.core.duty("test")).await.unwrap();
    assert_eq!(world.storage.upkeep.scrubber.next_scrub_in().await.unwrap(), None);
    world.storage.upkeep.scrubber.scrub_at_leisure(false, &stop).await.unwrap();
    assert_ne!(world.storage.upkeep.scrubber.next_scrub_in().await.unwrap(), None::<Duration>);
}
