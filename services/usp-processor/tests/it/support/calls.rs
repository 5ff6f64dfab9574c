//! The calls that pass a tampered storage, if they do.

use async_trait::async_trait;
use usp_api::{
    Caller, CheckReport, CollectReport, CreatedApiKey, CreatedUser, DamageReport, FileStatus, NewApiKey,
    NewBucket, NewFile, NewUser, PutOutcome, RetriedRuns, RuleTest, ScrubOptions, ScrubStatus, Stats,
    StorageCalls, UserPatch, WrittenRule,
};
use usp_model::{
    ApiKey, ApiKeyId, Bucket, BucketName, BucketPolicy, ContentDigest, EventSeq, File, FileId, FilePage,
    FilePatch, FileQuery, FileRef, LeasedRun, QueueStatus, ReportOutcome, Result, Rule, RuleName, Run, RunId,
    RunPage, RunQuery, RunReport, Upload, UploadId, User, UserName,
};

use super::{Point, Tampered};

/// Hands calls on as they are; those of workers come first and have bodies of their own.
macro_rules! hand_on {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $reply:ty;)+) => {
        #[async_trait]
        impl StorageCalls for Tampered {
            async fn lease_runs(
                &self,
                caller: &Caller,
                worker: String,
                count_max: u32,
                wait_ms: u64,
            ) -> Result<Vec<LeasedRun>> {
                self.check_away()?;
                self.pass(Point::BeforeLease).await;
                let leased = self.inner.lease_runs(caller, worker, count_max, wait_ms).await;
                if leased.as_ref().is_ok_and(|leased| !leased.is_empty()) {
                    self.pass(Point::AfterLease).await;
                }
                leased
            }

            async fn report_run(&self, caller: &Caller, report: RunReport) -> Result<ReportOutcome> {
                self.before_report(&report)?;
                self.answer(&report).await;
                let (before, after) = Point::of_report(&report);
                self.pass(before).await;
                let answer = self.inner.report_run(caller, report).await;
                self.pass(after).await;
                answer
            }

            $(async fn $name(&self, caller: &Caller, $($arg: $ty),*) -> Result<$reply> {
                self.inner.$name(caller, $($arg),*).await
            })+
        }
    };
}

hand_on! {
    create_bucket(bucket: NewBucket) -> Bucket;
    get_bucket(name: BucketName) -> Bucket;
    list_buckets() -> Vec<Bucket>;
    update_bucket(name: BucketName, policy: BucketPolicy) -> Bucket;
    delete_bucket(name: BucketName) -> ();
    start_upload(file: NewFile) -> Upload;
    start_part(bucket: BucketName, size_bytes: Option<u64>) -> Upload;
    join_uploads(file: NewFile, parts: Vec<UploadId>) -> Upload;
    get_upload(id: UploadId) -> Upload;
    finish_upload(id: UploadId, expected_digests: Vec<ContentDigest>) -> PutOutcome;
    terminate_upload(id: UploadId) -> ();
    get_file(file: FileRef, version: Option<u32>) -> File;
    list_versions(id: FileId) -> Vec<File>;
    list_files(bucket: BucketName, query: FileQuery) -> FilePage;
    update_file(id: FileId, patch: FilePatch) -> File;
    delete_file(file: FileRef, condition_etags: Option<Vec<String>>) -> ();
    file_status(id: FileId) -> FileStatus;
    known_contents(bucket: BucketName, sha256: Vec<String>) -> Vec<String>;
    list_rules() -> Vec<Rule>;
    get_rule(name: RuleName) -> Rule;
    put_rule(rule: Rule) -> WrittenRule;
    delete_rule(name: RuleName) -> ();
    test_rule(name: RuleName, file: FileRef) -> RuleTest;
    create_run(id: FileId, rule: RuleName) -> Run;
    list_runs(query: RunQuery) -> RunPage;
    get_run(id: RunId) -> Run;
    retry_run(id: RunId) -> Run;
    retry_runs(query: RunQuery) -> RetriedRuns;
    cancel_run(id: RunId) -> Run;
    last_event() -> EventSeq;
    create_user(user: NewUser) -> CreatedUser;
    list_users() -> Vec<User>;
    update_user(name: UserName, patch: UserPatch) -> User;
    delete_user(name: UserName) -> ();
    create_api_key(key: NewApiKey) -> CreatedApiKey;
    list_api_keys() -> Vec<ApiKey>;
    revoke_api_key(id: ApiKeyId) -> ();
    lease_offered(worker: String, offers: Vec<RunId>) -> Vec<LeasedRun>;
    queue_status() -> QueueStatus;
    stats() -> Stats;
    collect(dry_run: bool) -> CollectReport;
    start_scrub(options: ScrubOptions) -> ScrubStatus;
    stop_scrub() -> ScrubStatus;
    scrub_status() -> ScrubStatus;
    store_damage() -> DamageReport;
    check_store(is_deep: bool) -> CheckReport;
}
