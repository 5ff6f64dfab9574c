//! The seam: every fact that usp keeps, as domain transactions.
//!
//! A method that changes something is one transaction, durable before it returns, and writes the events it causes in
//! that same transaction. Methods that only read see committed facts. Errors beyond those named: `Unavailable` (busy,
//! worth a retry), `StorageFull` (no space), `Internal`.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use usp_model::{
    ApiKey, ApiKeyId, Bucket, BucketName, BucketPolicy, ByteRange, ChunkId, Digest, Event, EventQuery,
    EventSeq, File, FileId, FilePage, FilePatch, FileQuery, FileRef, Finding, Grant, LeasedRun, ManifestId,
    PackDamage, PackId, PackRecord, PlacedChunk, RedoFrame, ReportOutcome, Result, Rule, RuleName, Run,
    RunId, RunPage, RunQuery, RunReport, StoreTotals, StoredChunk, Timestamp, Upload, UploadId, Usage, User,
    UserName,
};

use crate::records::{
    ApiKeyRecord, BucketRecord, ChunkMove, ClaimRuns, ClaimedRuns, CommittedVersion, ContentCheck,
    ContentOwner, DueRun, Erased, FileRecord, NamingPage, NewRun, NewUpload, NewVersion, PackUsage,
    ReferencePage, ReferencePlace, RefreshRow, Rotation, ScrubState, ScrubbedPack, Swept, UploadProgress,
    UploadRecord, UserRecord,
};

#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync + 'static {
    // ---- buckets -------------------------------------------------------------------------------------------------

    /// Makes the bucket and its dedup domain (a named domain may exist already). Errors: `Conflict` when the name is taken.
    async fn create_bucket(&self, name: BucketName, policy: BucketPolicy, at: Timestamp) -> Result<Bucket>;
    /// Errors: `NotFound`.
    async fn bucket(&self, name: &BucketName) -> Result<BucketRecord>;
    /// All buckets by name; `visible`: only these.
    async fn list_buckets(&self, visible: Option<Vec<BucketName>>) -> Result<Vec<Bucket>>;
    /// Replaces the policy; the dedup domain stays. Errors: `NotFound`, `Conflict` when the domain would change.
    async fn update_bucket(&self, name: &BucketName, policy: BucketPolicy, at: Timestamp) -> Result<Bucket>;
    /// Errors: `NotFound`, `Conflict` while files or open uploads are in it.
    async fn delete_bucket(&self, name: &BucketName) -> Result<()>;

    // ---- chunks and packs (what usp-content's ChunkIndex asks) ---------------------------------------------------

    /// Chunks after `after` by their ids, at most `count_max`.
    async fn chunk_digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>>;
    async fn lookup_chunks(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>>;
    /// The chunks of `manifest` that hold `range`, at most `count_max`, in order; what lies behind its end is left out.
    /// Errors: `NotFound` when the content was deleted, `Corrupt` for a chunk without a row.
    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>>;
    /// The chunks whose frames begin within `range` of the pack count as not stored until someone stores them anew.
    async fn doubt_chunks(&self, pack: PackId, range: ByteRange) -> Result<()>;
    /// Makes the row of a new pack. Ids rise and are never given twice.
    async fn begin_pack(&self) -> Result<PackId>;
    /// May be said again. Errors: `Conflict` when the pack has no row, was set aside, or holds more than `size_bytes`.
    async fn seal_pack(&self, pack: PackId, size_bytes: u64) -> Result<()>;
    /// Errors: `NotFound`.
    async fn set_pack_aside(&self, pack: PackId) -> Result<()>;
    async fn packs(&self) -> Result<Vec<PackRecord>>;
    /// Frames of the pack that were committed without a sync, in order of their offsets.
    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>>;
    /// Lets go of those that begin below `synced_bytes`, and of those of all sealed packs.
    async fn forget_redo(&self, pack: PackId, synced_bytes: u64) -> Result<()>;
    /// Such frames of packs that were set aside, with the chunks that need them.
    async fn stranded_redo(&self, count_max: u32) -> Result<Vec<(ChunkId, RedoFrame)>>;
    /// As `move_chunks`, for stranded frames that were stored anew; lets go of those that no chunk needs any more.
    async fn rescue_chunks(&self, moves: Vec<ChunkMove>) -> Result<u64>;

    // ---- collection (docs/adr/0010-collection.md) ----------------------------------------------------------------

    /// Begins a cycle: references that are made from now on carry the epoch that this gives.
    async fn raise_epoch(&self) -> Result<i64>;
    /// The chunks that manifests name, `segment_count_max` segments at a time, in the order of the manifests. Pages are
    /// snapshots of their own: a reference never moves behind the place where a walk stands.
    async fn references(
        &self,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<ReferencePage>;
    /// Chunks after `after` that were last referred to before `epoch`, by id.
    async fn stale_chunks(&self, after: ChunkId, epoch: i64, count_max: u32) -> Result<Vec<StoredChunk>>;
    /// Deletes the rows of those chunks that have not been referred to since `epoch` began.
    async fn sweep_chunks(&self, ids: Vec<ChunkId>, epoch: i64) -> Result<Swept>;
    /// Every pack with what of it is alive, in order of its id.
    async fn pack_usage(&self) -> Result<Vec<PackUsage>>;
    /// The chunks whose frames stand in a pack, in order of their offsets; as many as a pack has frames at most.
    async fn chunks_in_pack(&self, pack: PackId) -> Result<Vec<StoredChunk>>;
    /// Notes that frames were copied and synced; gives how many rows still stood where they were said to. The others
    /// stay as they are. Errors: `Unavailable` when a pack they were copied to is doomed or gone.
    async fn move_chunks(&self, moves: Vec<ChunkMove>) -> Result<u64>;
    /// Dooms a sealed pack that no row names: from then on none can. Gives `false` while one does.
    async fn doom_pack(&self, pack: PackId, at: Timestamp) -> Result<bool>;
    /// Packs that were doomed at least two cycles ago and not after `doomed_before`, checked anew to have no rows.
    async fn erasable_packs(&self, doomed_before: Timestamp) -> Result<Vec<PackUsage>>;
    /// Deletes the row of a doomed pack whose file is gone. Errors: `Conflict` unless it is doomed and without rows.
    async fn forget_pack(&self, pack: PackId) -> Result<()>;

    // ---- scrubbing -----------------------------------------------------------------------------------------------

    /// Begins a scrub: what an earlier one found is forgotten. Doubted chunks stay doubted.
    async fn begin_scrub(&self, at: Timestamp) -> Result<ScrubState>;
    /// Notes that a pack was checked. With damage its pack is set aside, and chunks whose frames begin in a damaged
    /// stretch count as not stored until someone stores them anew.
    async fn note_scrubbed(&self, scrubbed: ScrubbedPack) -> Result<()>;
    async fn end_scrub(&self, at: Timestamp) -> Result<ScrubState>;
    async fn scrub_state(&self) -> Result<ScrubState>;
    /// What the last scrub found, by pack and offset; the first 10,000.
    async fn scrub_damage(&self) -> Result<Vec<PackDamage>>;
    /// Which contents name one of these chunks, `segment_count_max` segments at a time, as in `references`.
    async fn contents_naming(
        &self,
        chunks: Vec<ChunkId>,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<NamingPage>;
    /// Whose these contents are. Takes a look at every file: for the rare moment in which something is damaged.
    async fn owners(&self, manifests: Vec<ManifestId>) -> Result<Vec<ContentOwner>>;

    // ---- checking ------------------------------------------------------------------------------------------------

    /// What the database says of its own file: reads every page.
    async fn check_file(&self) -> Result<Vec<Finding>>;
    /// Some contents, in order of their manifests: whole, with a row for every chunk, and owned once.
    async fn check_contents(&self, after: ManifestId, count_max: u32) -> Result<ContentCheck>;
    /// Versions and open uploads against their contents.
    async fn check_versions(&self) -> Result<Vec<Finding>>;
    /// Every sum against what it counts.
    async fn check_sums(&self) -> Result<Vec<Finding>>;
    /// Writes every sum anew; gives how many were wrong.
    async fn mend_sums(&self) -> Result<u64>;
    /// The row of one pack, if it has one.
    async fn pack(&self, pack: PackId) -> Result<Option<PackUsage>>;

    // ---- uploads -------------------------------------------------------------------------------------------------

    /// Opens a session. If a file stands under the key, its id replaces the preliminary one. Errors: `NotFound` (bucket).
    async fn create_upload(&self, upload: NewUpload) -> Result<Upload>;
    /// Errors: `NotFound`; `Gone` once expired or terminated.
    async fn upload(&self, id: &UploadId) -> Result<UploadRecord>;
    /// The newest upload that was opened under this preliminary file id, whatever its state. Errors: `NotFound`.
    async fn upload_of_file(&self, file_id: &FileId) -> Result<Upload>;
    /// Adds durable bytes. Errors: `PreconditionFailed` when the offset differs, `Gone`, `NotFound`, `Conflict` when
    /// completed, `Unavailable` when a known chunk has no row any more (the caller stores those bytes again).
    async fn append_upload(&self, progress: UploadProgress) -> Result<Upload>;
    /// Says how long an upload will be that did not say so when it was opened. May be said again. Errors: `InvalidInput` when
    /// another length was said before or more bytes are there, `Gone`, `NotFound`, `Conflict` when completed.
    async fn announce_upload_size(&self, id: &UploadId, size_bytes: u64) -> Result<Upload>;
    /// Opens a session that has what the parts have, one behind the other, and goes on with this state of their SHA-256; they
    /// end. No byte is copied. Asked again with the same parts, bucket, key and owner, gives the session that they were
    /// joined to. Errors: `NotFound`, `Gone`; `Conflict`
    /// when one is no part, has bytes missing or a tail, was joined otherwise, or lies in another dedup domain.
    async fn join_uploads(
        &self,
        upload: NewUpload,
        parts: Vec<UploadId>,
        sha256_state: Vec<u8>,
    ) -> Result<Upload>;
    /// Ends an open session and forgets its bytes. Errors: `NotFound`, `Gone`, `Conflict` when completed.
    async fn terminate_upload(&self, id: &UploadId, at: Timestamp) -> Result<()>;
    /// Ends up to `limit` sessions whose time is over, but for those that `receiving` names: bytes arrive in them. Gives
    /// their number. Sessions behind a plain PUT (`is_announced: false`) of an earlier process are ended by `recover`.
    async fn expire_uploads(&self, now: Timestamp, limit: u32, receiving: HashSet<UploadId>) -> Result<u64>;

    /// Whether so many bytes fit under the bucket's quota right now, in place of those that they replace; the commit asks
    /// again. Errors: `NotFound`, `StorageFull`.
    async fn check_quota(
        &self,
        bucket: &BucketName,
        quota_bytes: u64,
        size_bytes: u64,
        replaced_bytes: u64,
    ) -> Result<()>;

    // ---- files ---------------------------------------------------------------------------------------------------

    /// The commit: chunk rows, manifest, version, usage, runs, events, the end of the upload.
    /// A key of idempotency that was used in the last day answers with what it made, and its upload ends.
    /// Errors: `PreconditionFailed`, `StorageFull` (quota), `NotFound` (bucket, upload), `Gone` (upload), `Conflict`
    /// (upload completed, or the key of idempotency made another file), `Unavailable` when a known chunk has no row any
    /// more, `Internal` when the chunks do not add up to `size_bytes`.
    async fn commit_version(&self, version: NewVersion) -> Result<CommittedVersion>;
    /// The current version, or the one asked for. A preliminary id of a completed upload finds its file.
    /// Errors: `NotFound`.
    async fn file(&self, file: &FileRef, version: Option<u32>) -> Result<FileRecord>;
    /// As `file`, with the first chunks of `range` (`None`: of all of it), at most `count_max`, for who is about to read:
    /// none when they cannot be found, which a read of its own will tell.
    async fn open_file(
        &self,
        file: &FileRef,
        version: Option<u32>,
        range: Option<ByteRange>,
        count_max: usize,
    ) -> Result<(FileRecord, Vec<PlacedChunk>)>;
    /// Newest first, the newest 1,000, without reports. `created_at` is when that version came. Errors: `NotFound`.
    async fn versions(&self, id: &FileId) -> Result<Vec<File>>;
    /// One page, without reports. A page looks at a bounded number of rows: a filter that matches little may give fewer
    /// than `limit` entries, even none, and still a cursor; only a page without one is the last.
    /// Errors: `NotFound`; `InvalidInput` for a cursor of another query, a SHA-256 that is none, or a delimiter in an
    /// order by time.
    async fn list_files(&self, bucket: &BucketName, query: FileQuery) -> Result<FilePage>;
    /// Which of these SHA-256 (hex) some current version in the bucket's dedup domain has.
    async fn known_sha256(&self, bucket: &BucketName, sha256: Vec<String>) -> Result<Vec<String>>;
    /// Errors: `NotFound`, `PreconditionFailed`, `InvalidInput` when too many labels result.
    async fn update_file(&self, id: &FileId, patch: FilePatch, at: Timestamp) -> Result<File>;
    /// Deletes up to `limit` files whose time is over, each as `delete_file` does. Gives their number.
    async fn expire_files(&self, now: Timestamp, limit: u32) -> Result<u64>;
    /// Deletes the file with all its versions, or is `NotFound`; runs that wait are cancelled.
    async fn delete_file(
        &self,
        id: &FileId,
        condition_etags: Option<Vec<String>>,
        at: Timestamp,
    ) -> Result<()>;
    /// The file that this idempotency key made, if it was used by this owner in the last day.
    async fn file_of_idempotency_key(
        &self,
        owner: &UserName,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<FileId>>;

    // ---- rules and runs ------------------------------------------------------------------------------------------

    /// Keeps the rule; gives it the next version if its meaning changed. All other rules stay.
    async fn put_rule(&self, rule: Rule, at: Timestamp) -> Result<Rule>;
    /// Rules at their newest version, by name. Rules not among `keep` at start-up are retired with `retire_rules`.
    async fn list_rules(&self) -> Result<Vec<Rule>>;
    async fn retire_rules(&self, keep: Vec<RuleName>) -> Result<()>;
    /// As `put_rule`, for a rule that was written over the API and is still there after a restart.
    async fn write_rule(&self, rule: Rule, at: Timestamp) -> Result<Rule>;
    /// Deletes a rule that was written; `instead` takes its place, or none.
    async fn erase_rule(&self, name: &RuleName, instead: Option<Rule>, at: Timestamp) -> Result<Erased>;
    /// Rules that were written, by name, as they were written.
    async fn written_rules(&self) -> Result<Vec<Rule>>;
    /// Adds a run to a file's current version. Errors: `NotFound`.
    async fn create_run(&self, file: &FileId, run: NewRun, at: Timestamp) -> Result<Run>;
    /// Errors: `NotFound`.
    async fn run(&self, id: &RunId) -> Result<Run>;
    async fn runs_of_file(&self, id: &FileId) -> Result<Vec<Run>>;
    /// Newest first; pages may be short as in `list_files`. Errors: `NotFound` (file), `InvalidInput` (cursor).
    async fn list_runs(&self, query: RunQuery) -> Result<RunPage>;
    /// Takes due runs, the highest priority first and among equals every rule and bucket in turn; for each the lease
    /// number and the attempt rise by one. A lease that is over ends first: that attempt counts, and a run without
    /// attempts left is `dead` instead of due. What was taken carries its file without reports.
    async fn claim_runs(&self, asked: ClaimRuns) -> Result<ClaimedRuns>;
    /// Takes this run, whoever's turn it is, if it is due. `None`: ended, cancelled, not due yet, or held.
    async fn claim_run(
        &self,
        id: &RunId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<LeasedRun>>;
    /// Writes what a worker says, if its lease holds; rolls the file's state up when the run ends: a required run that is
    /// dead or cancelled makes the file `failed`; else it is `processing` until all have ended, then `ready`. Runs of a
    /// superseded version change that version only. A cancelled run takes nothing more, and its worker is told.
    /// Errors: `InvalidInput` when a step is not the run's, a report is too large, or too many labels result; nothing of
    /// the whole report is written then.
    async fn report_run(&self, report: RunReport) -> Result<ReportOutcome>;
    /// Errors: `NotFound`, `Conflict` unless dead or cancelled. The file goes back to `processing`; attempts begin anew.
    async fn retry_run(&self, id: &RunId, at: Timestamp) -> Result<Run>;
    /// The same for many; gives how many were dead or cancelled. The others stay as they are.
    async fn retry_runs(&self, ids: Vec<RunId>, at: Timestamp) -> Result<u64>;
    /// Errors: `NotFound`, `Conflict` once ended.
    async fn cancel_run(&self, id: &RunId, at: Timestamp) -> Result<Run>;
    /// Runs that are due by `until`, some of each rule and bucket, and those whose lease is over by then; the sweeper
    /// offers them to the queue again.
    async fn due_runs(&self, until: Timestamp, limit: u32) -> Result<Vec<DueRun>>;
    /// Makes runs due that a clock which was ahead put off: queued ones, and what waits longer than any run has to.
    /// Gives their number.
    async fn pull_up_runs(&self, now: Timestamp) -> Result<u64>;

    // ---- events (the outbox) -------------------------------------------------------------------------------------

    /// Kept events after a point, oldest first.
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>>;
    /// The newest kept event's number; 0 if there is none.
    async fn last_event(&self) -> Result<EventSeq>;
    /// Rises whenever events were committed, so that a follower knows when to look.
    fn event_signal(&self) -> tokio::sync::watch::Receiver<EventSeq>;
    /// Forgets events older than `before`, about `limit` at most; gives their number. Those that a clock which was ahead
    /// dated after `now` go with the ones behind them.
    async fn prune_events(&self, now: Timestamp, before: Timestamp, limit: u32) -> Result<u64>;

    /// Forgets keys of idempotency and refresh tokens whose time is over, `limit` of each at most; gives their number.
    async fn prune_keys(&self, now: Timestamp, limit: u32) -> Result<u64>;

    // ---- users, keys, refresh tokens -----------------------------------------------------------------------------

    /// Errors: `Conflict` when the name is taken.
    async fn create_user(
        &self,
        name: UserName,
        password_hash: Option<String>,
        grants: Vec<Grant>,
        at: Timestamp,
    ) -> Result<User>;
    /// Errors: `NotFound`.
    async fn user(&self, name: &UserName) -> Result<UserRecord>;
    async fn list_users(&self) -> Result<Vec<User>>;
    /// `None` leaves a part as it is. A new password or `disabled` ends the user's refresh tokens. Errors: `NotFound`.
    async fn update_user(
        &self,
        name: &UserName,
        password_hash: Option<String>,
        grants: Option<Vec<Grant>>,
        disabled: Option<bool>,
        at: Timestamp,
    ) -> Result<User>;
    /// Deletes the user with keys and tokens. Errors: `NotFound`.
    async fn delete_user(&self, name: &UserName) -> Result<()>;
    /// Errors: `NotFound` (user), `Conflict` (id).
    async fn create_api_key(&self, key: ApiKey, secret_hash: [u8; 32]) -> Result<()>;
    /// Errors: `NotFound`.
    async fn api_key(&self, id: &ApiKeyId) -> Result<ApiKeyRecord>;
    async fn list_api_keys(&self, user: Option<UserName>) -> Result<Vec<ApiKey>>;
    /// Notes a use, at most once a minute. A key that is gone is no error.
    async fn touch_api_key(&self, id: &ApiKeyId, at: Timestamp) -> Result<()>;
    /// Errors: `NotFound`.
    async fn delete_api_key(&self, id: &ApiKeyId) -> Result<()>;
    /// Errors: `NotFound` (user).
    async fn add_refresh_token(&self, row: RefreshRow) -> Result<()>;
    /// Swaps an unused, unexpired token for `next` (same family); a used one ends the family.
    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next_hash: [u8; 32],
        next_expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Rotation>;

    // ---- the whole -----------------------------------------------------------------------------------------------

    /// Sums per bucket, and over all with `None` first.
    async fn usage(&self) -> Result<Vec<Usage>>;
    async fn totals(&self) -> Result<StoreTotals>;
    /// What a start after a crash mends: ends sessions behind plain PUTs, makes runs that an earlier process held due
    /// again (the attempt counts). Run once, before anything else.
    async fn recover(&self, now: Timestamp) -> Result<()>;
    /// Answers when the catalogue can read and write.
    async fn ping(&self) -> Result<()>;
}
