//! The seam, method by method: which connection answers, and which module knows how.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::Connection;
use usp_model::{
    ApiKey, ApiKeyId, Bucket, BucketName, BucketPolicy, ByteRange, ChunkId, Digest, Event, EventQuery,
    EventSeq, File, FileId, FilePage, FilePatch, FileQuery, FileRef, Finding, Grant, LeasedRun, ManifestId,
    PackDamage, PackId, PackRecord, PlacedChunk, RedoFrame, ReportOutcome, Result, Rule, RuleName, Run,
    RunId, RunPage, RunQuery, RunReport, StoreTotals, StoredChunk, Timestamp, Upload, UploadId, Usage, User,
    UserName,
};

use super::ask::Ask;
use super::tx::Tx;
use super::users::UserPatch;
use super::{
    SqliteCatalog, buckets, check, chunks, claim, collect, commit, events, file_list, files, idempotency,
    keys, manifests, redo, report, rules, run_list, run_row, runs, scrub, totals, uploads, users,
};
use crate::Catalog;
use crate::records::{
    ApiKeyRecord, BucketRecord, ChunkMove, ClaimRuns, ClaimedRuns, CommittedVersion, ContentCheck,
    ContentOwner, DueRun, Erased, FileRecord, NamingPage, NewRun, NewUpload, NewVersion, PackUsage,
    ReferencePage, ReferencePlace, RefreshRow, Rotation, ScrubState, ScrubbedPack, Swept, UploadProgress,
    UploadRecord, UserRecord,
};

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn create_bucket(&self, name: BucketName, policy: BucketPolicy, at: Timestamp) -> Result<Bucket> {
        self.writer.write("create bucket", move |tx| buckets::create(tx, &name, policy, at)).await
    }

    async fn bucket(&self, name: &BucketName) -> Result<BucketRecord> {
        let name = name.clone();
        self.readers.read("find bucket", move |conn| buckets::record(conn, &name)).await
    }

    async fn list_buckets(&self, visible: Option<Vec<BucketName>>) -> Result<Vec<Bucket>> {
        self.readers.read("list buckets", move |conn| buckets::list(conn, visible.as_deref())).await
    }

    async fn update_bucket(&self, name: &BucketName, policy: BucketPolicy, at: Timestamp) -> Result<Bucket> {
        let name = name.clone();
        self.writer.write("update bucket", move |tx| buckets::update(tx, &name, policy, at)).await
    }

    async fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        let name = name.clone();
        self.writer.write("delete bucket", move |tx| buckets::delete(tx, &name)).await
    }

    async fn chunk_digests(&self, after: ChunkId, count_max: u32) -> Result<Vec<(ChunkId, Digest)>> {
        self.readers.read("list digests", move |conn| chunks::digests(conn, after, count_max)).await
    }

    async fn lookup_chunks(&self, digests: Vec<Digest>) -> Result<Vec<Option<StoredChunk>>> {
        self.readers.read("look chunks up", move |conn| chunks::lookup(conn, &digests)).await
    }

    async fn resolve(
        &self,
        manifest: ManifestId,
        range: ByteRange,
        count_max: usize,
    ) -> Result<Vec<PlacedChunk>> {
        self.readers
            .read("find chunks of content", move |conn| manifests::resolve(conn, manifest, range, count_max))
            .await
    }

    async fn doubt_chunks(&self, pack: PackId, range: ByteRange) -> Result<()> {
        self.writer.write("doubt chunks", move |tx| chunks::doubt(tx, pack, range)).await
    }

    async fn begin_pack(&self) -> Result<PackId> {
        self.writer.write("begin pack", chunks::begin_pack).await
    }

    async fn seal_pack(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        self.writer.write("seal pack", move |tx| chunks::seal_pack(tx, pack, size_bytes)).await
    }

    async fn set_pack_aside(&self, pack: PackId) -> Result<()> {
        self.writer.write("set pack aside", move |tx| chunks::set_pack_aside(tx, pack)).await
    }

    async fn redo(&self, pack: PackId) -> Result<Vec<RedoFrame>> {
        self.readers.read("list unsynced frames", move |conn| redo::of_pack(conn, pack)).await
    }

    async fn stranded_redo(&self, count_max: u32) -> Result<Vec<(ChunkId, RedoFrame)>> {
        self.readers.read("list stranded frames", move |conn| redo::stranded(conn, count_max)).await
    }

    async fn rescue_chunks(&self, moves: Vec<ChunkMove>) -> Result<u64> {
        self.writer.write("move stranded chunks", move |tx| redo::rescue(tx, &moves)).await
    }

    async fn forget_redo(&self, pack: PackId, synced_bytes: u64) -> Result<()> {
        self.writer.write("forget synced frames", move |tx| redo::forget(tx, pack, synced_bytes)).await
    }

    async fn packs(&self) -> Result<Vec<PackRecord>> {
        self.readers.read("list packs", chunks::packs).await
    }

    async fn raise_epoch(&self) -> Result<i64> {
        self.writer.write("raise epoch", collect::raise_epoch).await
    }

    async fn references(
        &self,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<ReferencePage> {
        self.readers
            .read("mark chunks", move |conn| collect::references(conn, after, segment_count_max))
            .await
    }

    async fn stale_chunks(&self, after: ChunkId, epoch: i64, count_max: u32) -> Result<Vec<StoredChunk>> {
        self.readers
            .read("find stale chunks", move |conn| collect::stale_chunks(conn, after, epoch, count_max))
            .await
    }

    async fn sweep_chunks(&self, ids: Vec<ChunkId>, epoch: i64) -> Result<Swept> {
        self.writer.write("sweep chunks", move |tx| collect::sweep(tx, &ids, epoch)).await
    }

    async fn pack_usage(&self) -> Result<Vec<PackUsage>> {
        self.readers.read("measure packs", collect::pack_usage).await
    }

    async fn chunks_in_pack(&self, pack: PackId) -> Result<Vec<StoredChunk>> {
        self.readers.read("list chunks of pack", move |conn| collect::chunks_in_pack(conn, pack)).await
    }

    async fn move_chunks(&self, moves: Vec<ChunkMove>) -> Result<u64> {
        self.writer.write("move chunks", move |tx| collect::move_chunks(tx, &moves)).await
    }

    async fn doom_pack(&self, pack: PackId, at: Timestamp) -> Result<bool> {
        self.writer.write("doom pack", move |tx| collect::doom(tx, pack, at)).await
    }

    async fn erasable_packs(&self, doomed_before: Timestamp) -> Result<Vec<PackUsage>> {
        self.writer.write("find doomed packs", move |tx| collect::erasable(tx, doomed_before)).await
    }

    async fn forget_pack(&self, pack: PackId) -> Result<()> {
        self.writer.write("forget pack", move |tx| collect::forget(tx, pack)).await
    }

    async fn begin_scrub(&self, at: Timestamp) -> Result<ScrubState> {
        self.writer.write("begin scrub", move |tx| scrub::begin(tx, at)).await
    }

    async fn note_scrubbed(&self, scrubbed: ScrubbedPack) -> Result<()> {
        self.writer.write("note scrubbed pack", move |tx| scrub::note(tx, &scrubbed)).await
    }

    async fn end_scrub(&self, at: Timestamp) -> Result<ScrubState> {
        self.writer.write("end scrub", move |tx| scrub::end(tx, at)).await
    }

    async fn scrub_state(&self) -> Result<ScrubState> {
        self.readers.read("look at scrub", scrub::state).await
    }

    async fn scrub_damage(&self) -> Result<Vec<PackDamage>> {
        self.readers.read("list damage", scrub::damage).await
    }

    async fn contents_naming(
        &self,
        chunks: Vec<ChunkId>,
        after: Option<ReferencePlace>,
        segment_count_max: u32,
    ) -> Result<NamingPage> {
        let chunks = chunks.into_iter().collect();
        self.readers
            .read("find contents", move |conn| scrub::naming(conn, &chunks, after, segment_count_max))
            .await
    }

    async fn owners(&self, manifests: Vec<ManifestId>) -> Result<Vec<ContentOwner>> {
        self.readers.read("find owners", move |conn| scrub::owners(conn, &manifests)).await
    }

    async fn check_file(&self) -> Result<Vec<Finding>> {
        self.readers.read("check catalogue", check::file).await
    }

    async fn check_contents(&self, after: ManifestId, count_max: u32) -> Result<ContentCheck> {
        self.readers.read("check contents", move |conn| check::contents(conn, after, count_max)).await
    }

    async fn check_versions(&self) -> Result<Vec<Finding>> {
        self.readers.read("check versions", check::versions).await
    }

    async fn check_sums(&self) -> Result<Vec<Finding>> {
        self.readers.read("check sums", check::sums).await
    }

    async fn mend_sums(&self) -> Result<u64> {
        self.writer.write("mend sums", check::mend_sums).await
    }

    async fn pack(&self, pack: PackId) -> Result<Option<PackUsage>> {
        self.readers.read("find pack", move |conn| collect::pack_usage_of(conn, pack)).await
    }

    async fn create_upload(&self, upload: NewUpload) -> Result<Upload> {
        self.writer.write("create upload", move |tx| uploads::create(tx, &upload)).await
    }

    async fn upload(&self, id: &UploadId) -> Result<UploadRecord> {
        let id = *id;
        self.readers.read("find upload", move |conn| uploads::record(conn, &id)).await
    }

    async fn upload_of_file(&self, file_id: &FileId) -> Result<Upload> {
        let file_id = *file_id;
        self.readers.read("find upload", move |conn| uploads::of_file(conn, &file_id)).await
    }

    async fn append_upload(&self, progress: UploadProgress) -> Result<Upload> {
        self.writer.write("append to upload", move |tx| uploads::append(tx, &progress)).await
    }

    async fn announce_upload_size(&self, id: &UploadId, size_bytes: u64) -> Result<Upload> {
        let id = *id;
        self.writer.write("announce size", move |tx| uploads::announce_size(tx, &id, size_bytes)).await
    }

    async fn join_uploads(
        &self,
        upload: NewUpload,
        parts: Vec<UploadId>,
        sha256_state: Vec<u8>,
    ) -> Result<Upload> {
        let join = move |tx: &Tx<'_>| uploads::join(tx, &upload, &parts, &sha256_state);
        self.writer.write_alone("join uploads", join).await
    }

    async fn terminate_upload(&self, id: &UploadId, at: Timestamp) -> Result<()> {
        let id = *id;
        self.writer.write("terminate upload", move |tx| uploads::terminate(tx, &id, at)).await
    }

    async fn expire_uploads(&self, now: Timestamp, limit: u32, receiving: HashSet<UploadId>) -> Result<u64> {
        self.writer.write("expire uploads", move |tx| uploads::expire(tx, now, limit, &receiving)).await
    }

    async fn commit_version(&self, version: NewVersion) -> Result<CommittedVersion> {
        self.writer.write("commit version", move |tx| commit::commit_version(tx, &version)).await
    }

    async fn file(&self, file: &FileRef, version: Option<u32>) -> Result<FileRecord> {
        let file = file.clone();
        self.readers.read("find file", move |conn| files::record(conn, &file, version)).await
    }

    async fn open_file(
        &self,
        file: &FileRef,
        version: Option<u32>,
        range: Option<ByteRange>,
        count_max: usize,
    ) -> Result<(FileRecord, Vec<PlacedChunk>)> {
        let file = file.clone();
        let open = move |conn: &_| {
            let record = files::record(conn, &file, version)?;
            let range = range.unwrap_or(ByteRange::whole(record.file.size_bytes));
            // Whether the caller may hear of damage is not known yet.
            let chunks = manifests::resolve(conn, record.manifest, range, count_max).unwrap_or_default();
            Ok((record, chunks))
        };
        self.readers.read("open file", open).await
    }

    async fn versions(&self, id: &FileId) -> Result<Vec<File>> {
        let id = *id;
        self.readers.read("list versions", move |conn| files::versions(conn, &id)).await
    }

    async fn list_files(&self, bucket: &BucketName, query: FileQuery) -> Result<FilePage> {
        let bucket = bucket.clone();
        self.readers.read("list files", move |conn| file_list::list(conn, &bucket, &query)).await
    }

    async fn known_sha256(&self, bucket: &BucketName, sha256: Vec<String>) -> Result<Vec<String>> {
        let bucket = bucket.clone();
        self.readers.read("look digests up", move |conn| files::known_sha256(conn, &bucket, sha256)).await
    }

    async fn update_file(&self, id: &FileId, patch: FilePatch, at: Timestamp) -> Result<File> {
        let id = *id;
        self.writer.write("update file", move |tx| files::update(tx, &id, &patch, at)).await
    }

    async fn expire_files(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.writer.write("expire files", move |tx| files::expire(tx, now, limit)).await
    }

    async fn delete_file(
        &self,
        id: &FileId,
        condition_etags: Option<Vec<String>>,
        at: Timestamp,
    ) -> Result<()> {
        let id = *id;
        self.writer
            .write("delete file", move |tx| files::delete(tx, &id, condition_etags.as_deref(), at))
            .await
    }

    async fn file_of_idempotency_key(
        &self,
        owner: &UserName,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<FileId>> {
        let owner = owner.clone();
        let key = key.to_owned();
        self.readers
            .read("find idempotency key", move |conn| idempotency::file_of(conn, &owner, &key, now))
            .await
    }

    async fn put_rule(&self, rule: Rule, at: Timestamp) -> Result<Rule> {
        self.writer.write("put rule", move |tx| rules::put(tx, rule, at)).await
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.readers.read("list rules", rules::list).await
    }

    async fn write_rule(&self, rule: Rule, at: Timestamp) -> Result<Rule> {
        self.writer.write("write rule", move |tx| rules::write(tx, rule, at)).await
    }

    async fn erase_rule(&self, name: &RuleName, instead: Option<Rule>, at: Timestamp) -> Result<Erased> {
        let name = name.clone();
        self.writer.write("erase rule", move |tx| rules::erase(tx, &name, instead, at)).await
    }

    async fn written_rules(&self) -> Result<Vec<Rule>> {
        self.readers.read("list rules", rules::written).await
    }

    async fn retire_rules(&self, keep: Vec<RuleName>) -> Result<()> {
        self.writer.write("retire rules", move |tx| rules::retire(tx, &keep)).await
    }

    async fn create_run(&self, file: &FileId, run: NewRun, at: Timestamp) -> Result<Run> {
        let file = *file;
        self.writer.write("create run", move |tx| runs::create(tx, &file, &run, at)).await
    }

    async fn run(&self, id: &RunId) -> Result<Run> {
        let id = *id;
        self.readers.read("find run", move |conn| Ok(run_row::get(conn, &id)?.run)).await
    }

    async fn runs_of_file(&self, id: &FileId) -> Result<Vec<Run>> {
        let id = *id;
        self.readers.read("list runs", move |conn| runs::of_file(conn, &id)).await
    }

    async fn list_runs(&self, query: RunQuery) -> Result<RunPage> {
        self.readers.read("list runs", move |conn| run_list::list(conn, &query)).await
    }

    async fn claim_runs(&self, asked: ClaimRuns) -> Result<ClaimedRuns> {
        self.writer.write("claim runs", move |tx| claim::claim(tx, &asked)).await
    }

    async fn claim_run(
        &self,
        id: &RunId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<LeasedRun>> {
        let id = *id;
        self.writer.write("claim run", move |tx| claim::claim_one(tx, &id, now, lease_until)).await
    }

    async fn report_run(&self, report: RunReport) -> Result<ReportOutcome> {
        self.writer.write("report run", move |tx| report::report_run(tx, report)).await
    }

    async fn retry_run(&self, id: &RunId, at: Timestamp) -> Result<Run> {
        let id = *id;
        self.writer.write("retry run", move |tx| runs::retry(tx, &id, at)).await
    }

    async fn retry_runs(&self, ids: Vec<RunId>, at: Timestamp) -> Result<u64> {
        self.writer.write("retry runs", move |tx| runs::retry_many(tx, &ids, at)).await
    }

    async fn cancel_run(&self, id: &RunId, at: Timestamp) -> Result<Run> {
        let id = *id;
        self.writer.write("cancel run", move |tx| runs::cancel(tx, &id, at)).await
    }

    async fn due_runs(&self, until: Timestamp, limit: u32) -> Result<Vec<DueRun>> {
        self.readers.read("list due runs", move |conn| claim::due(conn, until, limit)).await
    }

    async fn pull_up_runs(&self, now: Timestamp) -> Result<u64> {
        self.writer.write("pull up runs", move |tx| runs::pull_up(tx, now)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>> {
        self.readers.read("list events", move |conn| events::after(conn, &query)).await
    }

    async fn last_event(&self) -> Result<EventSeq> {
        self.readers.read("find last event", events::last).await
    }

    fn event_signal(&self) -> tokio::sync::watch::Receiver<EventSeq> {
        self.writer.events()
    }

    async fn prune_events(&self, now: Timestamp, before: Timestamp, limit: u32) -> Result<u64> {
        self.writer.write("prune events", move |tx| events::prune(tx, now, before, limit)).await
    }

    async fn prune_keys(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let prune =
            move |tx: &Tx<'_>| Ok(idempotency::prune(tx, now, limit)? + keys::prune_tokens(tx, now, limit)?);
        self.writer.write("prune keys", prune).await
    }

    async fn create_user(
        &self,
        name: UserName,
        password_hash: Option<String>,
        grants: Vec<Grant>,
        at: Timestamp,
    ) -> Result<User> {
        self.writer.write("create user", move |tx| users::create(tx, name, password_hash, grants, at)).await
    }

    async fn user(&self, name: &UserName) -> Result<UserRecord> {
        let name = name.clone();
        self.readers.read("find user", move |conn| users::record(conn, &name)).await
    }

    async fn list_users(&self) -> Result<Vec<User>> {
        self.readers.read("list users", users::list).await
    }

    async fn update_user(
        &self,
        name: &UserName,
        password_hash: Option<String>,
        grants: Option<Vec<Grant>>,
        disabled: Option<bool>,
        at: Timestamp,
    ) -> Result<User> {
        let name = name.clone();
        let patch = UserPatch { password_hash, grants, disabled };
        self.writer.write("update user", move |tx| users::update(tx, &name, patch, at)).await
    }

    async fn delete_user(&self, name: &UserName) -> Result<()> {
        let name = name.clone();
        self.writer.write("delete user", move |tx| users::delete(tx, &name)).await
    }

    async fn create_api_key(&self, key: ApiKey, secret_hash: [u8; 32]) -> Result<()> {
        self.writer.write("create API key", move |tx| keys::create(tx, &key, secret_hash)).await
    }

    async fn api_key(&self, id: &ApiKeyId) -> Result<ApiKeyRecord> {
        let id = id.clone();
        self.readers.read("find API key", move |conn| keys::record(conn, &id)).await
    }

    async fn list_api_keys(&self, user: Option<UserName>) -> Result<Vec<ApiKey>> {
        self.readers.read("list API keys", move |conn| keys::list(conn, user.as_ref())).await
    }

    async fn touch_api_key(&self, id: &ApiKeyId, at: Timestamp) -> Result<()> {
        let id = id.clone();
        let asked = id.clone();
        if !self.readers.read("find API key", move |conn| keys::wants_touch(conn, &asked, at)).await? {
            return Ok(());
        }
        self.writer.write("note use of API key", move |tx| keys::touch(tx, &id, at)).await
    }

    async fn delete_api_key(&self, id: &ApiKeyId) -> Result<()> {
        let id = id.clone();
        self.writer.write("delete API key", move |tx| keys::delete(tx, &id)).await
    }

    async fn add_refresh_token(&self, row: RefreshRow) -> Result<()> {
        self.writer.write("add refresh token", move |tx| keys::add_token(tx, &row)).await
    }

    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next_hash: [u8; 32],
        next_expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Rotation> {
        self.writer
            .write("rotate refresh token", move |tx| keys::rotate(tx, hash, next_hash, next_expires_at, now))
            .await
    }

    async fn check_quota(
        &self,
        bucket: &BucketName,
        quota_bytes: u64,
        size_bytes: u64,
        replaced_bytes: u64,
    ) -> Result<()> {
        let bucket = bucket.clone();
        let check = move |conn: &Connection| {
            let row = buckets::row(conn, &bucket)?;
            commit::check_quota(conn, &row, quota_bytes, size_bytes, replaced_bytes)
        };
        self.readers.read("check quota", check).await
    }

    async fn usage(&self) -> Result<Vec<Usage>> {
        self.readers.read("sum usage", totals::usage).await
    }

    async fn totals(&self) -> Result<StoreTotals> {
        self.readers.read("sum totals", totals::totals).await
    }

    async fn recover(&self, now: Timestamp) -> Result<()> {
        self.writer.write("recover", move |tx| totals::recover(tx, now)).await
    }

    async fn ping(&self) -> Result<()> {
        self.readers.read("read catalogue", |conn| conn.one("SELECT 1", [], |_row| Ok(()))).await?;
        self.writer.write("write catalogue", |_tx| Ok(())).await
    }
}
