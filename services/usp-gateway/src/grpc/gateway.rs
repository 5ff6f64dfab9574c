//! `usp.gateway.v1.ApiGatewayService`.

use async_trait::async_trait;
use tonic::{Request, Response, Status};
use usp_model::Result;
use usp_proto::gateway::api_gateway_service_server::ApiGatewayService;
use usp_proto::gateway::{GetFileStatusRequest, GetFileStatusResponse};
use usp_proto::shared::{
    DeleteFileRequest, DeleteFileResponse, FileStatus, GetFileMetadataRequest, GetFileMetadataResponse,
    ListFilesRequest, ListFilesResponse, PrepareUploadRequest, PrepareUploadResponse,
};

use super::admission::Session;
use super::{Service, calls, decode, encode};

#[async_trait]
impl ApiGatewayService for Service {
    async fn prepare_upload(
        &self,
        request: Request<PrepareUploadRequest>,
    ) -> Result<Response<PrepareUploadResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(calls::prepare_upload(self.storage.as_ref(), &session, message).await)
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

    async fn delete_file(
        &self,
        request: Request<DeleteFileRequest>,
    ) -> Result<Response<DeleteFileResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(calls::delete_file(self.storage.as_ref(), &session.caller, message).await)
    }

    async fn get_file_status(
        &self,
        request: Request<GetFileStatusRequest>,
    ) -> Result<Response<GetFileStatusResponse>, Status> {
        let (session, message) = Session::open(request)?;
        let status = self.status(&session, &message.file_id, &message.bucket, &message.key).await;
        session.answer(status.map(|status| GetFileStatusResponse { status: Some(status) }))
    }
}

impl Service {
    /// The status of a file, for both services that offer it.
    pub(super) async fn status(
        &self,
        session: &Session,
        file_id: &str,
        bucket: &str,
        key: &str,
    ) -> Result<FileStatus> {
        let file = decode::file_ref(file_id, bucket, key)?;
        let id = calls::file_id(self.storage.as_ref(), &session.caller, file).await?;
        self.storage.file_status(&session.caller, id).await.map(encode::file_status)
    }
}
