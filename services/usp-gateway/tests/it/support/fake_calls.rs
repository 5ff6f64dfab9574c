//! The unary calls of the pretended storage.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::BytesMut;
use usp_api::{
    Caller, CheckReport, CollectReport, CreatedApiKey, CreatedUser, DamageReport, FileStatus, NewApiKey,
    NewBucket, NewFile, NewUser, PutOutcome, RetriedRuns, RuleTest, ScrubOptions, ScrubStatus, Stats,
    StorageCalls, UploadStatus, UserPatch, WrittenRule,
};
use usp_model::{
    ApiKey, ApiKeyId, Bucket, BucketName, BucketPolicy, ContentDigest, ErrorKind, EventBody, EventSeq, File,
    FileChange, FileId, FilePage, FilePatch, FileQuery, FileRef, FileState, Finding, FindingKind, LabelKey,
    LeasedRun, PackDamage, PackId, PackPart, QueueKind, QueueStatus, ReportOutcome, Result, Rule, RuleName,
    Run, RunChange, RunEvent, RunId, RunPage, RunQuery, RunReport, RunState, Step, StepState, Upload,
    UploadId, UploadShape, UploadState, User, UserName,
};

use super::fake::{FakeStorage, fault, now};

fn pretended() -> usp_model::Error {
    fault(ErrorKind::Unavailable, "this fake cannot do that")
}

fn patched(map: &mut BTreeMap<LabelKey, String>, changes: BTreeMap<LabelKey, Option<String>>) {
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

impl FakeStorage {
    fn change_run(&self, id: RunId, allowed: impl Fn(RunState) -> bool, to: RunState) -> Result<Run> {
        let mut state = self.state.lock();
        let run =
            state.runs.get_mut(&id).ok_or_else(|| fault(ErrorKind::NotFound, "there is no such run"))?;
        if !allowed(run.state) {
            return Err(fault(ErrorKind::Conflict, "the run's state does not allow this"));
        }
        run.state = to;
        Ok(run.clone())
    }
}

#[async_trait]
impl StorageCalls for FakeStorage {
    async fn create_bucket(&self, _caller: &Caller, bucket: NewBucket) -> Result<Bucket> {
        if self.state.lock().buckets.contains_key(&bucket.name) {
            return Err(fault(ErrorKind::Conflict, "the name is taken"));
        }
        self.add_bucket(bucket.name.as_str(), bucket.policy);
        self.get_bucket(_caller, bucket.name).await
    }

    async fn get_bucket(&self, _caller: &Caller, name: BucketName) -> Result<Bucket> {
        let found = self.state.lock().buckets.get(&name).cloned();
        found.ok_or_else(|| fault(ErrorKind::NotFound, "there is no such bucket"))
    }

    async fn list_buckets(&self, _caller: &Caller) -> Result<Vec<Bucket>> {
        Ok(self.state.lock().buckets.values().cloned().collect())
    }

    async fn update_bucket(&self, caller: &Caller, name: BucketName, policy: BucketPolicy) -> Result<Bucket> {
        self.get_bucket(caller, name.clone()).await?;
        self.add_bucket(name.as_str(), policy);
        self.get_bucket(caller, name).await
    }

    async fn delete_bucket(&self, caller: &Caller, name: BucketName) -> Result<()> {
        self.get_bucket(caller, name.clone()).await?;
        self.state.lock().buckets.remove(&name);
        Ok(())
    }

    async fn start_upload(&self, caller: &Caller, file: NewFile) -> Result<Upload> {
        self.asked.lock().upload = Some(file.clone());
        self.get_bucket(caller, file.bucket.clone()).await?;
        let upload = Upload {
            id: UploadId::random()?,
            file_id: FileId::random()?,
            bucket: file.bucket.clone(),
            key: file.key.clone(),
            size_bytes: file.size_bytes,
            received_bytes: 0,
            state: UploadState::Open,
            shape: UploadShape::Whole,
            declared_media_type: file.declared_media_type.clone(),
            metadata: file.metadata.clone(),
            labels: file.labels.clone(),
            owner: caller.principal.name.to_string(),
            created_at: now(),
            expires_at: now().plus_ms(86_400_000),
        };
        self.state.lock().uploads.insert(upload.id, (upload.clone(), file, BytesMut::new()));
        Ok(upload)
    }

    async fn start_part(
        &self,
        _caller: &Caller,
        _bucket: BucketName,
        _size_bytes: Option<u64>,
    ) -> Result<Upload> {
        Err(pretended())
    }

    async fn join_uploads(&self, _caller: &Caller, _file: NewFile, _parts: Vec<UploadId>) -> Result<Upload> {
        Err(pretended())
    }

    async fn get_upload(&self, _caller: &Caller, id: UploadId) -> Result<Upload> {
        let found = self.state.lock().uploads.get(&id).map(|(upload, ..)| upload.clone());
        match found {
            Some(upload) if upload.state == UploadState::Terminated => {
                Err(fault(ErrorKind::Gone, "the upload was ended"))
            }
            found => found.ok_or_else(|| fault(ErrorKind::NotFound, "there is no such upload")),
        }
    }

    async fn finish_upload(
        &self,
        caller: &Caller,
        id: UploadId,
        _expected: Vec<ContentDigest>,
    ) -> Result<PutOutcome> {
        let held_count = self.state.lock().held_count;
        if held_count > 0 {
            self.state.lock().held_count = held_count - 1;
            return Err(fault(ErrorKind::Locked, "another request holds the upload"));
        }
        let found = self.state.lock().uploads.get(&id).cloned();
        let (upload, file, content) =
            found.ok_or_else(|| fault(ErrorKind::NotFound, "there is no such upload"))?;
        if upload.state != UploadState::Open {
            return Err(fault(ErrorKind::Conflict, "the upload is complete already"));
        }
        if file.key.as_str() == "mismatch" {
            return Err(fault(ErrorKind::DigestMismatch, "the key says so"));
        }
        let outcome = self.commit(file, content.freeze(), caller)?;
        if let Some((upload, ..)) = self.state.lock().uploads.get_mut(&id) {
            (upload.state, upload.file_id) = (UploadState::Completed, outcome.file.id);
            upload.size_bytes = Some(upload.received_bytes);
        }
        Ok(outcome)
    }

    async fn terminate_upload(&self, caller: &Caller, id: UploadId) -> Result<()> {
        if self.get_upload(caller, id).await?.state == UploadState::Completed {
            return Err(fault(ErrorKind::Conflict, "the upload is complete already"));
        }
        if let Some((upload, ..)) = self.state.lock().uploads.get_mut(&id) {
            upload.state = UploadState::Terminated;
        }
        Ok(())
    }

    async fn get_file(&self, _caller: &Caller, file: FileRef, version: Option<u32>) -> Result<File> {
        let (file, _) = self.find(&file)?;
        if version.is_some_and(|version| version != file.version) {
            return Err(fault(ErrorKind::NotFound, "there is no such version"));
        }
        Ok(file)
    }

    async fn list_versions(&self, caller: &Caller, id: FileId) -> Result<Vec<File>> {
        Ok(vec![self.get_file(caller, FileRef::Id(id), None).await?])
    }

    /// Cursors are numbers of files to pass over.
    async fn list_files(&self, caller: &Caller, bucket: BucketName, query: FileQuery) -> Result<FilePage> {
        self.get_bucket(caller, bucket.clone()).await?;
        self.asked.lock().list = Some(query.clone());
        let state = self.state.lock();
        let files = state.files.values().map(|(file, _)| file);
        let mut files: Vec<_> = files
            .filter(|file| file.bucket == bucket && file.key.as_str().starts_with(&query.prefix))
            .cloned()
            .collect();
        files.sort_by(|a, b| a.key.cmp(&b.key));
        let passed: usize = query.cursor.as_deref().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let limit = query.limit as usize;
        let next_cursor = (files.len() > passed + limit).then(|| (passed + limit).to_string());
        let files = files.into_iter().skip(passed).take(limit).collect();
        Ok(FilePage { files, prefixes: Vec::new(), next_cursor })
    }

    async fn update_file(&self, _caller: &Caller, id: FileId, patch: FilePatch) -> Result<File> {
        self.asked.lock().patch = Some(patch.clone());
        let mut state = self.state.lock();
        let found = state.files.get_mut(&id).map(|(file, _)| file);
        let file = found.ok_or_else(|| fault(ErrorKind::NotFound, "there is no such file"))?;
        patched(&mut file.metadata, patch.metadata);
        patched(&mut file.labels, patch.labels);
        Ok(file.clone())
    }

    async fn delete_file(&self, _caller: &Caller, file: FileRef, etags: Option<Vec<String>>) -> Result<()> {
        let (file, _) = self.find(&file)?;
        if etags.is_some_and(|etags| !etags.is_empty() && !etags.contains(&file.etag)) {
            return Err(fault(ErrorKind::PreconditionFailed, "the file has another etag"));
        }
        self.state.lock().files.remove(&file.id);
        self.tell_of_file(&file, FileChange::Deleted);
        Ok(())
    }

    async fn file_status(&self, _caller: &Caller, id: FileId) -> Result<FileStatus> {
        let is_meant = |upload: &Upload| upload.file_id == id && upload.state == UploadState::Open;
        let open = self.state.lock().uploads.values().find(|(upload, ..)| is_meant(upload)).cloned();
        if let Some((upload, ..)) = open {
            let progress =
                UploadStatus { received_bytes: upload.received_bytes, size_bytes: upload.size_bytes };
            let state = FileState::Uploading;
            return Ok(FileStatus {
                file_id: id,
                bucket: upload.bucket,
                state,
                upload: progress,
                runs: Vec::new(),
            });
        }
        let (file, _) = self.find(&FileRef::Id(id))?;
        let runs = self.state.lock().runs.values().filter(|run| run.file_id == id).cloned().collect();
        let upload = UploadStatus { received_bytes: file.size_bytes, size_bytes: Some(file.size_bytes) };
        Ok(FileStatus { file_id: id, bucket: file.bucket, state: file.state, upload, runs })
    }

    /// Every digest that begins with `a` is known.
    async fn known_contents(
        &self,
        _caller: &Caller,
        _bucket: BucketName,
        sha256: Vec<String>,
    ) -> Result<Vec<String>> {
        Ok(sha256.into_iter().filter(|digest| digest.starts_with('a')).collect())
    }

    async fn put_rule(&self, _caller: &Caller, _rule: Rule) -> Result<WrittenRule> {
        Err(pretended())
    }

    async fn delete_rule(&self, _caller: &Caller, _name: RuleName) -> Result<()> {
        Err(pretended())
    }

    async fn list_rules(&self, _caller: &Caller) -> Result<Vec<Rule>> {
        Ok(Vec::new())
    }

    async fn get_rule(&self, _caller: &Caller, _name: RuleName) -> Result<Rule> {
        Err(fault(ErrorKind::NotFound, "there is no such rule"))
    }

    async fn test_rule(&self, _caller: &Caller, rule: RuleName, file: FileRef) -> Result<RuleTest> {
        self.find(&file)?;
        Ok(RuleTest { rule, matches: true, error: None, steps: vec!["sniff".to_owned()] })
    }

    async fn create_run(&self, _caller: &Caller, id: FileId, rule: RuleName) -> Result<Run> {
        let (file, _) = self.find(&FileRef::Id(id))?;
        let step = Step {
            name: "profile".to_owned(),
            uses: "profile".to_owned(),
            state: StepState::Pending,
            attempt: 0,
            percent: 0,
            started_at: None,
            ended_at: None,
            error: None,
        };
        let run = Run {
            id: RunId::random()?,
            file_id: id,
            bucket: file.bucket.clone(),
            version: file.version,
            rule,
            rule_version: 1,
            state: RunState::Queued,
            attempt: 0,
            attempts_max: 5,
            priority: 0,
            created_at: now(),
            started_at: None,
            ended_at: None,
            next_attempt_at: None,
            error: None,
            steps: vec![step],
        };
        self.state.lock().runs.insert(run.id, run.clone());
        let told = RunEvent {
            change: RunChange::Queued,
            run_id: run.id,
            rule: run.rule.clone(),
            rule_version: run.rule_version,
            version: run.version,
            state: run.state,
            attempt: run.attempt,
            step: None,
            error: None,
            next_attempt_at: None,
            trace: None,
        };
        self.tell(&file, EventBody::Run(told));
        Ok(run)
    }

    async fn list_runs(&self, _caller: &Caller, query: RunQuery) -> Result<RunPage> {
        self.asked.lock().runs = Some(query.clone());
        let state = self.state.lock();
        let is_meant = |run: &&Run| {
            query.state.is_none_or(|state| run.state == state)
                && query.file.is_none_or(|file| run.file_id == file)
        };
        Ok(RunPage { runs: state.runs.values().filter(is_meant).cloned().collect(), next_cursor: None })
    }

    async fn get_run(&self, _caller: &Caller, id: RunId) -> Result<Run> {
        let found = self.state.lock().runs.get(&id).cloned();
        found.ok_or_else(|| fault(ErrorKind::NotFound, "there is no such run"))
    }

    async fn retry_runs(&self, _caller: &Caller, query: RunQuery) -> Result<RetriedRuns> {
        self.asked.lock().runs = Some(query);
        Ok(RetriedRuns { retried: 0, next_cursor: None })
    }

    async fn retry_run(&self, _caller: &Caller, id: RunId) -> Result<Run> {
        let allowed = |state| matches!(state, RunState::Dead | RunState::Cancelled);
        self.change_run(id, allowed, RunState::Queued)
    }

    async fn cancel_run(&self, _caller: &Caller, id: RunId) -> Result<Run> {
        self.change_run(id, |state| !state.is_final(), RunState::Cancelled)
    }

    async fn lease_runs(
        &self,
        _caller: &Caller,
        _worker: String,
        _count: u32,
        _wait: u64,
    ) -> Result<Vec<LeasedRun>> {
        Err(pretended())
    }

    async fn report_run(&self, _caller: &Caller, _report: RunReport) -> Result<ReportOutcome> {
        Err(pretended())
    }

    async fn last_event(&self, _caller: &Caller) -> Result<EventSeq> {
        Ok(self.state.lock().events.last().map_or(0, |event| event.seq))
    }

    async fn create_user(&self, _caller: &Caller, user: NewUser) -> Result<CreatedUser> {
        let NewUser { name, grants, .. } = user;
        let user = User { name, grants, disabled: false, created_at: now(), updated_at: now() };
        Ok(CreatedUser { user, password: Some("drawn".to_owned()) })
    }

    async fn list_users(&self, _caller: &Caller) -> Result<Vec<User>> {
        Ok(Vec::new())
    }

    async fn update_user(&self, _caller: &Caller, _name: UserName, _patch: UserPatch) -> Result<User> {
        Err(fault(ErrorKind::NotFound, "there is no such user"))
    }

    async fn delete_user(&self, _caller: &Caller, _name: UserName) -> Result<()> {
        Err(fault(ErrorKind::NotFound, "there is no such user"))
    }

    async fn create_api_key(&self, caller: &Caller, key: NewApiKey) -> Result<CreatedApiKey> {
        let key = ApiKey {
            id: ApiKeyId::random()?,
            name: key.name,
            user: key.user.unwrap_or_else(|| caller.principal.name.clone()),
            grants: key.grants,
            created_at: now(),
            expires_at: None,
            last_used_at: None,
        };
        Ok(CreatedApiKey { key, secret: "usp_secret".to_owned() })
    }

    async fn list_api_keys(&self, _caller: &Caller) -> Result<Vec<ApiKey>> {
        Ok(Vec::new())
    }

    async fn revoke_api_key(&self, _caller: &Caller, _id: ApiKeyId) -> Result<()> {
        Err(fault(ErrorKind::NotFound, "there is no such key"))
    }

    async fn stats(&self, _caller: &Caller) -> Result<Stats> {
        Ok(Stats::default())
    }

    async fn lease_offered(
        &self,
        _caller: &Caller,
        _worker: String,
        _offers: Vec<RunId>,
    ) -> Result<Vec<LeasedRun>> {
        Err(pretended())
    }

    async fn queue_status(&self, _caller: &Caller) -> Result<QueueStatus> {
        Ok(QueueStatus {
            kind: QueueKind::Nats,
            url: Some("nats://broker:4222".to_owned()),
            connected: false,
            trouble: Some("the broker cannot be reached".to_owned()),
            server_version: None,
            waiting: 7,
            in_hand: 0,
            streams: Vec::new(),
        })
    }

    async fn collect(&self, _caller: &Caller, dry_run: bool) -> Result<CollectReport> {
        Ok(CollectReport { dry_run, swept_chunks: 3, ..CollectReport::default() })
    }

    async fn start_scrub(&self, _caller: &Caller, options: ScrubOptions) -> Result<ScrubStatus> {
        let (running, pace_bytes_per_s) = (true, options.pace_bytes_per_s.or(Some(0)));
        Ok(ScrubStatus { running, pace_bytes_per_s, packs_left: 2, ..ScrubStatus::default() })
    }

    async fn stop_scrub(&self, _caller: &Caller) -> Result<ScrubStatus> {
        Ok(ScrubStatus::default())
    }

    async fn scrub_status(&self, _caller: &Caller) -> Result<ScrubStatus> {
        Ok(ScrubStatus { damaged: 1, ..ScrubStatus::default() })
    }

    async fn check_store(&self, _caller: &Caller, is_deep: bool) -> Result<CheckReport> {
        let findings = vec![Finding::new(FindingKind::Sum, "chunk_count of the store is 1, counted 2")];
        Ok(CheckReport { is_deep, finding_count: 1, findings, ..CheckReport::default() })
    }

    async fn store_damage(&self, _caller: &Caller) -> Result<DamageReport> {
        let place = PackDamage { pack: PackId(7), offset: 64, size_bytes: 100, part: PackPart::Frame };
        Ok(DamageReport { damage: vec![place], ..DamageReport::default() })
    }
}
