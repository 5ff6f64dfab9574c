//! Upload sessions: opened, continued, joined, ended.

use std::collections::HashSet;

use async_trait::async_trait;
use usp_model::{Act, FileId, Result, Upload, UploadId};

use crate::records::{NewUpload, UploadProgress, UploadRecord};

#[async_trait]
pub trait UploadFacts: Send + Sync + 'static {
    /// Opens a session. If a file stands under the key, its id replaces the preliminary one. Errors: `NotFound` (bucket).
    async fn create_upload(&self, act: Act, upload: NewUpload) -> Result<Upload>;
    /// Errors: `NotFound`; `Gone` once expired or terminated.
    async fn upload(&self, id: &UploadId) -> Result<UploadRecord>;
    /// The newest upload that was opened under this preliminary file id, whatever its state. Errors: `NotFound`.
    async fn upload_of_file(&self, file_id: &FileId) -> Result<Upload>;
    /// Adds durable bytes. Errors: `PreconditionFailed` when the offset differs, `Gone`, `NotFound`, `Conflict` when
    /// completed, `Unavailable` when a known chunk has no row any more (the caller stores those bytes again).
    async fn append_upload(&self, act: Act, progress: UploadProgress) -> Result<Upload>;
    /// Sets the size of an upload that was opened without one. Idempotent. Errors: `InvalidInput` when it has another size or
    /// more bytes already, `Gone`, `NotFound`, `Conflict` when completed.
    async fn announce_upload_size(&self, act: Act, id: &UploadId, size_bytes: u64) -> Result<Upload>;
    /// Opens a session over the contents of the parts, in this order, with this state of their SHA-256, and completes the
    /// parts. No byte is copied. Idempotent for equal parts, bucket, key, owner and digests. Errors: `NotFound`; `Gone` when the
    /// session that they were joined to before has ended; `Conflict` when one is no part, is not open, has bytes missing, was
    /// joined otherwise, or lies in another dedup domain.
    async fn join_uploads(
        &self,
        act: Act,
        upload: NewUpload,
        parts: Vec<UploadId>,
        sha256_state: Vec<u8>,
    ) -> Result<Upload>;
    /// Ends an open session and forgets its bytes. Errors: `NotFound`, `Gone`, `Conflict` when completed.
    async fn terminate_upload(&self, act: Act, id: &UploadId) -> Result<()>;
    /// Ends up to `limit` sessions whose time is over, but for those that `receiving` names: bytes arrive in them. Gives
    /// their number. Sessions behind a plain PUT (`is_announced: false`) of an earlier process are ended by `recover`.
    async fn expire_uploads(&self, act: Act, limit: u32, receiving: HashSet<UploadId>) -> Result<u64>;
}
