//! One storage, rules of the test, and the processors that work for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use usp_api::{Caller, NewFile, StorageApi, StorageCalls};
use usp_auth::{SigningKeys, TokenConfig, TokenService};
use usp_catalog::{SqliteCatalog, SqliteConfig};
use usp_content::{ContentConfig, ContentStore, LocalPacks, PackStore};
use usp_model::{
    BucketName, Event, EventKind, EventQuery, File, FileId, FileKey, FileRef, FileState, Grant, Principal,
    PrincipalKind, Role, Rule, Run, RunState, UserName,
};
use usp_processor::{Isolation, Processor, ProcessorConfig};
use usp_queue::EmbeddedQueue;
use usp_rt::{ByteBudget, Pool, Shutdown, SystemClock};
use usp_storage::{CatalogIndex, RuleSources, Storage, StorageConfig, StorageParts, parse_rules};

use super::{Tampered, eventually};

/// Ends with the test.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) storage: Arc<Tampered>,
    stop: Shutdown,
    _dir: TempDir,
}

impl Workshop {
    /// With a lease time that no test outlives.
    pub(crate) async fn open(rules: &str) -> Self {
        Self::with(parse_rules(rules).unwrap(), Duration::from_secs(600)).await
    }

    pub(crate) async fn with(rules: Vec<Rule>, lease_time: Duration) -> Self {
        const BUDGET_BYTES: u64 = 32 << 20;
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(SqliteConfig::new(dir.path().join("catalog.db"))).unwrap();
        let packs = PackStore::in_one_place(Arc::new(LocalPacks::open(dir.path(), Pool::disk()).unwrap()));
        let index = Arc::new(CatalogIndex::new(catalog.clone(), Arc::new(SystemClock)));
        let budget = ByteBudget::new(BUDGET_BYTES);
        let opened =
            ContentStore::open(ContentConfig::default(), packs, index, Pool::cpu(), budget).await.unwrap();
        let config = StorageConfig {
            lease_time,
            sweep_interval: Duration::from_millis(20),
            ..StorageConfig::default()
        };
        let parts = StorageParts {
            catalog,
            content: opened.0,
            queue: Arc::new(EmbeddedQueue::new(lease_time)),
            tokens: TokenService::new(&SigningKeys::generate().unwrap(), TokenConfig::default()).unwrap(),
            clock: Arc::new(SystemClock),
            disk: None,
            was_unclean: false,
            config,
        };
        let storage = Storage::start(parts, RuleSources::of_files(rules)).await.unwrap();
        let (service, stop) = (storage.clone(), Shutdown::new());
        let stopping = stop.clone();
        tokio::spawn(async move { service.run(stopping).await });
        Self { storage: Arc::new(Tampered::new(storage)), stop, _dir: dir }
    }

    /// A processor that reacts fast.
    pub(crate) fn worker(&self, concurrency: usize) -> Worker {
        self.worker_with(|config| config.concurrency = concurrency)
    }

    pub(crate) fn worker_with(&self, change: impl FnOnce(&mut ProcessorConfig)) -> Worker {
        let mut config = ProcessorConfig {
            worker: "worker".to_owned(),
            concurrency: 1,
            heartbeat: Duration::from_millis(20),
            lease_wait: Duration::from_millis(200),
            drain_timeout: Duration::from_secs(600),
            isolation: Isolation::None,
            ..ProcessorConfig::default()
        };
        change(&mut config);
        let processor = Processor::new(config, Arc::clone(&self.storage) as Arc<dyn StorageApi>).unwrap();
        let stop = Shutdown::new();
        let working = tokio::spawn(processor.run(stop.clone()));
        Worker { stop, working }
    }

    /// A processor in a runtime of its own, which ends where it stands when the storage's doom strikes it.
    pub(crate) async fn until_doomed(&self, change: impl FnOnce(&mut ProcessorConfig)) {
        let mut config = ProcessorConfig {
            worker: "doomed".to_owned(),
            concurrency: 1,
            heartbeat: Duration::from_millis(20),
            lease_wait: Duration::from_millis(200),
            drain_timeout: Duration::from_millis(20),
            isolation: Isolation::None,
            ..ProcessorConfig::default()
        };
        change(&mut config);
        let processor = Processor::new(config, Arc::clone(&self.storage) as Arc<dyn StorageApi>).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let stop = Shutdown::new();
        runtime.spawn(processor.run(stop.clone()));
        self.struck(&stop).await;
        runtime.shutdown_background();
    }

    /// Waits until the doom has struck; a processor that would only strike when it is told to stop is told so.
    async fn struck(&self, stop: &Shutdown) {
        let patience = Duration::from_millis(500);
        while tokio::time::timeout(patience, self.storage.doom.struck()).await.is_err() {
            stop.cancel();
        }
    }

    pub(crate) async fn put(&self, key: &str, content: impl Into<Bytes>) -> File {
        let content = stream::iter([Ok(content.into())]).boxed();
        let file = NewFile::at(BucketName::parse("default").unwrap(), FileKey::parse(key).unwrap());
        self.storage.put(&admin(), file, content).await.unwrap().file
    }

    pub(crate) async fn file(&self, id: FileId) -> File {
        self.storage.get_file(&admin(), FileRef::Id(id), None).await.unwrap()
    }

    /// The one run of a file.
    pub(crate) async fn run(&self, id: FileId) -> Run {
        let mut runs = self.storage.file_status(&admin(), id).await.unwrap().runs;
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    }

    pub(crate) async fn until_run_is(&self, id: FileId, state: RunState) -> Run {
        eventually(&format!("the run to be {state}"), async || {
            Some(self.run(id).await).filter(|run| run.state == state)
        })
        .await
    }

    pub(crate) async fn until_file_is(&self, id: FileId, state: FileState) -> File {
        eventually(&format!("the file to be {state}"), async || {
            Some(self.file(id).await).filter(|file| file.state == state)
        })
        .await
    }

    /// Waits until a processor has come to the end of a content that is held.
    pub(crate) async fn until_a_content_is_held(&self) {
        eventually("a step to read", async || (self.storage.open_reads() > 0).then_some(())).await;
    }

    /// Waits until no processor reads anything.
    pub(crate) async fn until_nothing_is_read(&self) {
        eventually("the content to be let go", async || (self.storage.open_reads() == 0).then_some(())).await;
    }

    /// Waits until a processor stands at a content that does not open.
    pub(crate) async fn until_a_door_is_held(&self) {
        eventually("a step to begin", async || (self.storage.opening_reads() > 0).then_some(())).await;
    }

    /// The kept events of one kind so far.
    pub(crate) async fn events(&self, kind: EventKind) -> Vec<Event> {
        let last = self.storage.last_event(&admin()).await.unwrap();
        let mut events = self.storage.watch(&admin(), EventQuery::default()).await.unwrap();
        let mut found = Vec::new();
        loop {
            let event = events.next().await.unwrap().unwrap();
            let seq = event.seq;
            found.extend(Some(event).filter(|event| event.kind() == kind));
            if seq >= last {
                return found;
            }
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A processor at work. It stops when it is told to, or with the test.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: Shutdown,
    working: JoinHandle<()>,
}

impl Worker {
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Tells it to stop and waits until it has.
    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        tokio::time::timeout(usp_testkit::PATIENCE, self.working).await.unwrap().unwrap();
    }
}

fn caller(kind: PrincipalKind, name: &str, role: Role) -> Caller {
    let grants = vec![Grant { bucket: None, role }];
    let principal = Principal { kind, name: UserName::parse(name).unwrap(), api_key: None, grants };
    Caller { principal, request_id: "test".to_owned() }
}

pub(crate) fn admin() -> Caller {
    caller(PrincipalKind::User, "root", Role::Admin)
}

/// Another worker, spoken for by the test itself.
pub(crate) fn rival() -> Caller {
    caller(PrincipalKind::Service, "rival", Role::Reader)
}
