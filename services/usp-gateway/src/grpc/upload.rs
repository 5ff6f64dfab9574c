//! `Upload`: one header, then chunks until the client closes its side.
//!
//! 1. Without an upload id the content becomes a file at once. A stream that breaks stores nothing.
//! 2. With an upload id the chunks are appended at the offset. When the stream breaks, what is durable by then counts.
//! 3. Once the upload has all its bytes it is finished. An upload of unknown size is finished when the client closes
//!    its side in order: only the client knows that nothing is missing.

use bytes::Bytes;
use futures::{StreamExt, future};
use tonic::{Code, Status, Streaming};
use usp_api::{AppendUpload, ByteStream, Caller, NewFile, StorageApi};
use usp_model::{Error, ErrorKind, File, FileRef, Result, Upload, UploadId, UploadShape, UploadState};
use usp_proto::storage::upload_request::Part;
use usp_proto::storage::{UploadHeader, UploadRequest, UploadResponse};

use super::admission::Session;
use super::allowed::while_allowed;
use super::{decode, encode};

/// Content of one message. Larger ones are refused, so that a stream cannot hold more than its share of memory.
pub(super) const CHUNK_BYTES_MAX: u32 = 1 << 20;

pub(super) async fn upload(
    storage: &dyn StorageApi,
    session: &Session,
    mut messages: Streaming<UploadRequest>,
) -> Result<UploadResponse> {
    let first = messages.message().await.map_err(|status| broken(&status))?;
    let Some(Part::Header(header)) = first.and_then(|message| message.part) else {
        return Err(out_of_order("the first message of an upload is its header"));
    };
    let content = messages
        .map(chunk)
        .filter(|chunk| future::ready(chunk.as_ref().map_or(true, |bytes| !bytes.is_empty())));
    let content = while_allowed(session.clone(), content, |_, error| error);
    if header.upload_id.is_empty() {
        put(storage, session, header, content).await
    } else {
        append(storage, &session.caller, &header, content).await
    }
}

async fn put(
    storage: &dyn StorageApi,
    session: &Session,
    header: UploadHeader,
    content: ByteStream,
) -> Result<UploadResponse> {
    let file = NewFile { trace: session.trace.clone(), ..decode::one_shot_upload(header)? };
    let outcome = storage.put(&session.caller, file, content).await?;
    Ok(stored(outcome.file))
}

async fn append(
    storage: &dyn StorageApi,
    caller: &Caller,
    header: &UploadHeader,
    content: ByteStream,
) -> Result<UploadResponse> {
    let append = AppendUpload {
        id: UploadId::parse(&header.upload_id)?,
        offset: header.offset_bytes,
        size_bytes: None,
    };
    let upload = storage.append(caller, append, content).await?;
    if upload.state == UploadState::Completed {
        return completed(storage, caller, upload).await;
    }
    // A part becomes no file by itself: joining the parts is left to tus.
    let is_part = upload.shape == UploadShape::Part;
    if is_part || upload.size_bytes.is_some_and(|size| upload.received_bytes < size) {
        return Ok(UploadResponse { file: None, received_bytes: upload.received_bytes });
    }
    let outcome = storage.finish_upload(caller, upload.id, Vec::new()).await?;
    Ok(stored(outcome.file))
}

/// The answer to an upload that had been finished before: its file, as it stands now.
async fn completed(storage: &dyn StorageApi, caller: &Caller, upload: Upload) -> Result<UploadResponse> {
    let file = storage.get_file(caller, FileRef::Key(upload.bucket, upload.key), None).await?;
    Ok(UploadResponse { file: Some(encode::file(file)), received_bytes: upload.received_bytes })
}

fn stored(file: File) -> UploadResponse {
    let received_bytes = file.size_bytes;
    UploadResponse { file: Some(encode::file(file)), received_bytes }
}

fn chunk(message: Result<UploadRequest, Status>) -> Result<Bytes> {
    match message.map_err(|status| broken(&status))?.part {
        Some(Part::Chunk(bytes)) if bytes.len() > CHUNK_BYTES_MAX as usize => {
            Err(Error::new(ErrorKind::TooLarge, "read upload")
                .because(format!("a chunk message carries at most {CHUNK_BYTES_MAX} bytes")))
        }
        Some(Part::Chunk(bytes)) => Ok(bytes),
        Some(Part::Header(_)) => Err(out_of_order("an upload has one header, and it comes first")),
        None => Err(out_of_order("a message of an upload carries a header or a chunk")),
    }
}

fn out_of_order(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "read upload").because(reason)
}

fn broken(status: &Status) -> Error {
    let error = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Error::new(ErrorKind::TooLarge, "receive upload")
            .because("a message is larger than this door takes"),
        _ => Error::new(ErrorKind::Unavailable, "receive upload")
            .because("the upload broke off before its end; continue it where it stands"),
    };
    error.caused_by(status.message().to_owned())
}
