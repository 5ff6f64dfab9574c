//! Files and their versions: committed, found, listed, changed, deleted.

use async_trait::async_trait;
use usp_model::{
    Act, BucketName, ByteRange, File, FileId, FilePage, FilePatch, FileQuery, FileRef, PlacedChunk, Result,
    Timestamp, UserName,
};

use crate::records::{CommittedVersion, FileRecord, NewCopy, NewVersion};

#[async_trait]
pub trait FileFacts: Send + Sync + 'static {
    /// The commit: chunk rows, manifest, version, usage, runs, events, the end of the upload.
    /// A key of idempotency that was used in the last day answers with what it made, and its upload ends.
    /// Errors: `PreconditionFailed`, `StorageFull` (quota), `NotFound` (bucket, upload), `Gone` (upload), `Conflict`
    /// (upload completed, or the key of idempotency made another file), `Unavailable` when a known chunk has no row any
    /// more, `Internal` when the chunks do not add up to `size_bytes`.
    async fn commit_version(&self, act: Act, version: NewVersion) -> Result<CommittedVersion>;
    /// Makes a version that shares the content of another, in O(1): no byte and no chunk is touched. Errors: as
    /// `commit_version`, `NotFound` (source), `Conflict` when the buckets are of different dedup domains.
    async fn copy_version(&self, act: Act, copy: NewCopy) -> Result<CommittedVersion>;
    /// The current version, or the one asked for. A preliminary id of a completed upload finds its file.
    /// Errors: `NotFound`.
    async fn file(&self, file: &FileRef, version: Option<u32>) -> Result<FileRecord>;
    /// As `file`, with the first chunks of `range` (`None`: of all of it), at most `count_max`, for a reader. No chunks when they
    /// cannot be found: the read itself reports that.
    async fn open_file(
        &self,
        file: &FileRef,
        version: Option<u32>,
        range: Option<ByteRange>,
        count_max: usize,
    ) -> Result<(FileRecord, Vec<PlacedChunk>)>;
    /// Newest first, the newest 1,000, without reports. `created_at` is when that version came. Errors: `NotFound`.
    async fn versions(&self, id: &FileId) -> Result<Vec<File>>;
    /// One page, without reports. A page looks at a bounded number of rows: a filter that matches little may give fewer
    /// than `limit` entries, even none, and still a cursor; only a page without one is the last.
    /// Errors: `NotFound`; `InvalidInput` for a cursor of another query, a SHA-256 that is none, or a delimiter in an
    /// order by time.
    async fn list_files(&self, bucket: &BucketName, query: FileQuery) -> Result<FilePage>;
    /// Which of these SHA-256 (hex) some current version in the bucket's dedup domain has.
    async fn known_sha256(&self, bucket: &BucketName, sha256: Vec<String>) -> Result<Vec<String>>;
    /// Errors: `NotFound`, `PreconditionFailed`, `InvalidInput` when too many labels result.
    async fn update_file(&self, act: Act, id: &FileId, patch: FilePatch) -> Result<File>;
    /// Deletes up to `limit` files whose time is over, each as `delete_file` does. Gives their number.
    async fn expire_files(&self, act: Act, limit: u32) -> Result<u64>;
    /// Deletes the file with all its versions, or is `NotFound`; runs that wait are cancelled.
    async fn delete_file(&self, act: Act, id: &FileId, condition_etags: Option<Vec<String>>) -> Result<()>;
    /// The file that this idempotency key made, if it was used by this owner in the last day.
    async fn file_of_idempotency_key(
        &self,
        owner: &UserName,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<FileId>>;
}
