//! Files that stand: read, found, listed, changed, deleted.

use std::sync::Arc;

use futures::{StreamExt, stream};
use usp_api::{Caller, Coding, FileStatus, ReadFile, Reading, UploadStatus};
use usp_auth::{Permission, allows, authorize};
use usp_catalog::records::FileRecord;
use usp_catalog::{FileFacts, RunFacts, UploadFacts};
use usp_content::ContentStore;
use usp_model::{
    Act, BucketName, ByteRange, Error, ErrorKind, File, FileId, FilePage, FilePatch, FileQuery, FileRef,
    FileState, PageLimit, PlacedChunk, Result, UploadState,
};

use crate::access::{absent, absent_file, may_read_content, may_see, sees_unreleased};
use crate::buckets::Buckets;
use crate::disk::DiskSpace;

/// Chunks that are found together with their file: all of a short one.
const FIRST_CHUNK_COUNT: usize = 16;
/// SHA-256 digests in one question.
const KNOWN_COUNT_MAX: usize = 10_000;

/// The part of storage that knows files. Clones share everything.
#[derive(Clone)]
pub(crate) struct Files {
    facts: Arc<dyn FileFacts>,
    /// For the status of a file, which names its runs.
    runs: Arc<dyn RunFacts>,
    /// For the status of a file that is still being uploaded.
    uploads: Arc<dyn UploadFacts>,
    content: ContentStore,
    buckets: Buckets,
    disk: DiskSpace,
}

impl Files {
    pub(crate) fn new(
        facts: Arc<dyn FileFacts>,
        runs: Arc<dyn RunFacts>,
        uploads: Arc<dyn UploadFacts>,
        content: ContentStore,
        buckets: Buckets,
        disk: DiskSpace,
    ) -> Self {
        Self { facts, runs, uploads, content, buckets, disk }
    }

    /// The file, if the caller holds `permission` in its bucket and may see it at all. Errors: `NotFound`, `Denied`.
    pub(crate) async fn for_caller(
        &self,
        caller: &Caller,
        permission: Permission,
        file: &FileRef,
        version: Option<u32>,
    ) -> Result<FileRecord> {
        check_key(caller, file)?;
        let found = self.facts.file(file, version).await;
        let record = found.map_err(|error| absent(error, || absent_file(file)))?;
        check_file(caller, permission, file, &record)?;
        Ok(record)
    }

    /// As `for_caller` with the permission to read, and the first chunks of `range` with it.
    async fn to_read(&self, caller: &Caller, read: &ReadFile) -> Result<(FileRecord, Vec<PlacedChunk>)> {
        let ReadFile { file, version, range, .. } = read;
        check_key(caller, file)?;
        let opened = self.facts.open_file(file, *version, *range, FIRST_CHUNK_COUNT).await;
        let (record, chunks) = opened.map_err(|error| absent(error, || absent_file(file)))?;
        check_file(caller, Permission::FileRead, file, &record)?;
        Ok((record, chunks))
    }

    /// Whether readers may know of the version. `false` when there is no such file.
    pub(crate) async fn is_released(&self, id: FileId, version: Option<u32>) -> Result<bool> {
        match self.facts.file(&FileRef::Id(id), version).await {
            Ok(record) => Ok(record.file.released),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn read(&self, caller: &Caller, read: ReadFile) -> Result<Reading> {
        let (record, chunks) = self.to_read(caller, &read).await?;
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
        // The first piece is opened before the answer begins, so that damage there becomes an error of the call.
        let first = content.next().await.transpose()?;
        let content = stream::iter(first.map(Ok)).chain(content);
        Ok(Reading { file: record.file, range, content: Box::pin(content) })
    }

    pub(crate) async fn get_file(
        &self,
        caller: &Caller,
        file: FileRef,
        version: Option<u32>,
    ) -> Result<File> {
        Ok(self.for_caller(caller, Permission::FileRead, &file, version).await?.file)
    }

    pub(crate) async fn list_versions(&self, caller: &Caller, id: FileId) -> Result<Vec<File>> {
        self.for_caller(caller, Permission::FileRead, &FileRef::Id(id), None).await?;
        let mut versions = self.facts.versions(&id).await?;
        versions.retain(|file| may_see(caller, file));
        Ok(versions)
    }

    pub(crate) async fn list_files(
        &self,
        caller: &Caller,
        bucket: BucketName,
        mut query: FileQuery,
    ) -> Result<FilePage> {
        self.buckets.for_caller(caller, Permission::FileRead, &bucket).await?;
        // Nothing that a door asks for counts here: this is the one place that decides it.
        query.with_unreleased = sees_unreleased(caller, &bucket);
        query.limit = PageLimit::bounded(query.limit).get();
        self.facts.list_files(&bucket, query).await
    }

    pub(crate) async fn update_file(
        &self,
        caller: &Caller,
        act: Act,
        id: FileId,
        patch: FilePatch,
    ) -> Result<File> {
        self.for_caller(caller, Permission::FileWrite, &FileRef::Id(id), None).await?;
        self.facts.update_file(act, &id, patch).await
    }

    pub(crate) async fn delete_file(
        &self,
        caller: &Caller,
        act: Act,
        file: FileRef,
        condition_etags: Option<Vec<String>>,
    ) -> Result<()> {
        let record = self.for_caller(caller, Permission::FileDelete, &file, None).await?;
        let id = record.file.id;
        match self.facts.delete_file(act.clone(), &id, condition_etags.clone()).await {
            // Deleting is what frees space: the ballast was kept for it.
            Err(error) if error.kind() == ErrorKind::StorageFull && self.disk.drop_ballast() => {
                self.facts.delete_file(act, &id, condition_etags).await
            }
            deleted => deleted,
        }
    }

    /// Also answers for the preliminary id of an upload that is still open.
    pub(crate) async fn file_status(&self, caller: &Caller, id: FileId) -> Result<FileStatus> {
        match self.for_caller(caller, Permission::FileRead, &FileRef::Id(id), None).await {
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
                    runs: self.runs.runs_of_file(&file.id).await?,
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.upload_status(caller, id).await,
            Err(error) => Err(error),
        }
    }

    async fn upload_status(&self, caller: &Caller, id: FileId) -> Result<FileStatus> {
        let gone = || absent_file(&FileRef::Id(id));
        let upload = self.uploads.upload_of_file(&id).await.map_err(|error| absent(error, gone))?;
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
    pub(crate) async fn known_contents(
        &self,
        caller: &Caller,
        bucket: BucketName,
        sha256: Vec<String>,
    ) -> Result<Vec<String>> {
        self.buckets.for_caller(caller, Permission::FileWrite, &bucket).await?;
        if sha256.len() > KNOWN_COUNT_MAX {
            return Err(Error::new(ErrorKind::InvalidInput, "compare digests")
                .because(format!("ask about at most {KNOWN_COUNT_MAX} digests at once")));
        }
        self.facts.known_sha256(&bucket, sha256).await
    }
}

/// Refuses a foreign bucket before anything is looked up in it.
fn check_key(caller: &Caller, file: &FileRef) -> Result<()> {
    match file {
        FileRef::Key(bucket, _) => authorize(&caller.principal, Permission::FileRead, Some(bucket)),
        FileRef::Id(_) => Ok(()),
    }
}

fn check_file(caller: &Caller, permission: Permission, file: &FileRef, record: &FileRecord) -> Result<()> {
    let bucket = &record.file.bucket;
    if !allows(&caller.principal, Permission::FileRead, Some(bucket)) || !may_see(caller, &record.file) {
        return Err(absent_file(file));
    }
    authorize(&caller.principal, permission, Some(bucket))
}
