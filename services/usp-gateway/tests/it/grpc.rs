//! The gRPC door, through the generated clients.
#![expect(clippy::unwrap_used, reason = "a test that cannot speak may stop at once")]

mod calls;
mod refusals;
mod streams;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use usp_proto::gateway::api_gateway_service_client::ApiGatewayServiceClient;
use usp_proto::processor::file_processor_service_client::FileProcessorServiceClient;
use usp_proto::shared::File;
use usp_proto::storage::file_storage_service_client::FileStorageServiceClient;
use usp_proto::storage::upload_request::Part;
use usp_proto::storage::{UploadHeader, UploadRequest};

use crate::support::TestGateway;

type Signed = InterceptedService<Channel, Token>;

/// Sends the same token with every call.
#[derive(Debug, Clone, Copy)]
struct Token(&'static str);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

async fn channel(gateway: &TestGateway) -> Channel {
    Channel::from_shared(format!("http://{}", gateway.grpc)).unwrap().connect().await.unwrap()
}

async fn storage(gateway: &TestGateway, token: &'static str) -> FileStorageServiceClient<Signed> {
    FileStorageServiceClient::with_interceptor(channel(gateway).await, Token(token))
}

async fn processor(gateway: &TestGateway, token: &'static str) -> FileProcessorServiceClient<Signed> {
    FileProcessorServiceClient::with_interceptor(channel(gateway).await, Token(token))
}

async fn entrance(gateway: &TestGateway, token: &'static str) -> ApiGatewayServiceClient<Signed> {
    ApiGatewayServiceClient::with_interceptor(channel(gateway).await, Token(token))
}

fn header(key: &str) -> UploadHeader {
    UploadHeader { key: key.to_owned(), ..UploadHeader::default() }
}

fn messages(header: UploadHeader, chunks: &[&'static [u8]]) -> Vec<UploadRequest> {
    let header = UploadRequest { part: Some(Part::Header(header)) };
    let chunks =
        chunks.iter().map(|chunk| UploadRequest { part: Some(Part::Chunk(Bytes::from_static(chunk))) });
    std::iter::once(header).chain(chunks).collect()
}

/// Stores a file at once.
async fn stored(gateway: &TestGateway, key: &str, chunks: &[&'static [u8]]) -> File {
    let header = UploadHeader {
        media_type: "text/csv".to_owned(),
        metadata: BTreeMap::from([("author".to_owned(), "ann".to_owned())]),
        ..header(key)
    };
    let reply = storage(gateway, "writer").await.upload(stream::iter(messages(header, chunks))).await;
    reply.unwrap().into_inner().file.unwrap()
}
