//! The service behind the seam. Each method leads to the module that does it.

use async_trait::async_trait;
use usp_api::{
    AppendUpload, ByteStream, Caller, CheckReport, CollectReport, CreatedApiKey, CreatedUser, DamageReport,
    EventStream, FileStatus, NewApiKey, NewBucket, NewFile, NewUser, PutOutcome, ReadFile, Readiness,
    Reading, RetriedRuns, RuleTest, ScrubOptions, ScrubStatus, Stats, StorageApi, StorageCalls, TokenGrant,
    TokenPair, UserPatch, WrittenRule,
};
use usp_auth::{Credential, Permission, authorize};
use usp_model::{
    ApiKey, ApiKeyId, Bucket, BucketName, BucketPolicy, ContentDigest, ErrorKind, EventQuery, EventSeq, File,
    FileId, FilePage, FilePatch, FileQuery, FileRef, LeasedRun, Principal, QueueStatus, ReportOutcome,
    Result, Rule, RuleName, Run, RunId, RunPage, RunQuery, RunReport, Upload, UploadId, User, UserName,
};

use crate::collect::Space;
use crate::storage::Storage;

#[async_trait]
impl StorageApi for Storage {
    async fn authenticate(&self, credential: Credential) -> Result<Principal> {
        self.verify(credential).await
    }

    async fn issue_token(&self, grant: TokenGrant) -> Result<TokenPair> {
        self.trade_for_tokens(grant).await
    }

    async fn readiness(&self) -> Result<Readiness> {
        let catalog = self.catalog.ping(self.duty("readiness")).await.err();
        // Without its broker storage still takes files; they are processed more slowly.
        let queue = self.queue.trouble().map(|trouble| format!("the queue: {trouble}"));
        let ready = catalog.is_none();
        let catalog = catalog.map(|error| format!("the catalogue: {}", error.detail()));
        Ok(Readiness { ready, waiting_for: catalog.into_iter().chain(queue).collect() })
    }

    async fn put(&self, caller: &Caller, file: NewFile, content: ByteStream) -> Result<PutOutcome> {
        let content = self.while_there_is_room(content)?;
        let outcome = self.put_file(caller, file, content).await;
        self.metrics.uploaded(&outcome);
        outcome
    }

    async fn append(&self, caller: &Caller, append: AppendUpload, content: ByteStream) -> Result<Upload> {
        let content = self.while_there_is_room(content)?;
        let outcome = self.append_content(caller, append, content).await;
        self.metrics.failed(&outcome);
        outcome
    }

    async fn read(&self, caller: &Caller, read: ReadFile) -> Result<Reading> {
        let outcome = self.open_content(caller, read).await;
        self.metrics.failed(&outcome);
        outcome
    }

    async fn watch(&self, caller: &Caller, query: EventQuery) -> Result<EventStream> {
        self.follow(caller, query).await
    }
}

#[async_trait]
impl StorageCalls for Storage {
    async fn create_bucket(&self, caller: &Caller, bucket: NewBucket) -> Result<Bucket> {
        self.make_bucket(caller, bucket).await
    }

    async fn get_bucket(&self, caller: &Caller, name: BucketName) -> Result<Bucket> {
        Ok(self.bucket_for(caller, Permission::BucketRead, &name).await?.bucket)
    }

    async fn list_buckets(&self, caller: &Caller) -> Result<Vec<Bucket>> {
        self.catalog.list_buckets(Self::scope(caller, Permission::BucketRead)).await
    }

    async fn update_bucket(&self, caller: &Caller, name: BucketName, policy: BucketPolicy) -> Result<Bucket> {
        self.change_bucket(caller, name, policy).await
    }

    async fn delete_bucket(&self, caller: &Caller, name: BucketName) -> Result<()> {
        self.remove_bucket(caller, name).await
    }

    async fn start_upload(&self, caller: &Caller, file: NewFile) -> Result<Upload> {
        self.space.check()?;
        self.open_upload(caller, file).await
    }

    async fn start_part(
        &self,
        caller: &Caller,
        bucket: BucketName,
        size_bytes: Option<u64>,
    ) -> Result<Upload> {
        self.space.check()?;
        self.open_part(caller, bucket, size_bytes).await
    }

    async fn join_uploads(&self, caller: &Caller, file: NewFile, parts: Vec<UploadId>) -> Result<Upload> {
        self.join_parts(caller, file, parts).await
    }

    async fn get_upload(&self, caller: &Caller, id: UploadId) -> Result<Upload> {
        Ok(self.upload_for(caller, &id).await?.upload)
    }

    async fn finish_upload(
        &self,
        caller: &Caller,
        id: UploadId,
        expected_digests: Vec<ContentDigest>,
    ) -> Result<PutOutcome> {
        let outcome = self.complete_upload(caller, id, expected_digests).await;
        self.metrics.uploaded(&outcome);
        outcome
    }

    async fn terminate_upload(&self, caller: &Caller, id: UploadId) -> Result<()> {
        self.end_upload(caller, id).await
    }

    async fn get_file(&self, caller: &Caller, file: FileRef, version: Option<u32>) -> Result<File> {
        Ok(self.file_for(caller, Permission::FileRead, &file, version).await?.file)
    }

    async fn list_versions(&self, caller: &Caller, id: FileId) -> Result<Vec<File>> {
        self.versions_of(caller, id).await
    }

    async fn list_files(&self, caller: &Caller, bucket: BucketName, query: FileQuery) -> Result<FilePage> {
        self.list_bucket(caller, bucket, query).await
    }

    async fn update_file(&self, caller: &Caller, id: FileId, patch: FilePatch) -> Result<File> {
        self.patch_file(caller, id, patch).await
    }

    async fn delete_file(
        &self,
        caller: &Caller,
        file: FileRef,
        condition_etags: Option<Vec<String>>,
    ) -> Result<()> {
        match self.remove_file(caller, file.clone(), condition_etags.clone()).await {
            // Deleting is what makes room: it has what was held back for it.
            Err(error) if error.kind() == ErrorKind::StorageFull && self.space.make_room() => {
                self.remove_file(caller, file, condition_etags).await
            }
            removed => removed,
        }
    }

    async fn file_status(&self, caller: &Caller, id: FileId) -> Result<FileStatus> {
        self.status_of(caller, id).await
    }

    async fn known_contents(
        &self,
        caller: &Caller,
        bucket: BucketName,
        sha256: Vec<String>,
    ) -> Result<Vec<String>> {
        self.known_in(caller, bucket, sha256).await
    }

    async fn list_rules(&self, caller: &Caller) -> Result<Vec<Rule>> {
        self.rules_listed(caller)
    }

    async fn get_rule(&self, caller: &Caller, name: RuleName) -> Result<Rule> {
        self.rule_named(caller, &name)
    }

    async fn put_rule(&self, caller: &Caller, rule: Rule) -> Result<WrittenRule> {
        self.write_rule(caller, rule).await
    }

    async fn delete_rule(&self, caller: &Caller, name: RuleName) -> Result<()> {
        self.erase_rule(caller, name).await
    }

    async fn test_rule(&self, caller: &Caller, name: RuleName, file: FileRef) -> Result<RuleTest> {
        self.try_rule(caller, name, file).await
    }

    async fn create_run(&self, caller: &Caller, id: FileId, rule: RuleName) -> Result<Run> {
        self.add_run(caller, id, rule).await
    }

    async fn list_runs(&self, caller: &Caller, query: RunQuery) -> Result<RunPage> {
        self.list_visible_runs(caller, query).await
    }

    async fn get_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.run_for(caller, Permission::RunRead, &id).await
    }

    async fn retry_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.run_again(caller, id).await
    }

    async fn retry_runs(&self, caller: &Caller, query: RunQuery) -> Result<RetriedRuns> {
        self.run_many_again(caller, query).await
    }

    async fn cancel_run(&self, caller: &Caller, id: RunId) -> Result<Run> {
        self.stop_run(caller, id).await
    }

    async fn lease_runs(
        &self,
        caller: &Caller,
        worker: String,
        count_max: u32,
        wait_ms: u64,
    ) -> Result<Vec<LeasedRun>> {
        let outcome = self.hand_out(caller, &worker, count_max, wait_ms).await;
        self.metrics.failed(&outcome);
        outcome
    }

    async fn lease_offered(
        &self,
        caller: &Caller,
        worker: String,
        offers: Vec<RunId>,
    ) -> Result<Vec<LeasedRun>> {
        self.redeem(caller, &worker, offers).await
    }

    async fn report_run(&self, caller: &Caller, report: RunReport) -> Result<ReportOutcome> {
        let outcome = self.take_report(caller, report).await;
        self.metrics.failed(&outcome);
        outcome
    }

    async fn last_event(&self, caller: &Caller) -> Result<EventSeq> {
        authorize(&caller.principal, Permission::SelfRead, None)?;
        self.catalog.last_event().await
    }

    async fn create_user(&self, caller: &Caller, user: NewUser) -> Result<CreatedUser> {
        self.add_user(caller, user).await
    }

    async fn list_users(&self, caller: &Caller) -> Result<Vec<User>> {
        authorize(&caller.principal, Permission::UserManage, None)?;
        self.catalog.list_users().await
    }

    async fn update_user(&self, caller: &Caller, name: UserName, patch: UserPatch) -> Result<User> {
        self.change_user(caller, name, patch).await
    }

    async fn delete_user(&self, caller: &Caller, name: UserName) -> Result<()> {
        self.remove_user(caller, name).await
    }

    async fn create_api_key(&self, caller: &Caller, key: NewApiKey) -> Result<CreatedApiKey> {
        self.add_api_key(caller, key).await
    }

    async fn list_api_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>> {
        self.visible_api_keys(caller).await
    }

    async fn revoke_api_key(&self, caller: &Caller, id: ApiKeyId) -> Result<()> {
        self.end_api_key(caller, id).await
    }

    async fn stats(&self, caller: &Caller) -> Result<Stats> {
        authorize(&caller.principal, Permission::StatsRead, None)?;
        let Space { disk_bytes, dead_bytes } = Space::of(&self.catalog.pack_usage().await?);
        let (usage, totals) = (self.catalog.usage().await?, self.catalog.totals().await?);
        Ok(Stats { usage, totals, disk_bytes, dead_bytes })
    }

    async fn queue_status(&self, caller: &Caller) -> Result<QueueStatus> {
        // Workers ask too: one that waits on a broker must know whether storage speaks there.
        authorize(&caller.principal, Permission::WorkLease, None)
            .or_else(|_| authorize(&caller.principal, Permission::StatsRead, None))?;
        Ok(self.queue.status().await)
    }

    async fn collect(&self, caller: &Caller, dry_run: bool) -> Result<CollectReport> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        match self.collect_now(dry_run).await {
            Err(error) if error.kind() == ErrorKind::StorageFull && self.space.make_room() => {
                self.collect_now(dry_run).await
            }
            collected => collected,
        }
    }

    async fn start_scrub(&self, caller: &Caller, options: ScrubOptions) -> Result<ScrubStatus> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.begin_scrub(options).await
    }

    async fn stop_scrub(&self, caller: &Caller) -> Result<ScrubStatus> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.end_scrub().await
    }

    async fn scrub_status(&self, caller: &Caller) -> Result<ScrubStatus> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.scrub_status_now().await
    }

    async fn check_store(&self, caller: &Caller, is_deep: bool) -> Result<CheckReport> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.check_now(is_deep).await
    }

    async fn store_damage(&self, caller: &Caller) -> Result<DamageReport> {
        authorize(&caller.principal, Permission::StoreManage, None)?;
        self.damage_report().await
    }
}
