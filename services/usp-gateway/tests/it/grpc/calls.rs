//! Every unary call, once.

use std::collections::BTreeMap;

use usp_proto::gateway::GetFileStatusRequest;
use usp_proto::processor::{
    CancelRunRequest, GetProcessingStatusRequest, ListRunsRequest, ProcessFileRequest, RetryRunRequest,
};
use usp_proto::shared::{
    DeleteFileRequest, FileState, GetFileMetadataRequest, ListFilesRequest, PrepareUploadRequest, RunState,
};
use usp_proto::storage::{MapChange, NegotiateChunksRequest, UpdateFileRequest};

use super::{entrance, processor, storage, stored};
use crate::support::TestGateway;

fn by_key(key: &str) -> GetFileMetadataRequest {
    GetFileMetadataRequest { key: key.to_owned(), ..GetFileMetadataRequest::default() }
}

#[tokio::test]
async fn both_services_describe_a_file_by_key_and_by_id() {
    let gateway = TestGateway::start().await;
    let file = stored(&gateway, "2026/orders.csv", &[b"a,b\n", b"1,2\n"]).await;
    let found = storage(&gateway, "reader").await.get_file_metadata(by_key("2026/orders.csv")).await.unwrap();
    assert_eq!(found.into_inner().file.as_ref(), Some(&file));
    let ask =
        GetFileMetadataRequest { file_id: file.id.clone(), version: 1, ..GetFileMetadataRequest::default() };
    let found = entrance(&gateway, "reader").await.get_file_metadata(ask).await.unwrap();
    assert_eq!(found.into_inner().file.as_ref(), Some(&file));
    assert_eq!((file.size_bytes, file.etag.as_str(), file.owner.as_str()), (8, "\"v1\"", "writer"));
    assert_eq!(file.metadata["author"], "ann");
    assert_eq!(file.state(), FileState::Ready);
    assert!(file.reports.contains_key("profile"));
}

#[tokio::test]
async fn lists_go_on_where_the_page_before_ended() {
    let gateway = TestGateway::start().await;
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        stored(&gateway, key, &[b"x"]).await;
    }
    let mut keys = Vec::new();
    let mut cursor = String::new();
    loop {
        let ask =
            ListFilesRequest { prefix: "a/".to_owned(), limit: 2, cursor, ..ListFilesRequest::default() };
        let page = entrance(&gateway, "reader").await.list_files(ask).await.unwrap().into_inner();
        keys.extend(page.items.into_iter().map(|file| file.key));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(keys, ["a/1", "a/2", "a/3"]);
    let all = storage(&gateway, "reader").await.list_files(ListFilesRequest::default()).await.unwrap();
    assert_eq!(all.into_inner().items.len(), 4);
}

#[tokio::test]
async fn metadata_and_labels_change_without_a_new_version() {
    let gateway = TestGateway::start().await;
    stored(&gateway, "a", &[b"x"]).await;
    let ask = UpdateFileRequest {
        key: "a".to_owned(),
        metadata: Some(MapChange { set: BTreeMap::new(), remove: vec!["author".to_owned()] }),
        labels: Some(MapChange {
            set: BTreeMap::from([("seen".to_owned(), "yes".to_owned())]),
            remove: Vec::new(),
        }),
        ..UpdateFileRequest::default()
    };
    let file = storage(&gateway, "writer").await.update_file(ask).await.unwrap().into_inner().file.unwrap();
    assert!(file.metadata.is_empty());
    assert_eq!((file.labels["seen"].as_str(), file.version), ("yes", 1));
}

#[tokio::test]
async fn known_contents_are_named_in_the_order_of_the_question() {
    let gateway = TestGateway::start().await;
    let digest = |c: char| c.to_string().repeat(64);
    let sha256 = vec![digest('b'), digest('A'), format!("a{}", "0".repeat(63))];
    let ask = NegotiateChunksRequest { bucket: String::new(), sha256 };
    let reply = storage(&gateway, "writer").await.negotiate_chunks(ask).await.unwrap().into_inner();
    assert_eq!(reply.present, [digest('a'), format!("a{}", "0".repeat(63))]);
}

#[tokio::test]
async fn a_deleted_file_is_gone() {
    let gateway = TestGateway::start().await;
    for (key, at_entrance) in [("a", true), ("b", false)] {
        stored(&gateway, key, &[b"x"]).await;
        let ask = DeleteFileRequest {
            key: key.to_owned(),
            if_match: "\"v1\"".to_owned(),
            ..DeleteFileRequest::default()
        };
        if at_entrance {
            entrance(&gateway, "writer").await.delete_file(ask).await.unwrap();
        } else {
            storage(&gateway, "writer").await.delete_file(ask).await.unwrap();
        }
        let found = storage(&gateway, "reader").await.get_file_metadata(by_key(key)).await;
        assert_eq!(found.unwrap_err().code(), tonic::Code::NotFound);
    }
}

#[tokio::test]
async fn a_prepared_upload_shows_where_it_continues() {
    let gateway = TestGateway::start().await;
    let ask = PrepareUploadRequest {
        key: "big".to_owned(),
        size_bytes: Some(6),
        ..PrepareUploadRequest::default()
    };
    let upload = entrance(&gateway, "writer").await.prepare_upload(ask).await.unwrap().into_inner();
    assert_eq!(upload.http_path, format!("/api/v1/uploads/{}", upload.upload_id));
    assert_eq!((upload.received_bytes, upload.chunk_size_bytes_max), (0, 1 << 20));
    let ask = GetFileStatusRequest { file_id: upload.file_id, ..GetFileStatusRequest::default() };
    let status = entrance(&gateway, "reader").await.get_file_status(ask).await.unwrap().into_inner();
    let status = status.status.unwrap();
    assert_eq!(status.state(), FileState::Uploading);
    assert_eq!(status.upload.unwrap().size_bytes, Some(6));
}

#[tokio::test]
async fn runs_are_started_listed_cancelled_and_retried() {
    let gateway = TestGateway::start().await;
    let file = stored(&gateway, "a", &[b"x"]).await;
    let mut client = processor(&gateway, "writer").await;
    let ask = ProcessFileRequest {
        key: "a".to_owned(),
        rule: "profile".to_owned(),
        ..ProcessFileRequest::default()
    };
    let run = client.process_file(ask).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.state(), run.file_id.as_str(), run.steps.len()), (RunState::Queued, file.id.as_str(), 1));

    let ask = GetProcessingStatusRequest { file_id: file.id, ..GetProcessingStatusRequest::default() };
    let status = client.get_processing_status(ask).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.runs, std::slice::from_ref(&run));

    let cancel = CancelRunRequest { run_id: run.id.clone() };
    let cancelled = client.cancel_run(cancel.clone()).await.unwrap().into_inner().run.unwrap();
    assert_eq!(cancelled.state(), RunState::Cancelled);
    assert_eq!(client.cancel_run(cancel).await.unwrap_err().code(), tonic::Code::FailedPrecondition);

    let ask = ListRunsRequest { state: RunState::Cancelled.into(), ..ListRunsRequest::default() };
    assert_eq!(client.list_runs(ask).await.unwrap().into_inner().items, [cancelled]);

    let retried =
        client.retry_run(RetryRunRequest { run_id: run.id }).await.unwrap().into_inner().run.unwrap();
    assert_eq!(retried.state(), RunState::Queued);
}
