//! Uploads: a whole content in one request, or in a session that takes bytes in any number of requests. Several sessions may
//! bring parts of one file at the same time (`join`).

use std::sync::Arc;

use usp_api::{Caller, NewFile};
use usp_auth::Permission;
use usp_catalog::records::{NewUpload, UploadRecord, UploadTerms};
use usp_catalog::{FileFacts, UploadFacts};
use usp_content::ContentStore;
use usp_decide::commit::check_condition;
use usp_model::{
    Act, Bucket, BucketName, DomainId, Error, ErrorKind, FileId, FileKey, FileRef, KeyCondition, Result,
    Upload, UploadId,
};

use crate::access::{absent, may_change};
use crate::buckets::Buckets;
use crate::core::Core;
use crate::disk::DiskSpace;
use crate::progress::ProgressChannel;
use crate::rule_book::RulesInForce;
use crate::turns::{Turn, Turns};

mod append;
mod checkpoint;
mod checks;
mod commit;
mod finish;
mod join;
mod media_type;
mod put;

use checks::{check_new_file, check_size, refuse_unresumable, size_limit};

/// Enough to tell what a content is.
const HEAD_BYTES: u64 = 8 * 1024;

/// The part of storage that takes bytes in. Clones share everything.
#[derive(Clone)]
pub(crate) struct Uploads {
    core: Arc<Core>,
    facts: Arc<dyn UploadFacts>,
    /// For the commit, and for what stands under a key before it.
    files: Arc<dyn FileFacts>,
    content: ContentStore,
    buckets: Buckets,
    rules: RulesInForce,
    disk: DiskSpace,
    turns: Turns,
    progress: Arc<ProgressChannel>,
}

/// What [`Uploads`] stands on.
pub(crate) struct UploadsParts {
    pub(crate) core: Arc<Core>,
    pub(crate) facts: Arc<dyn UploadFacts>,
    pub(crate) files: Arc<dyn FileFacts>,
    pub(crate) content: ContentStore,
    pub(crate) buckets: Buckets,
    pub(crate) rules: RulesInForce,
    pub(crate) disk: DiskSpace,
    pub(crate) turns: Turns,
    pub(crate) progress: Arc<ProgressChannel>,
}

impl Uploads {
    pub(crate) fn new(parts: UploadsParts) -> Self {
        let UploadsParts { core, facts, files, content, buckets, rules, disk, turns, progress } = parts;
        Self { core, facts, files, content, buckets, rules, disk, turns, progress }
    }

    /// The upload, if it is the caller's own or the caller manages its bucket. Errors: `NotFound`, `Gone`.
    async fn for_caller(&self, caller: &Caller, id: &UploadId) -> Result<UploadRecord> {
        let gone = || Error::new(ErrorKind::NotFound, "find upload").because("there is no such upload");
        let record = self.facts.upload(id).await.map_err(|error| absent(error, gone))?;
        if !may_change(caller, &record.upload) {
            return Err(gone());
        }
        Ok(record)
    }

    pub(crate) async fn start_upload(&self, caller: &Caller, act: Act, file: NewFile) -> Result<Upload> {
        self.disk.check()?;
        let bucket = self.buckets.for_caller(caller, Permission::FileWrite, &file.bucket).await?;
        check_new_file(&file, &bucket.bucket.policy)?;
        self.check_early(caller, &file, &bucket.bucket).await?;
        self.check_rule(&file)?;
        refuse_unresumable(&file.expected_digests)?;
        let act = act.traced(file.trace.clone());
        let upload = self.new_upload(caller, file, bucket.domain, false)?;
        self.facts.create_upload(act, upload).await
    }

    /// Opens a session for a piece of a file; `join_uploads` makes one of all of them.
    pub(crate) async fn start_part(
        &self,
        caller: &Caller,
        act: Act,
        bucket: BucketName,
        size_bytes: Option<u64>,
    ) -> Result<Upload> {
        self.disk.check()?;
        let record = self.buckets.for_caller(caller, Permission::FileWrite, &bucket).await?;
        check_size(size_bytes.unwrap_or(0), size_limit(&record.bucket.policy))?;
        let id = UploadId::random()?;
        // A row has a key; that of a part is never looked at.
        let file = NewFile { size_bytes, ..NewFile::at(bucket, FileKey::parse(&id.to_string())?) };
        self.check_early(caller, &file, &record.bucket).await?;
        let upload = self.new_upload(caller, file, record.domain, true)?;
        self.facts.create_upload(act, NewUpload { id, ..upload }).await
    }

    pub(crate) async fn get_upload(&self, caller: &Caller, id: UploadId) -> Result<Upload> {
        Ok(self.for_caller(caller, &id).await?.upload)
    }

    pub(crate) async fn terminate_upload(&self, caller: &Caller, act: Act, id: UploadId) -> Result<()> {
        let _turn = self.turn(caller, id).await?;
        self.for_caller(caller, &id).await?;
        self.facts.terminate_upload(act, &id).await
    }

    /// The turn of a caller who may write to the upload: others neither learn that it is there nor hold it up.
    async fn turn(&self, caller: &Caller, id: UploadId) -> Result<Turn> {
        self.for_caller(caller, &id).await?;
        self.turns.take(id)
    }

    fn new_upload(
        &self,
        caller: &Caller,
        file: NewFile,
        domain: DomainId,
        is_part: bool,
    ) -> Result<NewUpload> {
        let terms = UploadTerms {
            condition: file.condition,
            expected_digests: file.expected_digests,
            idempotency_key: file.idempotency_key,
            rule: file.rule,
            trace: file.trace,
        };
        Ok(NewUpload {
            id: UploadId::random()?,
            file_id: FileId::random()?,
            bucket: file.bucket,
            domain,
            key: file.key,
            size_bytes: file.size_bytes,
            declared_media_type: file.declared_media_type,
            metadata: file.metadata,
            labels: file.labels,
            terms,
            is_part,
            owner: caller.principal.name.clone(),
            idle_max: self.core.config.upload_idle_max,
            is_announced: true,
        })
    }

    /// Errors: `NotFound` for a rule that was asked for by name and is not there.
    fn check_rule(&self, file: &NewFile) -> Result<()> {
        file.rule.as_ref().map_or(Ok(()), |rule| self.rules.book().get(rule).map(drop))
    }

    /// Spares the client an upload that cannot be committed. The commit decides again, by the same rules.
    async fn check_early(&self, caller: &Caller, file: &NewFile, bucket: &Bucket) -> Result<()> {
        let wanted = bucket.policy.quota_bytes.zip(file.size_bytes);
        if file.condition == KeyCondition::Any && wanted.is_none() {
            return Ok(());
        }
        // What is sent again met the condition when it was sent first.
        if let Some(key) = &file.idempotency_key {
            let owner = &caller.principal.name;
            if self.files.file_of_idempotency_key(owner, key, self.core.now()).await?.is_some() {
                return Ok(());
            }
        }
        let at = FileRef::Key(file.bucket.clone(), file.key.clone());
        let standing = match self.files.file(&at, None).await {
            Ok(record) => Some(record.file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let etag = standing.as_ref().map(|file| file.etag.as_str());
        check_condition(&file.condition, etag, &file.key)?;
        let Some((quota_bytes, size_bytes)) = wanted else { return Ok(()) };
        let replaced_bytes = standing.map_or(0, |file| file.size_bytes);
        self.buckets.check_quota(&bucket.name, quota_bytes, size_bytes, replaced_bytes).await
    }
}
