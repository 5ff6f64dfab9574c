//! `usp.storage.v1.FileStorageService`.

use async_trait::async_trait;
use tonic::{Request, Response, Status, Streaming};
use usp_model::Result;
use usp_proto::shared::{
    DeleteFileRequest, DeleteFileResponse, GetFileMetadataRequest, GetFileMetadataResponse, ListFilesRequest,
    ListFilesResponse, PrepareUploadRequest, PrepareUploadResponse,
};
use usp_proto::storage::file_storage_service_server::FileStorageService;
use usp_proto::storage::{
    NegotiateChunksRequest, NegotiateChunksResponse, ReadFileRequest, ReadFileResponse, UpdateFileRequest,
    UpdateFileResponse, UploadRequest, UploadResponse, WatchFileRequest, WatchFileResponse,
};

use super::admission::Session;
use super::allowed::Guarded;
use super::decode::{self, Fields};
use super::watch::{self, Watched};
use super::{Service, calls, encode, read, upload};

#[async_trait]
impl FileStorageService for Service {
    async fn prepare_upload(
        &self,
        request: Request<PrepareUploadRequest>,
    ) -> Result<Response<PrepareUploadResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(calls::prepare_upload(self.storage.as_ref(), &session, message).await)
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<UploadResponse>, Status> {
        let (session, messages) = Session::open(request)?;
        session.answer(upload::upload(self.storage.as_ref(), &session, messages).await)
    }

    async fn negotiate_chunks(
        &self,
        request: Request<NegotiateChunksRequest>,
    ) -> Result<Response<NegotiateChunksResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.known(&session, message).await)
    }

    async fn get_file_metadata(
        &self,
        request: Request<GetFileMetadataRequest>,
    ) -> Result<Response<GetFileMetadataResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(calls::get_file_metadata(self.storage.as_ref(), &session.caller, message).await)
    }

    async fn list_files(
        &self,
        request: Request<ListFilesRequest>,
    ) -> Result<Response<ListFilesResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(calls::list_files(self.storage.as_ref(), &session.caller, message).await)
    }

    type ReadFileStream = Guarded<ReadFileResponse, Status>;

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<Self::ReadFileStream>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(read::read(self.storage.as_ref(), &session, message).await)
    }

    async fn delete_file(
        &self,
        request: Request<DeleteFileRequest>,
    ) -> Result<Response<DeleteFileResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(calls::delete_file(self.storage.as_ref(), &session.caller, message).await)
    }

    async fn update_file(
        &self,
        request: Request<UpdateFileRequest>,
    ) -> Result<Response<UpdateFileResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.update(&session, message).await)
    }

    type WatchFileStream = Guarded<WatchFileResponse, Status>;

    async fn watch_file(
        &self,
        request: Request<WatchFileRequest>,
    ) -> Result<Response<Self::WatchFileStream>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.follow(&session, message).await)
    }
}

impl Service {
    async fn known(
        &self,
        session: &Session,
        message: NegotiateChunksRequest,
    ) -> Result<NegotiateChunksResponse> {
        let mut fields = Fields::default();
        let bucket = fields.bucket(&message.bucket);
        let bucket = fields.end(bucket)?;
        let wanted = decode::sha256_list(message.sha256)?;
        let mut present = self.storage.known_contents(&session.caller, bucket, wanted.clone()).await?;
        present.sort_unstable();
        let in_order = wanted.into_iter().filter(|digest| present.binary_search(digest).is_ok());
        Ok(NegotiateChunksResponse { present: in_order.collect() })
    }

    async fn update(&self, session: &Session, message: UpdateFileRequest) -> Result<UpdateFileResponse> {
        let file = decode::file_ref(&message.file_id, &message.bucket, &message.key)?;
        let patch = decode::file_patch(message)?;
        let id = calls::file_id(self.storage.as_ref(), &session.caller, file).await?;
        let file = self.storage.update_file(&session.caller, id, patch).await?;
        Ok(UpdateFileResponse { file: Some(encode::file(file)) })
    }

    async fn follow(
        &self,
        session: &Session,
        message: WatchFileRequest,
    ) -> Result<Guarded<WatchFileResponse, Status>> {
        let file = decode::file_ref(&message.file_id, &message.bucket, &message.key)?;
        let id = calls::file_id(self.storage.as_ref(), &session.caller, file).await?;
        let watched = Watched { file: Some(id), after: message.after_seq, ..Watched::default() };
        let reply = |event| WatchFileResponse { event: Some(event) };
        watch::watch(self.storage.as_ref(), session.clone(), watched, reply).await
    }
}
