//! `ReadFile`: one head, then chunks in order.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tonic::Status;
use usp_api::{ReadFile, Reading, StorageApi};
use usp_model::{ByteRange, Error, ErrorKind, File, FileRef, Result};
use usp_proto::storage::read_file_response::Part;
use usp_proto::storage::{ReadFileHead, ReadFileRequest, ReadFileResponse};

use super::admission::Session;
use super::allowed::{Guarded, while_allowed};
use super::decode::{self, Fields};
use super::{calls, encode};

/// Small enough for any client's message limit, large enough that framing costs nothing.
const CHUNK_BYTES_MAX: usize = 256 << 10;

pub(super) async fn read(
    storage: &dyn StorageApi,
    session: &Session,
    message: ReadFileRequest,
) -> Result<Guarded<ReadFileResponse, Status>> {
    let Reading { file, range, content } =
        storage.read(&session.caller, pinned_read(storage, session, message).await?).await?;
    // With its reports the head could exceed the largest message.
    let file = File { reports: BTreeMap::new(), ..file };
    let head = ReadFileHead {
        file: Some(encode::file(file)),
        offset_bytes: range.start(),
        length_bytes: range.len(),
    };
    let head = stream::iter([Ok(ReadFileResponse { part: Some(Part::Head(head)) })]);
    let failing = session.clone();
    let chunks = content.flat_map(move |piece| match piece {
        Ok(piece) => stream::iter(cut(piece)).map(Ok).left_stream(),
        Err(error) => stream::iter([Err(failing.status(&error))]).right_stream(),
    });
    Ok(while_allowed(session.clone(), head.chain(chunks), |session, error| session.status(&error)))
}

/// Turns the message into a read of one version. A range that passes the end is cut there, and a condition is compared
/// with the file: both look the file up first and then pin the version that was found.
async fn pinned_read(
    storage: &dyn StorageApi,
    session: &Session,
    message: ReadFileRequest,
) -> Result<ReadFile> {
    let mut fields = Fields::default();
    let etags = fields.etags(&message.if_match);
    let etags = fields.end(Some(etags))?;
    let file = decode::file_ref(&message.file_id, &message.bucket, &message.key)?;
    let version = calls::version(message.version);
    if message.offset_bytes == 0 && message.length_bytes.is_none() && etags.is_none() {
        return Ok(ReadFile { file, version, range: None, coding: usp_api::Coding::Plain });
    }
    let found = storage.get_file(&session.caller, file, version).await?;
    if etags.is_some_and(|etags| !etags.is_empty() && !etags.contains(&found.etag)) {
        return Err(Error::new(ErrorKind::PreconditionFailed, "read file")
            .about(found.id)
            .because("the file has another etag than if_match names"));
    }
    if message.offset_bytes > found.size_bytes {
        return Err(Error::new(ErrorKind::OutOfRange, "read file").about(found.id).because(format!(
            "offset {} lies behind the end at {}",
            message.offset_bytes, found.size_bytes
        )));
    }
    let wanted = message.length_bytes.unwrap_or(u64::MAX);
    let end = message.offset_bytes.saturating_add(wanted).min(found.size_bytes);
    let range = ByteRange::new(message.offset_bytes, end)?;
    Ok(ReadFile {
        file: FileRef::Id(found.id),
        version: Some(found.version),
        range: Some(range),
        coding: usp_api::Coding::Plain,
    })
}

fn cut(mut piece: Bytes) -> Vec<ReadFileResponse> {
    let mut chunks = Vec::with_capacity(piece.len() / CHUNK_BYTES_MAX + 1);
    while !piece.is_empty() {
        let chunk = piece.split_to(piece.len().min(CHUNK_BYTES_MAX));
        chunks.push(ReadFileResponse { part: Some(Part::Chunk(chunk)) });
    }
    chunks
}
