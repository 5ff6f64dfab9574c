//! `usp.processor.v1.FileProcessorService`.

use async_trait::async_trait;
use prost::Message;
use tonic::{Request, Response, Status};
use usp_model::{FileId, Result, RuleName, RunId};
use usp_proto::processor::file_processor_service_server::FileProcessorService;
use usp_proto::processor::{
    CancelRunRequest, CancelRunResponse, GetProcessingStatusRequest, GetProcessingStatusResponse,
    ListRunsRequest, ListRunsResponse, ProcessFileRequest, ProcessFileResponse, RetryRunRequest,
    RetryRunResponse, WatchRunsRequest, WatchRunsResponse,
};

use super::admission::Session;
use super::allowed::Guarded;
use super::decode::{self, Fields, optional};
use super::encode::{self, ROOM_BYTES};
use super::watch::{self, Watched};
use super::{Service, calls};

#[async_trait]
impl FileProcessorService for Service {
    async fn process_file(
        &self,
        request: Request<ProcessFileRequest>,
    ) -> Result<Response<ProcessFileResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.process(&session, message).await)
    }

    async fn get_processing_status(
        &self,
        request: Request<GetProcessingStatusRequest>,
    ) -> Result<Response<GetProcessingStatusResponse>, Status> {
        let (session, message) = Session::open(request)?;
        let status = self.status(&session, &message.file_id, &message.bucket, &message.key).await;
        session.answer(status.map(|status| GetProcessingStatusResponse { status: Some(status) }))
    }

    async fn retry_run(
        &self,
        request: Request<RetryRunRequest>,
    ) -> Result<Response<RetryRunResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.retry(&session, &message.run_id).await)
    }

    async fn cancel_run(
        &self,
        request: Request<CancelRunRequest>,
    ) -> Result<Response<CancelRunResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.cancel(&session, &message.run_id).await)
    }

    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.runs(&session, &message).await)
    }

    type WatchRunsStream = Guarded<WatchRunsResponse, Status>;

    async fn watch_runs(
        &self,
        request: Request<WatchRunsRequest>,
    ) -> Result<Response<Self::WatchRunsStream>, Status> {
        let (session, message) = Session::open(request)?;
        session.answer(self.follow_runs(&session, &message).await)
    }
}

impl Service {
    async fn process(&self, session: &Session, message: ProcessFileRequest) -> Result<ProcessFileResponse> {
        let mut fields = Fields::default();
        let rule = fields.take("rule", RuleName::parse(&message.rule));
        let rule = fields.end(rule)?;
        let file = decode::file_ref(&message.file_id, &message.bucket, &message.key)?;
        let id = calls::file_id(self.storage.as_ref(), &session.caller, file).await?;
        let run = self.storage.create_run(&session.caller, id, rule).await?;
        Ok(ProcessFileResponse { run: Some(encode::run(run)) })
    }

    async fn retry(&self, session: &Session, run_id: &str) -> Result<RetryRunResponse> {
        let run = self.storage.retry_run(&session.caller, RunId::parse(run_id)?).await?;
        Ok(RetryRunResponse { run: Some(encode::run(run)) })
    }

    async fn cancel(&self, session: &Session, run_id: &str) -> Result<CancelRunResponse> {
        let run = self.storage.cancel_run(&session.caller, RunId::parse(run_id)?).await?;
        Ok(CancelRunResponse { run: Some(encode::run(run)) })
    }

    async fn runs(&self, session: &Session, message: &ListRunsRequest) -> Result<ListRunsResponse> {
        let mut query = decode::run_list(message)?;
        loop {
            let page = self.storage.list_runs(&session.caller, query.clone()).await?;
            let reply = ListRunsResponse {
                items: page.runs.into_iter().map(encode::run).collect(),
                next_cursor: page.next_cursor.unwrap_or_default(),
            };
            // Runs may carry long errors. A page that does not fit a message is asked for again, half as long.
            if query.limit == 1 || reply.encoded_len() <= ROOM_BYTES {
                return Ok(reply);
            }
            query.limit /= 2;
        }
    }

    async fn follow_runs(
        &self,
        session: &Session,
        message: &WatchRunsRequest,
    ) -> Result<Guarded<WatchRunsResponse, Status>> {
        let mut fields = Fields::default();
        let bucket = optional(&message.bucket).and_then(|bucket| fields.bucket(bucket));
        let watched = Watched {
            bucket: fields.end(Some(bucket))?,
            file: optional(&message.file_id).map(FileId::parse).transpose()?,
            kinds: watch::run_kinds(),
            after: message.after_seq,
        };
        let reply = |event| WatchRunsResponse { event: Some(event) };
        watch::watch(self.storage.as_ref(), session.clone(), watched, reply).await
    }
}
