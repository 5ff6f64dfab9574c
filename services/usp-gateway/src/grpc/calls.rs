//! The calls that two services offer under one name, and what several calls need.

use prost::Message;
use usp_api::{Caller, NewFile, StorageApi};
use usp_model::{File, FileId, FileRef, Result};
use usp_proto::shared::{
    DeleteFileRequest, DeleteFileResponse, GetFileMetadataRequest, GetFileMetadataResponse, ListFilesRequest,
    ListFilesResponse, PrepareUploadRequest, PrepareUploadResponse,
};

use super::admission::Session;
use super::ask::{self, Fields};
use super::show::{self, ROOM_BYTES};
use super::upload::CHUNK_BYTES_MAX;

pub(super) async fn prepare_upload(
    storage: &dyn StorageApi,
    session: &Session,
    ask: PrepareUploadRequest,
) -> Result<PrepareUploadResponse> {
    let file = NewFile { trace: session.trace.clone(), ..ask::prepared_upload(ask)? };
    let upload = storage.start_upload(&session.caller, file).await?;
    Ok(PrepareUploadResponse {
        upload_id: upload.id.to_string(),
        file_id: upload.file_id.to_string(),
        received_bytes: upload.received_bytes,
        http_path: format!("/api/v1/uploads/{}", upload.id),
        chunk_size_bytes_max: CHUNK_BYTES_MAX,
        expires_at: Some(show::timestamp(upload.expires_at)),
    })
}

pub(super) async fn get_file_metadata(
    storage: &dyn StorageApi,
    caller: &Caller,
    ask: GetFileMetadataRequest,
) -> Result<GetFileMetadataResponse> {
    let file = ask::file_ref(&ask.file_id, &ask.bucket, &ask.key)?;
    let file = storage.get_file(caller, file, version(ask.version)).await?;
    Ok(GetFileMetadataResponse { file: Some(show::file(file)) })
}

/// Files may carry long reports. A page that does not fit a message is asked for again, half as long.
pub(super) async fn list_files(
    storage: &dyn StorageApi,
    caller: &Caller,
    ask: ListFilesRequest,
) -> Result<ListFilesResponse> {
    let (bucket, mut query) = ask::file_list(ask)?;
    loop {
        let page = storage.list_files(caller, bucket.clone(), query.clone()).await?;
        let reply = ListFilesResponse {
            items: page.files.into_iter().map(show::file).collect(),
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
    ask: DeleteFileRequest,
) -> Result<DeleteFileResponse> {
    let file = ask::file_ref(&ask.file_id, &ask.bucket, &ask.key)?;
    let mut fields = Fields::default();
    let etags = fields.etags(&ask.if_match);
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
