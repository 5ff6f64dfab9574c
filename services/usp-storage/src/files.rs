//! Files that stand: read, list, change, delete; and the buckets they are in.

use futures::{StreamExt, stream};
use usp_api::{Caller, Coding, FileStatus, NewBucket, ReadFile, Reading, UploadStatus};
use usp_auth::{Permission, allows, authorize};
use usp_model::{
    Bucket, BucketName, BucketPolicy, ByteRange, Error, ErrorKind, File, FileId, FilePage, FilePatch,
    FileQuery, FileRef, FileState, Result, UploadState,
};

use crate::access::{absent_file, may_read_content, may_see, sees_unreleased};
use crate::storage::Storage;

/// Chunks that are found together with their file: all of a short one.
const FIRST_CHUNK_COUNT: usize = 16;
/// SHA-256 digests in one question.
const KNOWN_COUNT_MAX: usize = 10_000;

impl Storage {
    pub(crate) async fn open_content(&self, caller: &Caller, read: ReadFile) -> Result<Reading> {
        let (record, chunks) = self.file_to_read(caller, &read, FIRST_CHUNK_COUNT).await?;
        if !may_read_content(caller, &record.file) {
            return Err(Error::new(ErrorKind::Locked, "read file").because(format!(
                "the file is {} and is held back until its checks succeed",
                record.file.state
            )));
        }
        let range = match read.range {
            Some(range) => range.within(record.file.size_bytes)?,
            None => ByteRange::whole(record.file.size_bytes),
        };
        let (key, manifest) = (record.domain_key, record.manifest);
        let mut content = match read.coding {
            Coding::Zstd if read.range.is_none() && record.file.size_bytes > 0 => {
                self.content.read_zstd(key, manifest, record.file.size_bytes)
            }
            Coding::Zstd | Coding::Plain => self.content.read_known(key, manifest, range, chunks),
        };
        // The first piece is opened before the answer begins: damage there is told as what it is.
        let first = content.next().await.transpose()?;
        let content = stream::iter(first.map(Ok)).chain(content);
        Ok(Reading { file: record.file, range, content: Box::pin(content) })
    }

    pub(crate) async fn list_bucket(
        &self,
        caller: &Caller,
        bucket: BucketName,
        mut query: FileQuery,
    ) -> Result<FilePage> {
        self.bucket_for(caller, Permission::FileRead, &bucket).await?;
        query.with_unreleased = sees_unreleased(caller, &bucket);
        query.limit = query.limit.clamp(1, usp_model::limits::LIST_COUNT_MAX);
        self.catalog.list_files(&bucket, query).await
    }

    pub(crate) async fn versions_of(&self, caller: &Caller, id: FileId) -> Result<Vec<File>> {
        self.file_for(caller, Permission::FileRead, &FileRef::Id(id), None).await?;
        let mut versions = self.catalog.versions(&id).await?;
        versions.retain(|file| may_see(caller, file));
        Ok(versions)
    }

    pub(crate) async fn patch_file(&self, caller: &Caller, id: FileId, patch: FilePatch) -> Result<File> {
        self.file_for(caller, Permission::FileWrite, &FileRef::Id(id), None).await?;
        self.catalog.update_file(self.act(caller), &id, patch).await
    }

    pub(crate) async fn remove_file(
        &self,
        caller: &Caller,
        file: FileRef,
        condition_etags: Option<Vec<String>>,
    ) -> Result<()> {
        let record = self.file_for(caller, Permission::FileDelete, &file, None).await?;
        self.catalog.delete_file(self.act(caller), &record.file.id, condition_etags).await
    }

    /// Also answers for the preliminary id of an upload that is still open.
    pub(crate) async fn status_of(&self, caller: &Caller, id: FileId) -> Result<FileStatus> {
        match self.file_for(caller, Permission::FileRead, &FileRef::Id(id), None).await {
            Ok(record) => {
                let file = record.file;
                Ok(FileStatus {
                    file_id: file.id,
                    bucket: file.bucket,
                    state: file.state,
                    upload: UploadStatus {
                        received_bytes: file.size_bytes,
                        size_bytes: Some(file.size_bytes),
                    },
                    runs: self.catalog.runs_of_file(&file.id).await?,
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.status_of_upload(caller, id).await,
            Err(error) => Err(error),
        }
    }

    async fn status_of_upload(&self, caller: &Caller, id: FileId) -> Result<FileStatus> {
        let gone = || absent_file(&FileRef::Id(id));
        let upload = self
            .catalog
            .upload_of_file(&id)
            .await
            .map_err(|error| if error.kind() == ErrorKind::NotFound { gone() } else { error })?;
        let is_open = upload.state == UploadState::Open;
        if !is_open || !allows(&caller.principal, Permission::FileRead, Some(&upload.bucket)) {
            return Err(gone());
        }
        Ok(FileStatus {
            file_id: id,
            bucket: upload.bucket,
            state: FileState::Uploading,
            upload: UploadStatus { received_bytes: upload.received_bytes, size_bytes: upload.size_bytes },
            runs: Vec::new(),
        })
    }

    /// A digest is no key: only who may write here is told, and only about this dedup domain.
    pub(crate) async fn known_in(
        &self,
        caller: &Caller,
        bucket: BucketName,
        sha256: Vec<String>,
    ) -> Result<Vec<String>> {
        self.bucket_for(caller, Permission::FileWrite, &bucket).await?;
        if sha256.len() > KNOWN_COUNT_MAX {
            return Err(Error::new(ErrorKind::InvalidInput, "compare digests")
                .because(format!("ask about at most {KNOWN_COUNT_MAX} digests at once")));
        }
        self.catalog.known_sha256(&bucket, sha256).await
    }

    pub(crate) async fn make_bucket(&self, caller: &Caller, bucket: NewBucket) -> Result<Bucket> {
        authorize(&caller.principal, Permission::BucketCreate, None)?;
        self.check_policy(&bucket.policy, &BucketPolicy::default())?;
        self.catalog.create_bucket(self.act(caller), bucket.name, bucket.policy).await
    }

    pub(crate) async fn change_bucket(
        &self,
        caller: &Caller,
        name: BucketName,
        policy: BucketPolicy,
    ) -> Result<Bucket> {
        let standing = self.bucket_for(caller, Permission::BucketManage, &name).await?;
        self.check_policy(&policy, &standing.bucket.policy)?;
        let (storage, act) = (self.clone(), self.act(caller));
        self.forgetting(name.clone(), async move { storage.catalog.update_bucket(act, &name, policy).await })
            .await
    }

    pub(crate) async fn remove_bucket(&self, caller: &Caller, name: BucketName) -> Result<()> {
        self.bucket_for(caller, Permission::BucketDelete, &name).await?;
        let (storage, act) = (self.clone(), self.act(caller));
        self.forgetting(name.clone(), async move { storage.catalog.delete_bucket(act, &name).await }).await
    }

    /// Changes a bucket and forgets what is remembered of it, in a task of its own: the change of a caller that goes
    /// away is made all the same, and nobody may go by what was before it.
    async fn forgetting<T: Send + 'static>(
        &self,
        name: BucketName,
        change: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let storage = self.clone();
        let changing = tokio::spawn(async move {
            let changed = change.await;
            storage.buckets.forget(&name);
            changed
        });
        let failed = |source| Error::new(ErrorKind::Internal, "change bucket").caused_by(source);
        changing.await.map_err(failed)?
    }

    /// A rule that was named before may have been deleted since.
    fn check_policy(&self, policy: &BucketPolicy, standing: &BucketPolicy) -> Result<()> {
        let mut violations = policy.violations("/policy");
        let book = self.rule_book();
        let known: Vec<_> = standing.rules.iter().flatten().collect();
        for (index, rule) in policy.rules.iter().flatten().enumerate() {
            if book.get(rule).is_err() && !known.contains(&rule) {
                let detail = format!("there is no rule '{rule}'");
                violations.push(usp_model::Violation::new(format!("/policy/rules/{index}"), detail));
            }
        }
        if violations.is_empty() {
            return Ok(());
        }
        let detail =
            violations.iter().map(|v| format!("{}: {}", v.pointer, v.detail)).collect::<Vec<_>>().join("; ");
        Err(Error::new(ErrorKind::InvalidInput, "check bucket policy")
            .because(detail)
            .with_violations(violations))
    }
}
