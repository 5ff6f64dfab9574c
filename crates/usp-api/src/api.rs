//! The seam between roles.
//!
//! The list of unary calls below stands once; from it come the methods of [`StorageCalls`], the [`Request`] and
//! [`Reply`] enums that cross process borders, the gRPC client's methods and the server's dispatch. The calls that
//! move content or events, or come before there is a caller, stand in [`StorageApi`].

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};
use usp_auth::Credential;
use usp_model::{
    ApiKey, ApiKeyId, Bucket, BucketName, BucketPolicy, ContentDigest, Event, EventQuery, EventSeq, File,
    FileId, FilePage, FilePatch, FileQuery, FileRef, LeasedRun, Principal, QueueStatus, ReportOutcome,
    Result, Rule, RuleName, Run, RunId, RunPage, RunQuery, RunReport, Upload, UploadId, User, UserName,
};

use crate::GrpcStorage;
use crate::types::{
    AppendUpload, Caller, CheckReport, CollectReport, CreatedApiKey, CreatedUser, DamageReport, FileStatus,
    NewApiKey, NewBucket, NewFile, NewUser, PutOutcome, ReadFile, Readiness, Reading, RetriedRuns, RuleTest,
    ScrubOptions, ScrubStatus, Stats, TokenGrant, TokenPair, UserPatch, WrittenRule,
};
use crate::wire::unexpected_reply;

/// Content as it moves: pieces in order; an error ends it.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Events as they happen; an error ends it.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event>> + Send>>;

/// One door to stored files, for every dialect and every worker: all of [`StorageCalls`], and what moves content.
///
/// Every method checks that the caller may do this to this object; a bucket or file that the caller may not
/// even read is `NotFound`. Errors of all: `Denied`, `NotFound`, `Unavailable`, `StorageFull`, `Internal`.
#[async_trait]
pub trait StorageApi: StorageCalls {
    /// Verifies a credential. Errors: `Unauthenticated`.
    async fn authenticate(&self, credential: Credential) -> Result<Principal>;

    /// Trades a password or a refresh token for tokens. Errors: `Unauthenticated`, `RateLimited`.
    async fn issue_token(&self, grant: TokenGrant) -> Result<TokenPair>;

    /// Whether storage can read and write right now.
    async fn readiness(&self) -> Result<Readiness>;

    /// Stores a whole content and plans its runs, or leaves nothing behind.
    ///
    /// Errors: `InvalidInput`, `PreconditionFailed`, `TooLarge`, `UnsupportedMedia`, `DigestMismatch`.
    /// Cancel: before the commit began nothing is kept; after that it runs to its end.
    async fn put(&self, caller: &Caller, file: NewFile, content: ByteStream) -> Result<PutOutcome>;

    /// Appends to an upload session. When the stream breaks, what is durable by then counts.
    ///
    /// Errors: `PreconditionFailed` (offset), `Locked` (another append is at work), `Gone`, `TooLarge`.
    async fn append(&self, caller: &Caller, append: AppendUpload, content: ByteStream) -> Result<Upload>;

    /// Opens content for reading. Errors: `NotFound`, `OutOfRange`; in the stream `Corrupt`.
    async fn read(&self, caller: &Caller, read: ReadFile) -> Result<Reading>;

    /// Follows events: the kept ones after `query.after` first, then live, progress included.
    async fn watch(&self, caller: &Caller, query: EventQuery) -> Result<EventStream>;
}

macro_rules! storage_calls {
    ($( $(#[$doc:meta])* $variant:ident = $name:ident($($arg:ident: $ty:ty),*) -> $reply:ty; )+) => {
        /// The calls that move no content: one question, one answer. Permission is checked as [`StorageApi`] says.
        #[async_trait]
        pub trait StorageCalls: fmt::Debug + Send + Sync + 'static {
            $( $(#[$doc])* async fn $name(&self, caller: &Caller, $($arg: $ty),*) -> Result<$reply>; )+
        }

        /// A unary call on its way to another process.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub enum Request { $($variant { $($arg: $ty),* },)+ }

        /// The answer to one, or what stands before a stream.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub enum Reply { $($variant(Box<$reply>),)+ }

        impl Request {
            /// The method's name, for logs and metrics.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => stringify!($name),)+ }
            }
        }

        /// Runs a request that came from another process.
        pub(crate) async fn dispatch(api: &dyn StorageApi, caller: &Caller, request: Request) -> Result<Reply> {
            match request {
                $(Request::$variant { $($arg),* } => {
                    api.$name(caller, $($arg),*).await.map(|reply| Reply::$variant(Box::new(reply)))
                })+
            }
        }

        #[async_trait]
        impl StorageCalls for GrpcStorage {
            $(async fn $name(&self, caller: &Caller, $($arg: $ty),*) -> Result<$reply> {
                match self.call(caller, Request::$variant { $($arg),* }).await? {
                    Reply::$variant(reply) => Ok(*reply),
                    other => Err(unexpected_reply(&other)),
                }
            })+
        }
    };
}

storage_calls! {
    /// Errors: `Conflict` (name taken), `InvalidInput`.
    CreateBucket = create_bucket(bucket: NewBucket) -> Bucket;
    GetBucket = get_bucket(name: BucketName) -> Bucket;
    /// The buckets that the caller may read.
    ListBuckets = list_buckets() -> Vec<Bucket>;
    /// Replaces the policy. Errors: `InvalidInput`, `Conflict` (the dedup domain is fixed).
    UpdateBucket = update_bucket(name: BucketName, policy: BucketPolicy) -> Bucket;
    /// Errors: `Conflict` while it is not empty.
    DeleteBucket = delete_bucket(name: BucketName) -> ();

    /// Opens a resumable session; the file id it names is preliminary.
    StartUpload = start_upload(file: NewFile) -> Upload;
    /// Opens a resumable session for a piece of a file; `join_uploads` makes one of all of them.
    StartPart = start_part(bucket: BucketName, size_bytes: Option<u64>) -> Upload;
    /// Opens a session that has what the parts have, one behind the other, and takes no more; they end. May be asked again.
    /// Errors: `Conflict` while a part is not complete, `InvalidInput`.
    JoinUploads = join_uploads(file: NewFile, parts: Vec<UploadId>) -> Upload;
    GetUpload = get_upload(id: UploadId) -> Upload;
    /// Makes a file of what was received. Errors: `Conflict` while bytes are missing, `DigestMismatch`.
    FinishUpload = finish_upload(id: UploadId, expected_digests: Vec<ContentDigest>) -> PutOutcome;
    TerminateUpload = terminate_upload(id: UploadId) -> ();

    GetFile = get_file(file: FileRef, version: Option<u32>) -> File;
    /// Newest first.
    ListVersions = list_versions(id: FileId) -> Vec<File>;
    ListFiles = list_files(bucket: BucketName, query: FileQuery) -> FilePage;
    /// Errors: `PreconditionFailed`, `InvalidInput`.
    UpdateFile = update_file(id: FileId, patch: FilePatch) -> File;
    /// Gone at once, with all versions. Errors: `PreconditionFailed`.
    DeleteFile = delete_file(file: FileRef, condition_etags: Option<Vec<String>>) -> ();
    /// Works from the first byte on: also for the preliminary id of an open upload.
    FileStatus = file_status(id: FileId) -> FileStatus;
    /// Which of these contents (SHA-256 in hex) the bucket's dedup domain holds already. Takes the right to write.
    KnownContents = known_contents(bucket: BucketName, sha256: Vec<String>) -> Vec<String>;

    ListRules = list_rules() -> Vec<Rule>;
    GetRule = get_rule(name: RuleName) -> Rule;
    /// Makes or replaces a rule; it counts from the next commit on. Its version is given, not taken. Errors: `InvalidInput`;
    /// `Conflict` while a file of the rules directory has one of that name.
    PutRule = put_rule(rule: Rule) -> WrittenRule;
    /// Runs that were planned go on. Errors: `NotFound`; `Conflict` for a rule that nobody wrote over the API.
    DeleteRule = delete_rule(name: RuleName) -> ();
    TestRule = test_rule(name: RuleName, file: FileRef) -> RuleTest;
    CreateRun = create_run(id: FileId, rule: RuleName) -> Run;
    ListRuns = list_runs(query: RunQuery) -> RunPage;
    GetRun = get_run(id: RunId) -> Run;
    /// Errors: `Conflict` unless the run is dead or cancelled.
    RetryRun = retry_run(id: RunId) -> Run;
    /// Tries dead runs again, or cancelled ones if the query says so, up to its limit. Errors: `InvalidInput` (state).
    RetryRuns = retry_runs(query: RunQuery) -> RetriedRuns;
    /// Errors: `Conflict` once the run ended.
    CancelRun = cancel_run(id: RunId) -> Run;

    /// Hands out due runs, best first; waits up to `wait_ms` for the first one. For services only.
    LeaseRuns = lease_runs(worker: String, count_max: u32, wait_ms: u64) -> Vec<LeasedRun>;
    /// Trades offers of the queue for as many due runs, whosever turn it is; fewer when there are fewer. For services only.
    LeaseOffered = lease_offered(worker: String, offers: Vec<RunId>) -> Vec<LeasedRun>;
    /// Writes what a worker says, if its lease holds; storage sets the times. For services only.
    ReportRun = report_run(report: RunReport) -> ReportOutcome;

    /// The newest kept event's number.
    LastEvent = last_event() -> EventSeq;

    CreateUser = create_user(user: NewUser) -> CreatedUser;
    ListUsers = list_users() -> Vec<User>;
    UpdateUser = update_user(name: UserName, patch: UserPatch) -> User;
    DeleteUser = delete_user(name: UserName) -> ();
    CreateApiKey = create_api_key(key: NewApiKey) -> CreatedApiKey;
    /// The caller's own; an admin's list holds everybody's.
    ListApiKeys = list_api_keys() -> Vec<ApiKey>;
    RevokeApiKey = revoke_api_key(id: ApiKeyId) -> ();
    Stats = stats() -> Stats;
    /// How the queue of runs is doing; answers also when the broker cannot be reached.
    QueueStatus = queue_status() -> QueueStatus;
    /// Runs one cycle of collection to its end, also when nobody waits for it any more. Errors: `Locked` while one runs.
    Collect = collect(dry_run: bool) -> CollectReport;
    /// Begins to check every frame of every pack, or goes on; answers at once. Errors: `Locked` while one runs, unless it
    /// is to be resumed: then it takes the new pace.
    StartScrub = start_scrub(options: ScrubOptions) -> ScrubStatus;
    /// Ends the scrub that runs; what it did counts.
    StopScrub = stop_scrub() -> ScrubStatus;
    ScrubStatus = scrub_status() -> ScrubStatus;
    /// Compares catalogue and packs, both ways, while both are in use. Errors: `Locked` while a collection runs.
    CheckStore = check_store(is_deep: bool) -> CheckReport;
    /// What the last scrub found, and the contents that are hit.
    StoreDamage = store_damage() -> DamageReport;
}
