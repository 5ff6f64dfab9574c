//! Appending to an upload, and making the file once it is complete.

use std::time::Duration;

use axum::Extension;
use axum::http::HeaderMap;
use tokio::time::sleep;
use usp_api::{AppendUpload, ByteStream, Caller, PutOutcome, StorageApi};
use usp_model::limits::FILE_SIZE_BYTES_MAX;
use usp_model::{Error, ErrorKind, FileId, FileRef, Result, Upload, UploadId, UploadShape, UploadState};

use crate::request::ConfirmedUpload;
use crate::rest::input::content;

/// Far longer than a refusal takes, and short of a client's patience.
const FINISH_RETRY_COUNT_MAX: u32 = 50;
const FINISH_PAUSE: Duration = Duration::from_millis(20);

/// The state of an upload after a request.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) upload: Upload,
    /// Set once the upload is complete and its file exists.
    pub(super) file: Option<FileId>,
}

impl Receipt {
    /// Marks the answer for the rate limit: storage has confirmed the upload.
    pub(super) fn confirmation(&self) -> Extension<ConfirmedUpload> {
        Extension(ConfirmedUpload(self.upload.id))
    }
}

/// Appends, and finishes with the last byte.
///
/// Errors: `Conflict` when the upload has another offset. Cancel: run it in a task of its own, since bytes that arrived
/// must become a file even if their client is gone by then.
pub(super) async fn receive(
    storage: &dyn StorageApi,
    caller: &Caller,
    append: AppendUpload,
    content: ByteStream,
) -> Result<Receipt> {
    let upload = storage.append(caller, append, content).await.map_err(|error| {
        // The offset is the only condition here, and tus answers 409 where it differs.
        if error.kind() == ErrorKind::PreconditionFailed {
            Error::new(ErrorKind::Conflict, "append to upload").because(error.detail()).caused_by(error)
        } else {
            error
        }
    })?;
    finish_if_complete(storage, caller, upload).await
}

/// Makes the file of a complete upload, unless it exists already.
pub(super) async fn finish_if_complete(
    storage: &dyn StorageApi,
    caller: &Caller,
    upload: Upload,
) -> Result<Receipt> {
    if upload.state == UploadState::Completed && upload.shape != UploadShape::Part {
        return Ok(completed(storage, caller, upload).await);
    }
    if upload.size_bytes != Some(upload.received_bytes) || upload.shape == UploadShape::Part {
        return Ok(Receipt { upload, file: None });
    }
    match finish(storage, caller, upload.id).await {
        Ok(outcome) => {
            let upload = Upload { state: UploadState::Completed, ..upload };
            Ok(Receipt { upload, file: Some(outcome.file.id) })
        }
        Err(error) => after_failed_finish(storage, caller, &upload, error).await,
    }
}

/// Makes the file. Another request may hold the upload for a moment, to learn that there is nothing left to append; the
/// one whose bytes are all there must not lose to it.
async fn finish(storage: &dyn StorageApi, caller: &Caller, id: UploadId) -> Result<PutOutcome> {
    for _ in 0..FINISH_RETRY_COUNT_MAX {
        match storage.finish_upload(caller, id, Vec::new()).await {
            Err(error) if error.kind() == ErrorKind::Locked => sleep(FINISH_PAUSE).await,
            ended => return ended,
        }
    }
    storage.finish_upload(caller, id, Vec::new()).await
}

/// Decides what follows from a failure to finish.
async fn after_failed_finish(
    storage: &dyn StorageApi,
    caller: &Caller,
    upload: &Upload,
    error: Error,
) -> Result<Receipt> {
    let kind = error.kind();
    if matches!(kind, ErrorKind::Conflict | ErrorKind::OutcomeUnknown) {
        // Another request may have been faster, or the answer to this one was lost: then its file is ours.
        let upload = storage.get_upload(caller, upload.id).await?;
        if upload.state == UploadState::Completed {
            return Ok(completed(storage, caller, upload).await);
        }
    } else if matches!(kind, ErrorKind::DigestMismatch | ErrorKind::UnsupportedMedia) {
        // No request can make a file of these bytes. If they cannot be dropped now, they expire.
        let _dropped = storage.terminate_upload(caller, upload.id).await;
    }
    Err(error)
}

/// The file may have an id of its own by now, if another was stored under the key in the meantime. Whoever may not look
/// at it is told the preliminary one, which leads to it as well.
async fn completed(storage: &dyn StorageApi, caller: &Caller, upload: Upload) -> Receipt {
    let file = storage.get_file(caller, FileRef::Id(upload.file_id), None).await;
    let id = file.map_or(upload.file_id, |file| file.id);
    Receipt { upload, file: Some(id) }
}

/// Errors: `TooLarge` for more than any file has.
pub(super) fn check_size(size_bytes: u64) -> Result<u64> {
    if size_bytes <= FILE_SIZE_BYTES_MAX {
        return Ok(size_bytes);
    }
    Err(Error::new(ErrorKind::TooLarge, "open upload")
        .because(format!("a file has at most {FILE_SIZE_BYTES_MAX} bytes")))
}

/// Refuses what cannot fit before a byte of it is read. Content of unannounced length is cut where it is too long.
pub(super) fn check_fits(headers: &HeaderMap, offset: u64, size_bytes: Option<u64>) -> Result<()> {
    let (Some(size_bytes), Some(announced)) = (size_bytes, content::announced_size(headers)?) else {
        return Ok(());
    };
    if offset.saturating_add(announced) <= size_bytes {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, "append to upload").because(format!(
        "{announced} bytes at {offset} go beyond the {size_bytes} bytes that were announced for the upload"
    )))
}

/// Waits for work that goes on if the request is dropped.
pub(super) async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let ended = tokio::spawn(work).await;
    ended.map_err(|source| Error::new(ErrorKind::Internal, "receive upload").caused_by(source))?
}
