//! HEAD, PATCH, DELETE.

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::CONTENT;
use crate::rest::{Rest, refused};

#[tokio::test]
async fn the_last_byte_makes_the_file() {
    let rest = Rest::new();
    let upload = rest.begun(6, "filename YS5jc3Y=,filetype dGV4dC9jc3Y=").await;
    let part = rest.patched(&upload, 0, b"ab,").await;
    assert_eq!((part.status.as_u16(), part.header("upload-offset")), (204, Some("3")));
    assert_eq!(part.header("usp-file-id"), None);
    assert!(part.header("upload-expires").unwrap().ends_with(" GMT"));
    let last = rest.patched(&upload, 3, b"cd\n").await;
    assert_eq!((last.status.as_u16(), last.header("upload-offset")), (204, Some("6")));
    let id = last.header("usp-file-id").unwrap();
    let content = rest.get(&format!("/api/v1/files/{id}/content")).await;
    assert_eq!(content.body, "ab,cd\n");
    assert_eq!(content.header("content-type"), Some("text/csv"));
}

#[tokio::test]
async fn a_client_that_lost_the_last_answer_is_told_that_all_is_there() {
    let rest = Rest::new();
    let upload = rest.begun(3, "filename YQ==").await;
    let lost = rest.patched(&upload, 0, b"abc").await;
    for _ in 0..2 {
        let head = rest.tus(&format!("HEAD {upload}"), &[], Body::empty()).await;
        assert_eq!(head.status, 200);
        assert_eq!((head.header("upload-offset"), head.header("upload-length")), (Some("3"), Some("3")));
        assert_eq!(head.header("usp-file-id"), lost.header("usp-file-id"));
        assert_eq!(head.header("upload-expires"), None);
    }
    // Nothing more at the end is fine; anything more is not.
    assert_eq!(rest.patched(&upload, 3, b"").await.header("usp-file-id"), lost.header("usp-file-id"));
    assert_eq!(rest.patched(&upload, 3, b"d").await.problem(), refused(409, "conflict"));
    assert_eq!(rest.patched(&upload, 0, b"abc").await.problem(), refused(409, "conflict"));
    let file = rest.get(&format!("/api/v1/files/{}", lost.header("usp-file-id").unwrap())).await.json();
    assert_eq!(file["version"], 1);
}

#[tokio::test]
async fn all_bytes_without_a_file_become_one_when_somebody_looks() {
    let rest = Rest::new();
    for method in ["HEAD", "PATCH"] {
        let upload = rest.begun(3, "filename YQ==").await;
        rest.storage.receive_only(upload.rsplit('/').next().unwrap(), b"abc");
        let headers = [CONTENT, "upload-offset: 3"];
        let answer = rest.tus(&format!("{method} {upload}"), &headers, Body::empty()).await;
        assert!(answer.header("usp-file-id").is_some(), "{method}: {answer:?}");
        assert_eq!(rest.storage.open_upload_count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_brought_the_last_byte_gets_the_file_though_others_look_in_at_that_moment() {
    let rest = Rest::new();
    let upload = rest.begun(3, "filename YQ==").await;
    rest.storage.hold_uploads(50);
    assert!(rest.patched(&upload, 0, b"abc").await.header("usp-file-id").is_some());
    // One that is held for good is told so, and loses nothing.
    let upload = rest.begun(3, "filename YQ==").await;
    rest.storage.hold_uploads(51);
    assert_eq!(rest.patched(&upload, 0, b"abc").await.problem(), refused(423, "locked"));
    let head = rest.tus(&format!("HEAD {upload}"), &[], Body::empty()).await;
    assert!(head.header("usp-file-id").is_some(), "{head:?}");
}

#[tokio::test]
async fn a_part_elsewhere_is_409_and_changes_nothing() {
    let rest = Rest::new();
    let upload = rest.begun(9, "filename YQ==").await;
    rest.patched(&upload, 0, b"abc").await;
    for offset in [0, 2, 4, 9] {
        let answer = rest.patched(&upload, offset, b"x").await;
        assert_eq!(answer.problem(), refused(409, "conflict"), "{offset}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("3 bytes"), "{answer:?}");
    }
    assert_eq!(rest.offset(&upload).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn one_request_writes_at_a_time() {
    let rest = Rest::new();
    let upload = rest.begun(6, "filename YQ==").await;
    let line = format!("PATCH {upload}");
    let (asked, is_asked) = tokio::sync::oneshot::channel();
    let pieces = stream::once(async move {
        asked.send(()).unwrap();
        std::future::pending::<Result<Bytes, std::io::Error>>().await
    });
    let first = rest.tus(&line, &[CONTENT, "upload-offset: 0"], Body::from_stream(pieces));
    let second = async {
        is_asked.await.unwrap();
        rest.patched(&upload, 0, b"abcdef").await
    };
    tokio::select! {
        _ = first => panic!("nothing came"),
        answer = second => assert_eq!(answer.problem(), refused(423, "locked")),
    }
}

#[tokio::test]
async fn what_broke_off_counts_as_far_as_it_came() {
    let rest = Rest::new();
    let upload = rest.begun(6, "filename YQ==").await;
    let broken = stream::iter([Ok(Bytes::from("abc")), Err(std::io::Error::other("cut"))]);
    let line = format!("PATCH {upload}");
    let answer = rest.tus(&line, &[CONTENT, "upload-offset: 0"], Body::from_stream(broken.boxed())).await;
    assert_eq!(answer.status, 400);
    assert_eq!(rest.offset(&upload).await.as_deref(), Some("3"));
    assert!(rest.patched(&upload, 3, b"def").await.header("usp-file-id").is_some());
}

#[tokio::test]
async fn parts_that_will_not_do_change_nothing() {
    let rest = Rest::new();
    let upload = rest.begun(4, "filename YQ==").await;
    let table: [(&[&str], u16, &str); 7] = [
        (&[CONTENT], 400, "invalid_input"),
        (&[CONTENT, "upload-offset: x"], 400, "invalid_input"),
        (&[CONTENT, "upload-offset: -0"], 400, "invalid_input"),
        (&["upload-offset: 0"], 415, "unsupported_media"),
        (&["content-type: text/csv", "upload-offset: 0"], 415, "unsupported_media"),
        (&[CONTENT, "upload-offset: 0", "content-encoding: gzip"], 415, "unsupported_media"),
        (&[CONTENT, "upload-offset: 0", "content-length: 5"], 413, "too_large"),
    ];
    for (headers, status, code) in table {
        let answer = rest.tus(&format!("PATCH {upload}"), headers, "abcde").await;
        assert_eq!(answer.problem(), refused(status, code), "{headers:?}");
    }
    assert_eq!(rest.offset(&upload).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn an_upload_that_cannot_become_a_file_ends() {
    let rest = Rest::new();
    let upload = rest.begun(3, "key bWlzbWF0Y2g=").await;
    assert_eq!(rest.patched(&upload, 0, b"abc").await.problem(), refused(422, "digest_mismatch"));
    let head = rest.tus(&format!("HEAD {upload}"), &[], Body::empty()).await;
    assert_eq!(head.status, 410);
}

#[tokio::test]
async fn an_upload_can_be_ended_once_and_a_file_not_at_all() {
    let rest = Rest::new();
    let upload = rest.begun(3, "filename YQ==").await;
    let end = format!("DELETE {upload}");
    assert_eq!(rest.tus(&end, &[], Body::empty()).await.status, 204);
    assert_eq!(rest.tus(&end, &[], Body::empty()).await.problem(), refused(410, "gone"));
    assert_eq!(rest.patched(&upload, 0, b"abc").await.problem(), refused(410, "gone"));
    let upload = rest.begun(3, "filename YQ==").await;
    rest.patched(&upload, 0, b"abc").await;
    let answer = rest.tus(&format!("DELETE {upload}"), &[], Body::empty()).await;
    assert_eq!(answer.problem(), refused(409, "conflict"));
}

#[tokio::test]
async fn unknown_uploads_are_absent_and_other_methods_are_not_taken() {
    let rest = Rest::new();
    for id in ["x", "u7Rz0p9yIuJm3b0H2qk8d1cPzGgqv4WJ0mJt3sR5xYE"] {
        let line = format!("HEAD /api/v1/uploads/{id}");
        assert_eq!(rest.tus(&line, &[], Body::empty()).await.status, 404);
    }
    for line in ["GET /api/v1/uploads", "PUT /api/v1/uploads/x", "POST /api/v1/uploads/x"] {
        let answer = rest.tus(line, &[], Body::empty()).await;
        assert_eq!(answer.problem(), refused(405, "method_not_allowed"), "{line}");
    }
}

#[tokio::test]
async fn clients_that_know_only_post_can_say_what_they_mean() {
    let rest = Rest::new();
    let upload = rest.begun(3, "filename YQ==").await;
    let post = format!("POST {upload}");
    let patch = [CONTENT, "upload-offset: 0", "x-http-method-override: PATCH"];
    assert_eq!(rest.tus(&post, &patch, "ab").await.header("upload-offset"), Some("2"));
    let head = rest.tus(&post, &["x-http-method-override: HEAD"], Body::empty()).await;
    assert_eq!((head.status.as_u16(), head.header("upload-offset")), (200, Some("2")));
    let delete = rest.tus(&post, &["x-http-method-override: DELETE"], Body::empty()).await;
    assert_eq!(delete.status, 204);
    let other = rest.tus(&post, &["x-http-method-override: GET"], Body::empty()).await;
    assert_eq!(other.header("allow"), Some("HEAD, PATCH, DELETE"));
    assert_eq!(other.problem(), refused(405, "method_not_allowed"));
}

#[tokio::test]
async fn an_upload_that_was_prepared_over_grpc_goes_on_here() {
    let rest = Rest::new();
    let upload = rest.storage.prepared("a.bin", None).await;
    let head = rest.tus(&format!("HEAD {upload}"), &[], Body::empty()).await;
    assert_eq!((head.header("upload-length"), head.header("upload-defer-length")), (None, Some("1")));
    assert_eq!(rest.patched(&upload, 0, b"abc").await.header("upload-offset"), Some("3"));
    let upload = rest.storage.prepared("b.bin", Some(3)).await;
    assert!(rest.patched(&upload, 0, b"abc").await.header("usp-file-id").is_some());
}
