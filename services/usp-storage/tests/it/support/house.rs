//! One storage with everything below it, and the door at which it is asked.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use usp_api::{
    ByteStream, Caller, GrpcStorage, GrpcStorageConfig, NewBucket, NewFile, PutOutcome, ReadFile, StorageApi,
    StorageNode,
};
use usp_auth::{SecretText, SigningKeys, TokenConfig, TokenService};
use usp_content::{ContentConfig, ContentStore, LocalPacks, PackStore};
use usp_faults::{Call, Fault, Faulty, Script};
use usp_model::{
    Bucket, BucketPolicy, ByteRange, Error, ErrorKind, File, FileRef, LeasedRun, ReportOutcome, Result,
    RuleStep, RunOutcome, RunReport, StepReport, Usage, Violation,
};
use usp_queue::{EmbeddedQueue, Queue};
use usp_rt::{ByteBudget, ManualClock, Pool, Shutdown};
use usp_storage::{CatalogIndex, RuleSources, Storage, StorageConfig, StorageParts, parse_rules};

use super::content::drain;
use super::engine::{self, HeldWrites};
use super::{admin, bucket, eventually, key, pieces, worker};

/// Small, so that every content of some size goes through an upload session.
pub(crate) const CHECKPOINT_BYTES: usize = 256 << 10;
pub(crate) const LEASE_TIME: Duration = Duration::from_secs(30);
pub(crate) const NODE_SECRET: &str = "uspn_the-secret-between-the-roles-of-one-installation";

/// Which files are processed follows from where they stand, so that a fact asks for runs by choosing a key.
const RULES: &str = "
name: audit
when: file.key.startsWith('audited/') || file.key.startsWith('gated/')
steps: [{name: first, uses: sniff}, {name: second, uses: digest}]
retry: {attempts_max: 2, backoff_ms_min: 1000, backoff_ms_max: 1000}
---
name: gate
when: file.key.startsWith('gated/')
steps: [{name: check, uses: sniff}]
release: after_success
---
name: urgent
when: file.key.startsWith('urgent/')
steps: [{name: only, uses: sniff}]
priority: 10
---
name: single
when: file.key.startsWith('single/')
steps: [{name: only, uses: sniff}]
concurrency: 1
---
name: optional
when: file.key.startsWith('optional/')
steps: [{name: only, uses: sniff}]
required: false
---
name: by-hand
steps: [{name: only, uses: sniff}]
";

const BUILT_IN: &str = "
name: of-usp
when: file.key.startsWith('of-usp/')
steps: [{name: only, uses: sniff}]
";

fn sources() -> RuleSources {
    let check_step = |step: &RuleStep| {
        let unknown = vec![Violation::new("/uses", "there is no such step")];
        let refused = || Error::new(ErrorKind::InvalidInput, "build step").with_violations(unknown);
        if step.uses == "sniff" { Ok(()) } else { Err(refused()) }
    };
    RuleSources { built_in: parse_rules(BUILT_IN).unwrap(), files: parse_rules(RULES).unwrap(), check_step }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    InProcess,
    OverGrpc,
}

/// Ends with the test: the directory, the listener and the tasks behind it.
#[derive(Debug)]
pub(crate) struct House {
    /// Where the facts are proved.
    pub(crate) door: Arc<dyn StorageApi>,
    /// The storage itself, whatever the door.
    pub(crate) storage: Storage,
    pub(crate) queue: Arc<dyn Queue>,
    /// Time for storage: it stands still until a test moves it.
    pub(crate) clock: Arc<ManualClock>,
    disk: Script,
    stop: Shutdown,
    dir: TempDir,
}

impl House {
    pub(crate) async fn open(door: Door) -> Self {
        let house = Self::open_quietly(door, Duration::from_millis(20)).await;
        let (storage, stop) = (house.storage.clone(), house.stop.clone());
        tokio::spawn(async move { storage.run(stop).await });
        house
    }

    /// Without the work that storage does by itself; `sweep_interval` counts once someone runs it.
    pub(crate) async fn open_quietly(door: Door, sweep_interval: Duration) -> Self {
        Self::open_over(Arc::new(EmbeddedQueue::new(LEASE_TIME)), door, sweep_interval).await
    }

    /// The same over a queue of the test's choice.
    pub(crate) async fn open_over(queue: Arc<dyn Queue>, door: Door, sweep_interval: Duration) -> Self {
        const NOW_UNIX_MS: i64 = 1_795_000_000_000;
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at_unix_ms(NOW_UNIX_MS));
        let catalog = engine::open(dir.path());
        let config = StorageConfig {
            checkpoint_bytes: CHECKPOINT_BYTES as u64,
            lease_time: LEASE_TIME,
            sweep_interval,
            ..StorageConfig::default()
        };
        let packs = Faulty::new(Arc::new(LocalPacks::open(dir.path(), Pool::disk()).unwrap()));
        let disk = packs.script();
        let parts = StorageParts {
            content: open_content(
                PackStore::in_one_place(Arc::new(packs)),
                CatalogIndex::new(catalog.clone(), clock.clone()),
            )
            .await,
            catalog,
            queue: queue.clone(),
            tokens: TokenService::new(&SigningKeys::generate().unwrap(), TokenConfig::default()).unwrap(),
            clock: clock.clone(),
            disk: None,
            was_unclean: false,
            config,
        };
        let storage = Storage::start(parts, sources()).await.unwrap();
        let stop = Shutdown::new();
        let door: Arc<dyn StorageApi> = match door {
            Door::InProcess => Arc::new(storage.clone()),
            Door::OverGrpc => {
                let url = serve_node(storage.clone(), stop.clone()).await;
                Arc::new(node_client(&url, NODE_SECRET))
            }
        };
        Self { door, storage, queue, clock, disk, stop, dir }
    }

    /// Whether there is no space for another byte in a pack.
    pub(crate) fn set_full(&self, is_full: bool) {
        match is_full {
            true => self.disk.always(Call::Append, Fault::Before(ErrorKind::StorageFull)),
            false => self.disk.clear(),
        }
    }

    /// Keeps every change out of the catalogue for as long as what it gives lives.
    pub(crate) fn hold_catalog(&self) -> HeldWrites {
        engine::hold_writes(self.dir.path())
    }

    /// Puts a written rule there as another release may have left it.
    pub(crate) fn leave_rule(&self, name: &str, body: &str) {
        engine::leave_rule(self.dir.path(), name, body);
    }

    /// The only pack there is.
    pub(crate) fn pack(&self) -> std::path::PathBuf {
        let packs = walk(&self.dir.path().join("packs"));
        assert_eq!(packs.len(), 1, "{packs:?}");
        packs[0].clone()
    }

    /// Lets storage work by itself from now on.
    pub(crate) fn wake(&self) {
        let (storage, stop) = (self.storage.clone(), self.stop.clone());
        tokio::spawn(async move { storage.run(stop).await });
    }

    /// Serves the storage to other roles as well; gives the URL.
    pub(crate) async fn serve_node(&self) -> String {
        serve_node(self.storage.clone(), self.stop.clone()).await
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.clock.advance_ms(i64::try_from(time.as_millis()).unwrap());
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn open_content(packs: PackStore, index: CatalogIndex) -> ContentStore {
    const BUDGET_BYTES: u64 = 32 << 20;
    let budget = ByteBudget::new(BUDGET_BYTES);
    let opened = ContentStore::open(ContentConfig::default(), packs, Arc::new(index), Pool::cpu(), budget);
    opened.await.unwrap().0
}

async fn serve_node(storage: Storage, stop: Shutdown) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let node =
        StorageNode::new(Arc::new(storage), &SecretText::new(NODE_SECRET), stop.clone()).into_service();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(async move {
        let serving = Server::builder().add_service(node);
        serving.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await.unwrap();
    });
    url
}

pub(crate) fn node_client(url: &str, secret: &str) -> GrpcStorage {
    const TIMEOUT: Duration = Duration::from_secs(20);
    let config = GrpcStorageConfig {
        url: url.to_owned(),
        secret: SecretText::new(secret),
        connect_timeout: TIMEOUT,
        call_timeout: TIMEOUT,
    };
    GrpcStorage::new(&config).unwrap()
}

/// What most facts need, said shortly. All of it goes through the door.
impl House {
    pub(crate) async fn put(&self, caller: &Caller, at: &str, bytes: &[u8]) -> Result<PutOutcome> {
        self.put_stream(caller, at, pieces(bytes)).await
    }

    pub(crate) async fn put_stream(
        &self,
        caller: &Caller,
        at: &str,
        content: ByteStream,
    ) -> Result<PutOutcome> {
        self.door.put(caller, NewFile::at(bucket("default"), key(at)), content).await
    }

    /// A file that an administrator puts, for facts about something else.
    pub(crate) async fn file(&self, at: &str, bytes: &[u8]) -> File {
        self.put(&admin(), at, bytes).await.unwrap().file
    }

    pub(crate) async fn read(&self, caller: &Caller, file: FileRef) -> Result<Vec<u8>> {
        let read = ReadFile { file, version: None, range: None, coding: usp_api::Coding::Plain };
        drain(self.door.read(caller, read).await?).await
    }

    pub(crate) async fn read_version(&self, file: &File, version: u32) -> Result<Vec<u8>> {
        let read = ReadFile {
            file: FileRef::Id(file.id),
            version: Some(version),
            range: None,
            coding: usp_api::Coding::Plain,
        };
        drain(self.door.read(&admin(), read).await?).await
    }

    pub(crate) async fn read_range(&self, file: &File, start: u64, end: u64) -> Result<Vec<u8>> {
        let range = Some(ByteRange::new(start, end)?);
        let read =
            ReadFile { file: FileRef::Id(file.id), version: None, range, coding: usp_api::Coding::Plain };
        drain(self.door.read(&admin(), read).await?).await
    }

    pub(crate) async fn find(&self, at: &str) -> Result<File> {
        self.door.get_file(&admin(), FileRef::Key(bucket("default"), key(at)), None).await
    }

    pub(crate) async fn bucket(&self, name: &str, policy: BucketPolicy) -> Bucket {
        self.door.create_bucket(&admin(), NewBucket { name: bucket(name), policy }).await.unwrap()
    }

    /// Sums over all buckets.
    pub(crate) async fn usage(&self) -> Usage {
        self.door.stats(&admin()).await.unwrap().usage.remove(0)
    }

    pub(crate) async fn open_uploads(&self) -> u64 {
        self.door.stats(&admin()).await.unwrap().totals.open_uploads
    }

    /// Waits until nothing of an upload is left that could hold bytes.
    pub(crate) async fn until_no_upload_is_open(&self) {
        eventually("the session to end", async || (self.open_uploads().await == 0).then_some(())).await;
    }

    /// The next run that is due.
    pub(crate) async fn lease(&self) -> LeasedRun {
        const WAIT_MS: u64 = 1_000;
        eventually("a run to be due", async || {
            let leased = self.door.lease_runs(&worker(), "worker".to_owned(), 1, WAIT_MS).await;
            leased.unwrap().pop()
        })
        .await
    }

    /// The runs that can be had at once.
    pub(crate) async fn lease_now(&self) -> Vec<LeasedRun> {
        self.door.lease_runs(&worker(), "worker".to_owned(), 100, 0).await.unwrap()
    }

    pub(crate) async fn report(
        &self,
        leased: &LeasedRun,
        steps: Vec<StepReport>,
        outcome: Option<RunOutcome>,
    ) -> ReportOutcome {
        let report = RunReport { run: leased.run.id, lease_no: leased.lease_no, steps, outcome };
        self.door.report_run(&worker(), report).await.unwrap()
    }

    pub(crate) async fn waiting_runs(&self) -> u64 {
        self.queue.waiting_count().await.unwrap()
    }
}

/// Every file below a directory.
fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
