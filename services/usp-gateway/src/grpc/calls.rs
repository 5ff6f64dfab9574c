//! The calls that two services offer under one name, and what several calls need.

use prost::Message;
use usp_api::{Caller, NewFile, StorageApi};
use usp_model::{File, FileId, FileRef, Result};
use usp_proto::shared::{
    DeleteFileRequest, DeleteFileResponse, GetFileMetadataRequest, GetFileMetadataResponse, ListFilesRequest,
    ListFilesResponse, PrepareUploadRequest, PrepareUploadResponse,
};

use super::admission::Session;
use super::decode::{self, Fields};
use super::encode::{self, ROOM_BYTES};
use super::upload::CHUNK_BYTES_MAX;

pub(super) async fn prepare_upload(
    storage: &dyn StorageApi,
    session: &Session,
    message: PrepareUploadRequest,
) -> Result<PrepareUploadResponse> {
    let file = NewFile { trace: session.trace.clone(), ..decode::prepared_upload(message)? };
    let upload = storage.start_upload(&session.caller, file).await?;
    Ok(PrepareUploadResponse {
        upload_id: upload.id.to_string(),
        file_id: upload.file_id.to_string(),
        received_bytes: upload.received_bytes,
        http_path: format!("/api/v1/uploads/{}", upload.id),
        chunk_size_bytes_max: CHUNK_BYTES_MAX,
        expires_at: Some(encode::timestamp(upload.expires_at)),
    })
}

pub(super) async fn get_file_metadata(
    storage: &dyn StorageApi,
    caller: &Caller,
    message: GetFileMetadataRequest,
) -> Result<GetFileMetadataResponse> {
    let file = decode::file_ref(&message.file_id, &message.bucket, &message.key)?;
    let file = storage.get_file(caller, file, version(message.version)).await?;
    Ok(GetFileMetadataResponse { file: Some(encode::file(file)) })
}

/// Files may carry long reports. A page that does not fit a message is asked for again, half as long.
pub(super) async fn list_files(
    storage: &dyn StorageApi,
    caller: &Caller,
    message: ListFilesRequest,
) -> Result<ListFilesResponse> {
    let (bucket, mut query) = decode::file_list(message)?;
    loop {
        let page = storage.list_files(caller, bucket.clone(), query.clone()).await?;
        let reply = ListFilesResponse {
            items: page.files.into_iter().map(encode::file).collect(),
            prefixes: page.prefixes,
            next_cursor: page.next_cursor.unwrap_or_default(),
        };
        if query.limit == 1 || reply.encoded_len() <= ROOM_BYTES {
            return Ok(reply);
        }
        query.limit /= 2;
    }
}

pub(super) async fn delete_file(
    storage: &dyn StorageApi,
    caller: &Caller,
    message: DeleteFileRequest,
) -> Result<DeleteFileResponse> {
    let file = decode::file_ref(&message.file_id, &message.bucket, &message.key)?;
    let mut fields = Fields::default();
    let etags = fields.etags(&message.if_match);
    let condition = fields.end(Some(etags))?;
    storage.delete_file(caller, file, condition).await?;
    Ok(DeleteFileResponse {})
}

/// In messages, version 0 is the current one.
pub(super) fn version(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

/// The id of the file that is meant. An id is not looked up: it may be that of an open upload.
pub(super) async fn file_id(storage: &dyn StorageApi, caller: &Caller, file: FileRef) -> Result<FileId> {
    match file {
        FileRef::Id(id) => Ok(id),
        by_key @ FileRef::Key(..) => {
            let File { id, .. } = storage.get_file(caller, by_key, None).await?;
            Ok(id)
        }
    }
}
