//! What only the wire can do: lose the way, be the wrong one, and carry refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use usp_api::{NewBucket, NewFile, StorageApi, StorageCalls};
use usp_auth::{Credential, SecretText};
use usp_model::{BucketPolicy, ErrorKind, EventQuery, FileRef, Violation};
use usp_proto::node::storage_node_client::StorageNodeClient;
use usp_proto::node::{CallRequest, PutFrame, put_frame::Frame};
use usp_rt::Shutdown;

use crate::support::{
    Door, House, NODE_SECRET, admin, bucket, eventually, key, label, node_client, pieces, random_bytes,
    stranger,
};

#[tokio::test]
async fn a_wrong_node_secret_opens_nothing() {
    let house = House::open(Door::InProcess).await;
    let file = house.file("a", b"secret").await;
    let url = house.serve_node().await;
    for secret in ["", "uspn_another", &NODE_SECRET[..NODE_SECRET.len() - 1], &format!("{NODE_SECRET}x")] {
        let thief = node_client(&url, secret);
        let read = usp_api::ReadFile {
            file: FileRef::Id(file.id),
            version: None,
            range: None,
            coding: usp_api::Coding::Plain,
        };
        let stolen = NewFile::at(bucket("default"), key("b"));
        let bearer = Credential::Bearer(SecretText::new("x"));
        let refusals = [
            thief.get_file(&admin(), FileRef::Id(file.id), None).await.unwrap_err(),
            thief.read(&admin(), read).await.unwrap_err(),
            thief.put(&admin(), stolen, pieces(b"x")).await.unwrap_err(),
            thief.watch(&admin(), EventQuery::default()).await.map(drop).unwrap_err(),
            thief.authenticate(bearer).await.unwrap_err(),
        ];
        let readiness = thief.readiness().await.unwrap();
        assert!(!readiness.ready && readiness.waiting_for[0].contains("node secret"), "{readiness:?}");
        for refused in refusals {
            assert_eq!(refused.kind(), ErrorKind::Internal);
            assert!(refused.detail().contains("node secret"), "{refused}");
        }
    }
    assert_eq!(house.usage().await.files, 1);
}

#[tokio::test]
async fn a_storage_that_is_away_is_a_reason_to_try_again() {
    let away = node_client("http://127.0.0.1:1", NODE_SECRET);
    let error = away.list_buckets(&admin()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.kind().is_temporary());
    let file = NewFile::at(bucket("default"), key("a"));
    let error = away.put(&admin(), file, pieces(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let readiness = away.readiness().await.unwrap();
    assert!(!readiness.ready);
    assert_eq!(readiness.waiting_for, ["the storage role at http://127.0.0.1:1"]);
}

/// A way to a node that can be cut, and what went over it.
struct Way {
    url: String,
    cut: Shutdown,
    sent_bytes: Arc<AtomicU64>,
}

impl Way {
    async fn to(node: &str) -> Self {
        let (node, listener) = (
            node.trim_start_matches("http://").to_owned(),
            TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
        );
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (cut, sent_bytes) = (Shutdown::new(), Arc::<AtomicU64>::default());
        let (stop, count) = (cut.clone(), Arc::clone(&sent_bytes));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (far, stop, count) =
                    (TcpStream::connect(&node).await.unwrap(), stop.clone(), count.clone());
                tokio::spawn(async move {
                    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                        (near.into_split(), far.into_split());
                    let there = async {
                        let mut piece = vec![0; 64 << 10];
                        while let Ok(len @ 1..) = near_in.read(&mut piece).await {
                            far_out.write_all(&piece[..len]).await.unwrap();
                            count.fetch_add(len as u64, Ordering::SeqCst);
                        }
                    };
                    let back = tokio::io::copy(&mut far_in, &mut near_out);
                    tokio::select! {
                        ((), _) = async { tokio::join!(there, back) } => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
        Self { url, cut, sent_bytes }
    }

    /// Cuts it once something more than `before` went over it.
    async fn cut_behind(&self, before: u64) {
        eventually("the call to be sent", async || {
            (self.sent_bytes.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
        self.cut.cancel();
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_may_have_happened_and_a_question_is_only_unanswered() {
    let house = House::open(Door::InProcess).await;
    let node = house.serve_node().await;
    for number in 0..2 {
        let way = Way::to(&node).await;
        let client = node_client(&way.url, NODE_SECRET);
        client.list_buckets(&admin()).await.unwrap();
        let held = house.hold_catalog();
        let before = way.sent_bytes.load(Ordering::SeqCst);
        let asked = async {
            if number == 0 {
                let new = NewBucket { name: bucket("new"), policy: BucketPolicy::default() };
                client.create_bucket(&admin(), new).await.map(drop)
            } else {
                let file = NewFile::at(bucket("default"), key("a"));
                client.put(&admin(), file, pieces(b"x")).await.map(drop)
            }
        };
        let (asked, ()) = tokio::join!(asked, way.cut_behind(before));
        drop(held);
        assert_eq!(asked.unwrap_err().kind(), ErrorKind::OutcomeUnknown, "{number}");
    }
    let way = Way::to(&node).await;
    way.cut.cancel();
    let error = node_client(&way.url, NODE_SECRET).list_buckets(&admin()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_refusal_says_the_same_at_both_doors() {
    let house = House::open(Door::OverGrpc).await;
    let mut labelled = NewFile::at(bucket("default"), key("a"));
    labelled.labels = [(label("a/b"), "x".repeat(3_000))].into();
    labelled.metadata = [(label("note"), "ö".repeat(3_000))].into();
    let mut told = Vec::new();
    for door in [&house.storage as &dyn StorageApi, house.door.as_ref()] {
        let refusals = [
            door.start_upload(&admin(), labelled.clone()).await.unwrap_err(),
            door.get_bucket(&stranger(), bucket("default")).await.unwrap_err(),
            door.list_users(&stranger()).await.unwrap_err(),
            door.put(&admin(), labelled.clone(), pieces(&random_bytes(1, 1 << 20))).await.unwrap_err(),
        ];
        let said = |error: &usp_model::Error| {
            let violations: Vec<Violation> = error.violations().to_vec();
            (error.kind(), error.detail(), violations, error.retry_after_hint())
        };
        told.push(refusals.iter().map(said).collect::<Vec<_>>());
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0][0].2.len(), 2);
}

#[tokio::test]
async fn a_reader_that_leaves_in_the_middle_harms_nobody() {
    use futures::StreamExt;
    let house = House::open(Door::OverGrpc).await;
    let bytes = random_bytes(1, 4 << 20);
    let file = house.file("a", &bytes).await;
    for _ in 0..20 {
        let read = usp_api::ReadFile {
            file: FileRef::Id(file.id),
            version: None,
            range: None,
            coding: usp_api::Coding::Plain,
        };
        let mut reading = house.door.read(&admin(), read).await.unwrap();
        reading.content.next().await.unwrap().unwrap();
    }
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), bytes);
}

#[tokio::test]
async fn content_without_its_end_is_not_stored() {
    let house = House::open(Door::InProcess).await;
    let client = StorageNodeClient::connect(house.serve_node().await).await.unwrap();
    let piece = || Some(Frame::Piece(Bytes::from_static(b"some of it")));
    let end = || Some(Frame::End(true));
    let cases: [(&str, Vec<Option<Frame>>, bool); 6] = [
        ("closed", vec![piece()], false),
        ("ended", vec![piece(), end()], true),
        ("went on", vec![piece(), end(), piece()], false),
        ("ended twice", vec![piece(), end(), end()], false),
        ("not ended", vec![piece(), Some(Frame::End(false))], false),
        ("empty", vec![end()], true),
    ];
    for (name, content, is_stored) in cases {
        let ask = serde_json::json!({ "Put": NewFile::at(bucket("default"), key(name)) });
        let header = CallRequest {
            caller: serde_json::to_vec(&admin().principal).unwrap().into(),
            request_id: "wire".to_owned(),
            request: serde_json::to_vec(&ask).unwrap().into(),
        };
        let frames = [Some(Frame::Header(header))].into_iter().chain(content);
        let frames: Vec<PutFrame> = frames.map(|frame| PutFrame { frame }).collect();
        let mut request = tonic::Request::new(futures::stream::iter(frames));
        request.metadata_mut().insert("x-usp-node-secret", NODE_SECRET.parse().unwrap());
        let put = client.clone().put(request).await;
        assert_eq!(put.is_ok(), is_stored, "{name}: {put:?}");
    }
    assert_eq!(house.usage().await.files, 2);
}
