//! What the door refuses, and how it says so.

use std::time::Duration;

use futures::{StreamExt, stream};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt;
use usp_gateway::Rate;
use usp_proto::shared::{DeleteFileRequest, ListFilesRequest, PrepareUploadRequest};
use usp_proto::storage::file_storage_service_client::FileStorageServiceClient;

use super::{channel, header, messages, storage};
use crate::support::{RawClient, TestGateway};

#[tokio::test]
async fn without_a_token_nothing_is_answered() {
    let gateway = TestGateway::start().await;
    let mut anonymous = FileStorageServiceClient::new(channel(&gateway).await);
    let unary = anonymous.list_files(ListFilesRequest::default()).await.unwrap_err();
    let streamed = anonymous.upload(stream::iter(messages(header("a"), &[b"x"]))).await.unwrap_err();
    let wrong = storage(&gateway, "wrong").await.list_files(ListFilesRequest::default()).await.unwrap_err();
    for status in [unary, streamed, wrong] {
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "unauthenticated");
    }
}

#[tokio::test]
async fn a_call_with_two_authorization_entries_has_none() {
    let gateway = TestGateway::start().await;
    let channel = channel(&gateway).await;
    for second in ["Bearer reader", "Bearer admin", ""] {
        let mut request = Request::new(ListFilesRequest::default());
        request.metadata_mut().append("authorization", MetadataValue::from_static("Bearer reader"));
        request.metadata_mut().append("authorization", MetadataValue::from_static(second));
        let status = FileStorageServiceClient::new(channel.clone()).list_files(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{second:?}");
        assert_eq!(status.message(), "there is more than one Authorization header; send one");
    }
}

#[tokio::test]
async fn a_caller_needs_a_grant_that_includes_the_call() {
    let gateway = TestGateway::start().await;
    let ask = DeleteFileRequest { key: "a".to_owned(), ..DeleteFileRequest::default() };
    let status = storage(&gateway, "reader").await.delete_file(ask).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let status = storage(&gateway, "nobody").await.list_files(ListFilesRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let gateway = TestGateway::start().await;
    let ask = PrepareUploadRequest {
        bucket: "No Bucket".to_owned(),
        key: "../up".to_owned(),
        labels: [("ok".to_owned(), "x".repeat(3000))].into(),
        ..PrepareUploadRequest::default()
    };
    let mut request = Request::new(ask);
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("mine-1"));
    let status = storage(&gateway, "writer").await.prepare_upload(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let named = &details.bad_request().unwrap().field_violations;
    assert!(named.iter().any(|violation| violation.field == "bucket"), "{named:?}");
    assert!(named.iter().any(|violation| violation.field == "key"), "{named:?}");
    assert_eq!(details.request_info().unwrap().request_id, "mine-1");
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "mine-1");
}

#[tokio::test]
async fn too_many_calls_are_told_when_to_come_back() {
    let gateway =
        TestGateway::with(|config| config.rate_per_principal = Rate { per_second: 1, burst: 1 }).await;
    let mut client = storage(&gateway, "reader").await;
    client.list_files(ListFilesRequest::default()).await.unwrap();
    let status = client.list_files(ListFilesRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.unwrap() <= Duration::from_secs(1));
}

#[tokio::test]
async fn a_deadline_that_passes_ends_the_call() {
    let gateway = TestGateway::start().await;
    // By hand: the generated client keeps the time itself, and would not show the server's answer.
    let mut client = RawClient::connect(gateway.grpc).await;
    let headers = "content-type: application/grpc\r\ngrpc-timeout: 100m\r\nauthorization: Bearer gate\r\n";
    let answer = client.ask("POST", "/usp.storage.v1.FileStorageService/ListFiles", headers).await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("4")));
}

#[tokio::test]
async fn a_procedure_that_is_not_listed_cannot_be_called() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.grpc).await;
    let headers = "content-type: application/grpc\r\nauthorization: Bearer admin\r\n";
    for path in ["/usp.storage.v1.FileStorageService/Nothing", "/usp.node.v1.StorageNode/Call", "/"] {
        let answer = client.ask("POST", path, headers).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("12")), "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_internal_and_the_connection_goes_on() {
    let gateway = TestGateway::start().await;
    let channel = channel(&gateway).await;
    let ask = |token: &'static str| {
        let mut request = Request::new(ListFilesRequest::default());
        request.metadata_mut().insert("authorization", MetadataValue::from_static(token));
        request
    };
    let mut client = FileStorageServiceClient::new(channel);
    let status = client.list_files(ask("Bearer panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("token said"), "{status:?}");
    client.list_files(ask("Bearer reader")).await.unwrap();
}

#[tokio::test]
async fn health_is_told_to_anyone() {
    let gateway = TestGateway::start().await;
    let mut client = HealthClient::new(channel(&gateway).await);
    for service in ["", "usp.storage.v1.FileStorageService", "usp.processor.v1.FileProcessorService"] {
        let ask = HealthCheckRequest { service: service.to_owned() };
        let status = client.check(ask).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
}

#[tokio::test]
async fn reflection_lists_the_public_services_and_no_internal_one() {
    let gateway = TestGateway::start().await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(&gateway).await);
    let mut replies = client.server_reflection_info(stream::iter([ask])).await.unwrap().into_inner();
    let reply = replies.next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("services are listed: {reply:?}");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in [
        "usp.storage.v1.FileStorageService",
        "usp.processor.v1.FileProcessorService",
        "usp.gateway.v1.ApiGatewayService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is missing in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("node")), "{names:?}");
}

#[tokio::test]
async fn a_long_header_list_is_refused_and_the_connection_goes_on() {
    let gateway = TestGateway::start().await;
    let mut client = storage(&gateway, "reader").await;
    let mut request = Request::new(ListFilesRequest::default());
    for name in ["x-one", "x-two", "x-three", "x-four", "x-five"] {
        request.metadata_mut().insert(name, "a".repeat(8 << 10).parse().unwrap());
    }
    assert!(client.list_files(request).await.is_err());
    client.list_files(ListFilesRequest::default()).await.unwrap();
}
