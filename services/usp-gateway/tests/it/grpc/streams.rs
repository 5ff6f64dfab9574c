//! Calls that stream: uploads, reads, events.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tonic::Code;
use usp_proto::processor::{ProcessFileRequest, WatchRunsRequest};
use usp_proto::shared::PrepareUploadRequest;
use usp_proto::storage::read_file_response::Part as ReadPart;
use usp_proto::storage::upload_request::Part;
use usp_proto::storage::{ReadFileHead, ReadFileRequest, UploadHeader, UploadRequest, WatchFileRequest};

use super::{header, messages, processor, storage, stored};
use crate::support::TestGateway;

/// S6: what was withdrawn ends within five seconds, and a little for the machine.
const REVOCATION_MAX: Duration = Duration::from_secs(6);

async fn read(gateway: &TestGateway, ask: ReadFileRequest) -> (ReadFileHead, Vec<Bytes>) {
    let replies = storage(gateway, "reader").await.read_file(ask).await.unwrap().into_inner();
    let parts = replies.map_ok(|reply| reply.part).try_collect::<Vec<_>>().await.unwrap();
    let mut head = None;
    let mut chunks = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        match part {
            Some(ReadPart::Head(found)) if index == 0 => head = Some(found),
            Some(ReadPart::Chunk(bytes)) if index > 0 => chunks.push(bytes),
            _ => unreachable!("one head comes first, and chunks after it"),
        }
    }
    (head.unwrap(), chunks)
}

fn asked(key: &str) -> ReadFileRequest {
    ReadFileRequest { key: key.to_owned(), ..ReadFileRequest::default() }
}

#[tokio::test]
async fn a_file_reads_back_as_it_was_sent_in_pieces_that_fit_any_client() {
    let gateway = TestGateway::start().await;
    let megabyte: &'static [u8] = &[7; 1 << 20];
    stored(&gateway, "big", &[megabyte, b"end"]).await;
    let (head, chunks) = read(&gateway, asked("big")).await;
    assert_eq!((head.offset_bytes, head.length_bytes), (0, (1 << 20) + 3));
    assert!(chunks.iter().all(|chunk| (1..=256 << 10).contains(&chunk.len())));
    assert_eq!(chunks.concat(), [megabyte, b"end"].concat());
}

#[tokio::test]
async fn a_range_is_cut_at_the_end_and_refused_behind_it() {
    let gateway = TestGateway::start().await;
    stored(&gateway, "a", &[b"0123456789"]).await;
    let range = |offset_bytes, length_bytes| ReadFileRequest { offset_bytes, length_bytes, ..asked("a") };
    let (head, chunks) = read(&gateway, range(2, Some(3))).await;
    assert_eq!((head.offset_bytes, head.length_bytes, chunks.concat()), (2, 3, b"234".to_vec()));
    assert_eq!(read(&gateway, range(8, Some(100))).await.1.concat(), b"89");
    assert_eq!(read(&gateway, range(10, None)).await.0.length_bytes, 0);
    let behind = storage(&gateway, "reader").await.read_file(range(11, None)).await;
    assert_eq!(behind.unwrap_err().code(), Code::OutOfRange);
    let stale = ReadFileRequest { if_match: "\"v9\"".to_owned(), ..asked("a") };
    let stale = storage(&gateway, "reader").await.read_file(stale).await;
    assert_eq!(stale.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_prepared_upload_takes_its_bytes_in_several_calls() {
    let gateway = TestGateway::start().await;
    let mut client = storage(&gateway, "writer").await;
    let ask =
        PrepareUploadRequest { key: "a".to_owned(), size_bytes: Some(6), ..PrepareUploadRequest::default() };
    let upload_id = client.prepare_upload(ask).await.unwrap().into_inner().upload_id;
    let part = |offset_bytes, chunks: &[&'static [u8]]| {
        let header = UploadHeader { upload_id: upload_id.clone(), offset_bytes, ..UploadHeader::default() };
        stream::iter(messages(header, chunks))
    };
    let first = client.upload(part(0, &[b"01", b"2"])).await.unwrap().into_inner();
    assert_eq!((first.received_bytes, first.file), (3, None));
    let gap = client.upload(part(5, &[b"5"])).await.unwrap_err();
    assert_eq!(gap.code(), Code::FailedPrecondition);
    let last = client.upload(part(3, &[b"345"])).await.unwrap().into_inner();
    assert_eq!((last.received_bytes, last.file.unwrap().size_bytes), (6, 6));
    assert_eq!(read(&gateway, asked("a")).await.1.concat(), b"012345");
}

#[tokio::test]
async fn an_upload_of_unknown_size_ends_with_its_stream() {
    let gateway = TestGateway::start().await;
    let mut client = storage(&gateway, "writer").await;
    let ask = PrepareUploadRequest { key: "a".to_owned(), ..PrepareUploadRequest::default() };
    let upload_id = client.prepare_upload(ask).await.unwrap().into_inner().upload_id;
    let header = UploadHeader { upload_id, ..UploadHeader::default() };
    let reply = client.upload(stream::iter(messages(header, &[b"abc"]))).await.unwrap().into_inner();
    assert_eq!(reply.file.unwrap().size_bytes, 3);
}

#[tokio::test]
async fn messages_out_of_order_store_nothing() {
    let gateway = TestGateway::start().await;
    let mut client = storage(&gateway, "writer").await;
    let chunk = || UploadRequest { part: Some(Part::Chunk(Bytes::from_static(b"x"))) };
    let header = || messages(header("a"), &[]).remove(0);
    let too_large = UploadRequest { part: Some(Part::Chunk(Bytes::from(vec![0; (1 << 20) + 1]))) };
    let wrong = [
        Vec::new(),
        vec![chunk()],
        vec![header(), chunk(), header()],
        vec![header(), UploadRequest { part: None }],
        vec![header(), too_large],
    ];
    for messages in wrong {
        let status = client.upload(stream::iter(messages)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    let read = storage(&gateway, "reader").await.read_file(asked("a")).await;
    assert_eq!(read.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_file_is_watched_from_where_the_client_left_off() {
    let gateway = TestGateway::start().await;
    let file = stored(&gateway, "a", &[b"x"]).await;
    stored(&gateway, "other", &[b"x"]).await;
    let mut client = storage(&gateway, "reader").await;
    let watch =
        |after_seq| WatchFileRequest { key: "a".to_owned(), after_seq, ..WatchFileRequest::default() };
    let mut from_now = client.watch_file(watch(None)).await.unwrap().into_inner();
    let mut from_start = client.watch_file(watch(Some(0))).await.unwrap().into_inner();
    let kept = from_start.message().await.unwrap().unwrap().event.unwrap();
    assert_eq!(
        (kept.r#type.as_str(), kept.seq, kept.file_id.as_str()),
        ("usp.file.stored", 1, file.id.as_str())
    );
    stored(&gateway, "a", &[b"y"]).await;
    for watch in [&mut from_now, &mut from_start] {
        let event = watch.message().await.unwrap().unwrap().event.unwrap();
        assert_eq!((event.r#type.as_str(), event.seq), ("usp.file.stored", 3));
    }
}

#[tokio::test]
async fn watching_runs_shows_events_of_runs_only() {
    let gateway = TestGateway::start().await;
    let mut client = processor(&gateway, "writer").await;
    let ask = WatchRunsRequest { bucket: "default".to_owned(), ..WatchRunsRequest::default() };
    let mut events = client.watch_runs(ask).await.unwrap().into_inner();
    stored(&gateway, "a", &[b"x"]).await;
    let ask =
        ProcessFileRequest { key: "a".to_owned(), rule: "r".to_owned(), ..ProcessFileRequest::default() };
    client.process_file(ask).await.unwrap();
    let event = events.message().await.unwrap().unwrap().event.unwrap();
    assert_eq!(event.r#type, "usp.run.queued");
    assert!(event.data.unwrap().fields.contains_key("run_id"));
}

#[tokio::test]
async fn a_revoked_token_ends_its_open_streams_within_five_seconds() {
    let gateway = TestGateway::start().await;
    stored(&gateway, "a", &[b"x"]).await;
    let mut client = storage(&gateway, "reader").await;
    let ask = WatchFileRequest { key: "a".to_owned(), ..WatchFileRequest::default() };
    let mut events = client.watch_file(ask).await.unwrap().into_inner();
    gateway.storage.revoke("reader");
    let ended = tokio::time::timeout(REVOCATION_MAX, events.next()).await.unwrap();
    assert_eq!(ended.unwrap().unwrap_err().code(), Code::Unauthenticated);
}
