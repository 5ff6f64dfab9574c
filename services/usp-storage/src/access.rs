//! Who may do what to which object: every path to an object leads through here.

use usp_api::{Caller, ReadFile};
use usp_auth::{BucketScope, Permission, allows, authorize, visible_buckets};
use usp_catalog::records::{BucketRecord, FileRecord};
use usp_model::{
    BucketName, Error, ErrorKind, Event, EventBody, File, FileId, FileRef, PlacedChunk, PrincipalKind,
    Result, Run, RunId, Upload, UploadId,
};

use crate::storage::Storage;

impl Storage {
    /// The bucket, if the caller holds `permission` there. Errors: `NotFound`, `Denied`.
    pub(crate) async fn bucket_for(
        &self,
        caller: &Caller,
        permission: Permission,
        name: &BucketName,
    ) -> Result<BucketRecord> {
        authorize(&caller.principal, permission, Some(name))?;
        // An absent bucket must answer word for word like a foreign one.
        self.buckets
            .get(&*self.catalog, name)
            .await
            .map_err(|error| absent(error, || usp_auth::absent_bucket(name)))
    }

    /// The file, if the caller holds `permission` in its bucket and may see it at all. Errors: `NotFound`, `Denied`.
    pub(crate) async fn file_for(
        &self,
        caller: &Caller,
        permission: Permission,
        file: &FileRef,
        version: Option<u32>,
    ) -> Result<FileRecord> {
        if let FileRef::Key(bucket, _) = file {
            authorize(&caller.principal, Permission::FileRead, Some(bucket))?;
        }
        let record =
            self.catalog.file(file, version).await.map_err(|error| absent(error, || absent_file(file)))?;
        check_file(caller, permission, file, &record)?;
        Ok(record)
    }

    /// As `file_for` with the permission to read, and the first chunks of `range` with it.
    pub(crate) async fn file_to_read(
        &self,
        caller: &Caller,
        read: &ReadFile,
        chunk_count_max: usize,
    ) -> Result<(FileRecord, Vec<PlacedChunk>)> {
        let ReadFile { file, version, range, .. } = read;
        if let FileRef::Key(bucket, _) = file {
            authorize(&caller.principal, Permission::FileRead, Some(bucket))?;
        }
        let opened = self.catalog.open_file(file, *version, *range, chunk_count_max).await;
        let (record, chunks) = opened.map_err(|error| absent(error, || absent_file(file)))?;
        check_file(caller, Permission::FileRead, file, &record)?;
        Ok((record, chunks))
    }

    /// The run, if the caller holds `permission` in its bucket. Errors: `NotFound`, `Denied`.
    pub(crate) async fn run_for(&self, caller: &Caller, permission: Permission, id: &RunId) -> Result<Run> {
        let gone = || Error::new(ErrorKind::NotFound, "find run").because("there is no such run");
        let run = self.catalog.run(id).await.map_err(|error| absent(error, gone))?;
        if !allows(&caller.principal, Permission::RunRead, Some(&run.bucket)) {
            return Err(gone());
        }
        if !self.shows_run(caller, &run).await? {
            return Err(gone());
        }
        authorize(&caller.principal, permission, Some(&run.bucket))?;
        Ok(run)
    }

    /// Whether the caller may know of the run: one of a file that waits for its release is hidden like the file.
    pub(crate) async fn shows_run(&self, caller: &Caller, run: &Run) -> Result<bool> {
        if sees_unreleased(caller, &run.bucket) {
            return Ok(true);
        }
        self.is_released(run.file_id, Some(run.version)).await
    }

    /// Whether the caller may know of the event.
    pub(crate) async fn shows_event(&self, caller: &Caller, event: &Event) -> Result<bool> {
        if sees_unreleased(caller, &event.bucket) {
            return Ok(true);
        }
        match &event.body {
            EventBody::File(file) => Ok(file.released),
            EventBody::Run(_) => self.is_released(event.file_id, None).await,
            // Uploads are the business of those who may write.
            EventBody::Upload(_) => Ok(false),
        }
    }

    async fn is_released(&self, id: FileId, version: Option<u32>) -> Result<bool> {
        match self.catalog.file(&FileRef::Id(id), version).await {
            Ok(record) => Ok(record.file.released),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The upload, if it is the caller's own or the caller manages its bucket. Errors: `NotFound`, `Gone`.
    pub(crate) async fn upload_for(
        &self,
        caller: &Caller,
        id: &UploadId,
    ) -> Result<usp_catalog::records::UploadRecord> {
        let gone = || Error::new(ErrorKind::NotFound, "find upload").because("there is no such upload");
        let record = self.catalog.upload(id).await.map_err(|error| absent(error, gone))?;
        if !may_touch(caller, &record.upload) {
            return Err(gone());
        }
        Ok(record)
    }

    /// The buckets that a list may show: `None` for all.
    pub(crate) fn scope(caller: &Caller, permission: Permission) -> Option<Vec<BucketName>> {
        match visible_buckets(&caller.principal, permission) {
            BucketScope::All => None,
            BucketScope::Only(buckets) => Some(buckets),
        }
    }
}

fn check_file(caller: &Caller, permission: Permission, file: &FileRef, record: &FileRecord) -> Result<()> {
    let bucket = &record.file.bucket;
    if !allows(&caller.principal, Permission::FileRead, Some(bucket)) || !may_see(caller, &record.file) {
        return Err(absent_file(file));
    }
    authorize(&caller.principal, permission, Some(bucket))
}

/// Whether a file that waits for its release shows itself: to those who may write there, and to workers.
pub(crate) fn may_see(caller: &Caller, file: &File) -> bool {
    file.released || sees_unreleased(caller, &file.bucket)
}

pub(crate) fn sees_unreleased(caller: &Caller, bucket: &BucketName) -> bool {
    caller.principal.kind == PrincipalKind::Service
        || allows(&caller.principal, Permission::FileWrite, Some(bucket))
}

/// Whether content that waits for its release may be read: by workers, and by those who manage the bucket.
pub(crate) fn may_read_content(caller: &Caller, file: &File) -> bool {
    file.released
        || caller.principal.kind == PrincipalKind::Service
        || allows(&caller.principal, Permission::BucketManage, Some(&file.bucket))
}

fn may_touch(caller: &Caller, upload: &Upload) -> bool {
    let writes = allows(&caller.principal, Permission::FileWrite, Some(&upload.bucket));
    let owns = caller.principal.name.as_str() == upload.owner;
    writes && (owns || allows(&caller.principal, Permission::BucketManage, Some(&upload.bucket)))
}

fn absent(error: Error, with: impl FnOnce() -> Error) -> Error {
    if error.kind() == ErrorKind::NotFound { with() } else { error }
}

/// One wording for absent and for foreign.
pub(crate) fn absent_file(file: &FileRef) -> Error {
    Error::new(ErrorKind::NotFound, "find file").because(match file {
        FileRef::Id(_) => "there is no such file".to_owned(),
        FileRef::Key(bucket, key) => format!("there is no file '{key}' in bucket '{bucket}'"),
    })
}
