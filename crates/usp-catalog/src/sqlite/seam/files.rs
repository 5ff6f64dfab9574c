use async_trait::async_trait;
use usp_model::{
    Act, BucketName, ByteRange, File, FileId, FilePage, FilePatch, FileQuery, FileRef, PlacedChunk, Result,
    Timestamp, UserName,
};

use crate::FileFacts;
use crate::records::{CommittedVersion, FileRecord, NewCopy, NewVersion};
use crate::sqlite::{SqliteCatalog, commit, file_list, files, idempotency, manifests};

#[async_trait]
impl FileFacts for SqliteCatalog {
    async fn commit_version(&self, act: Act, version: NewVersion) -> Result<CommittedVersion> {
        self.writer.write("commit version", act, move |tx| commit::commit_version(tx, &version)).await
    }

    async fn copy_version(&self, act: Act, copy: NewCopy) -> Result<CommittedVersion> {
        self.writer.write("copy version", act, move |tx| commit::copy_version(tx, &copy)).await
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

    async fn update_file(&self, act: Act, id: &FileId, patch: FilePatch) -> Result<File> {
        let id = *id;
        self.writer.write("update file", act, move |tx| files::update(tx, &id, &patch)).await
    }

    async fn expire_files(&self, act: Act, limit: u32) -> Result<u64> {
        self.writer.write("expire files", act, move |tx| files::expire(tx, limit)).await
    }

    async fn delete_file(&self, act: Act, id: &FileId, condition_etags: Option<Vec<String>>) -> Result<()> {
        let id = *id;
        self.writer
            .write("delete file", act, move |tx| files::delete(tx, &id, condition_etags.as_deref()))
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
}
