//! The service behind the seam. Each call goes to the part that has a method of the same name. What a call writes is one
//! act of its caller, made here.

use async_trait::async_trait;
use usp_api::{
    AppendUpload, ByteStream, Caller, CheckReport, CollectReport, CreatedApiKey, CreatedUser, DamageReport,
    EventStream, FileStatus, NewApiKey, NewBucket, NewFile, NewUser, PutOutcome, ReadFile, Readiness,
    Reading, RetriedRuns, RuleTest, ScrubOptions, ScrubStatus, Stats, StorageApi, StorageCalls, TokenGrant,
    TokenPair, UserPatch, WrittenRule,
};
use usp_auth::Credential;
use usp_model::{
    ApiKey, ApiKeyId, Bucket, BucketName, BucketPolicy, ContentDigest, EventQuery, EventSeq, File, FileId,
    FilePage, FilePatch, FileQuery, FileRef, LeasedRun, Principal, QueueStatus, ReportOutcome, Result, Rule,
    RuleName, Run, RunId, RunPage, RunQuery, RunReport, Upload, UploadId, User, UserName,
};

use crate::storage::Storage;

#[async_trait]
impl StorageApi for Storage {
    async fn authenticate(&self, credential: Credential) -> Result<Principal> {
        self.identity.authenticate(credential).await
    }

    async fn issue_token(&self, grant: TokenGrant) -> Result<TokenPair> {
        self.identity.issue_token(grant).await
    }

    async fn readiness(&self) -> Result<Readiness> {
        self.upkeep.readiness(self.core.duty("readiness")).await
    }

    async fn put(&self, caller: &Caller, file: NewFile, content: ByteStream) -> Result<PutOutcome> {
        let outcome = self.uploads.put(caller, self.core.act(caller), file, content).await;
        self.core.metrics.uploaded(&outcome);
        outcome
    }

    async fn append(&self, caller: &Caller, append: AppendUpload, content: ByteStream) -> Result<Upload> {
        let outcome = self.uploads.append(caller, self.core.act(caller), append, content).await;
        self.core.metrics.failed(&outcome);
        outcome
    }

    async fn read(&self, caller: &Caller, read: ReadFile) -> Result<Reading> {
        let outcome = self.files.read(caller, read).await;
        self.core.metrics.failed(&outcome);
        outcome
    }

    async fn watch(&self, caller: &Caller, query: EventQuery) -> Result<EventStream> {
        self.events.watch(caller, query).await
    }
}

#[async_trait]
impl StorageCalls for Storage {
    async fn create_bucket(&self, caller: &Caller, bucket: NewBucket) -> Result<Bucket> {
        self.buckets.create_bucket(caller, self.core.act(caller), bucket).await
    }

    async fn get_bucket(&self, caller: &Caller, name: BucketName) -> Result<Bucket> {
        self.buckets.get_bucket(caller, name).await
    }

    async fn list_buckets(&self, caller: &Caller) -> Result<Vec<Bucket>> {
        self.buckets.list_buckets(caller).await
    }

    async fn update_bucket(&self, caller: &Caller, name: BucketName, policy: BucketPolicy) -> Result<Bucket> {
        self.buckets.update_bucket(caller, self.core.act(caller), name, policy).await
    }

    async fn delete_bucket(&self, caller: &Caller, name: BucketName) -> Result<()> {
        self.buckets.delete_bucket(caller, self.core.act(caller), name).await
    }

    async fn start_upload(&self, caller: &Caller, file: NewFile) -> Result<Upload> {
        self.uploads.start_upload(caller, self.core.act(caller), file).await
    }

    async fn start_part(
        &self,
        caller: &Caller,
        bucket: BucketName,
        size_bytes: Option<u64>,
    ) -> Result<Upload> {
        self.uploads.start_part(caller, self.core.act(caller), bucket, size_bytes).await
    }

    async fn join_uploads(&self, caller: &Caller, file: NewFile, parts: Vec<UploadId>) -> Result<Upload> {
        self.uploads.join_uploads(caller, self.core.act(caller), file, parts).await
    }

    async fn get_upload(&self, caller: &Caller, id: UploadId) -> Result<Upload> {
        self.uploads.get_upload(caller, id).await
    }

    async fn finish_upload(
        &self,
        caller: &Caller,
        id: UploadId,
        expected_digests: Vec<ContentDigest>,
    ) -> Result<PutOutcome> {
        let outcome = self.uploads.finish_upload(caller, self.core.act(caller), id, expected_digests).await;
        self.core.metrics.uploaded(&outcome);
        outcome
    }

    async fn terminate_upload(&self, caller: &Caller, id: UploadId) -> Result<()> {
        self.uploads.terminate_upload(caller, self.core.act(caller), id).await
    }

    async fn get_file(&self, caller: &Caller, file: FileRef, version: Option<u32>) -> Result<File> {
        self.files.get_file(caller, file, version).await
    }

    async fn list_versions(&self, caller: &Caller, id: FileId) -> Result<Vec<File>> {
        self.files.list_versions(caller, id).await
    }

    async fn list_files(&self, caller: &Caller, bucket: BucketName, query: FileQuery) -> Result<FilePage> {
        self.files.list_files(caller, bucket, query).await
    }

    async fn update_file(&self, caller: &Caller, id: FileId, patch: FilePatch) -> Result<File> {
        self.files.update_file(caller, self.core.act(caller), id, patch).await
    }

    async fn delete_file(
        &self,
        caller: &Caller,
        file: FileRef,
        condition_etags: Option<Vec<String>>,
    ) -> Result<()> {
        self.files.delete_file(caller, self.core.act(caller), file, condition_etags).await
    }

    async fn file_status(&self, caller: &Caller, id: FileId) -> Result<FileStatus> {
        self.files.file_status(caller, id).await
    }

    async fn known_contents(
        &self,
        caller: &Caller,
        bucket: BucketName,
        sha256: Vec<String>,
    ) -> Result<Vec<String>> {
        self.files.known_contents(caller, bucket, sha256).await
    }

    async fn list_rules(&self, caller: &Caller) -> Result<Vec<Rule>> {
        self.rules.list_rules(caller)
    }

    async fn get_rule(&self, caller: &Caller, name: RuleName) -> Result<Rule> {
        self.rules.get_rule(caller, &name)
    }

    async fn put_rule(&self, caller: &Caller, rule: Rule) -> Result<WrittenRule> {
        self.rules.put_rule(caller, self.core.act(caller), rule).await
    }

    async fn delete_rule(&self, caller: &Caller, name: RuleName) -> Result<()> {
        self.rules.delete_rule(caller, self.core.act(caller), name).await
    }

    async fn test_rule(&self, caller: &Caller, name: RuleName, file: FileRef) -> Result<RuleTest> {
        self.rules.test_rule(caller, name, file).await
    }

    async fn create_run(&self, caller: &Caller, id: FileId, rule: RuleName) -> Result<Run> {
        self.runs.create_run(caller, self.core.act(caller), id, rule).await
    }

    async fn list_runs(&self, caller: &Caller, query: RunQuery) -> Result<RunPage> {
        self.runs.list_runs(caller, query).await
    }

    async fn get_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.runs.get_run(caller, id).await
    }

    async fn retry_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.runs.retry_run(caller, self.core.act(caller), id).await
    }

    async fn retry_runs(&self, caller: &Caller, query: RunQuery) -> Result<RetriedRuns> {
        self.runs.retry_runs(caller, self.core.act(caller), query).await
    }

    async fn cancel_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.runs.cancel_run(caller, self.core.act(caller), id).await
    }

    async fn lease_runs(
        &self,
        caller: &Caller,
        worker: String,
        count_max: u32,
        wait_ms: u64,
    ) -> Result<Vec<LeasedRun>> {
        let act = self.core.act(caller);
        let outcome = self.runs.lease_runs(caller, act, &worker, count_max, wait_ms).await;
        self.core.metrics.failed(&outcome);
        outcome
    }

    async fn lease_offered(
        &self,
        caller: &Caller,
        worker: String,
        offers: Vec<RunId>,
    ) -> Result<Vec<LeasedRun>> {
        self.runs.lease_offered(caller, self.core.act(caller), &worker, offers).await
    }

    async fn report_run(&self, caller: &Caller, report: RunReport) -> Result<ReportOutcome> {
        let outcome = self.runs.report_run(caller, self.core.act(caller), report).await;
        self.core.metrics.failed(&outcome);
        outcome
    }

    async fn last_event(&self, caller: &Caller) -> Result<EventSeq> {
        self.events.last_event(caller).await
    }

    async fn create_user(&self, caller: &Caller, user: NewUser) -> Result<CreatedUser> {
        self.identity.create_user(caller, self.core.act(caller), user).await
    }

    async fn list_users(&self, caller: &Caller) -> Result<Vec<User>> {
        self.identity.list_users(caller).await
    }

    async fn update_user(&self, caller: &Caller, name: UserName, patch: UserPatch) -> Result<User> {
        self.identity.update_user(caller, self.core.act(caller), name, patch).await
    }

    async fn delete_user(&self, caller: &Caller, name: UserName) -> Result<()> {
        self.identity.delete_user(caller, self.core.act(caller), name).await
    }

    async fn create_api_key(&self, caller: &Caller, key: NewApiKey) -> Result<CreatedApiKey> {
        self.identity.create_api_key(caller, self.core.act(caller), key).await
    }

    async fn list_api_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>> {
        self.identity.list_api_keys(caller).await
    }

    async fn revoke_api_key(&self, caller: &Caller, id: ApiKeyId) -> Result<()> {
        self.identity.revoke_api_key(caller, self.core.act(caller), id).await
    }

    async fn stats(&self, caller: &Caller) -> Result<Stats> {
        self.upkeep.stats(caller).await
    }

    async fn queue_status(&self, caller: &Caller) -> Result<QueueStatus> {
        self.runs.queue_status(caller).await
    }

    async fn collect(&self, caller: &Caller, dry_run: bool) -> Result<CollectReport> {
        self.upkeep.collect(caller, self.core.act(caller), dry_run).await
    }

    async fn start_scrub(&self, caller: &Caller, options: ScrubOptions) -> Result<ScrubStatus> {
        self.upkeep.start_scrub(caller, self.core.act(caller), options).await
    }

    async fn stop_scrub(&self, caller: &Caller) -> Result<ScrubStatus> {
        self.upkeep.stop_scrub(caller).await
    }

    async fn scrub_status(&self, caller: &Caller) -> Result<ScrubStatus> {
        self.upkeep.scrub_status(caller).await
    }

    async fn check_store(&self, caller: &Caller, is_deep: bool) -> Result<CheckReport> {
        self.upkeep.check_store(caller, is_deep).await
    }

    async fn store_damage(&self, caller: &Caller) -> Result<DamageReport> {
        self.upkeep.store_damage(caller).await
    }
}
