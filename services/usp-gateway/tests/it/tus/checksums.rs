//! `Upload-Checksum`.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use super::CONTENT;
use crate::rest::{Rest, refused};

/// Of `abc`.
const RIGHT: [&str; 5] = [
    "sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
    "sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
    "md5 kAFQmDzST7DWlj99KOF/cg==",
    "crc32c Nks/tw==",
    "blake3 ZDezrDhGUTP/tjt1JzqNtUjFWEZdedsD/TWcbNW9nYU=",
];

#[tokio::test]
async fn a_part_counts_only_if_its_checksum_holds() {
    let rest = Rest::new();
    for checksum in RIGHT {
        let upload = rest.begun(6, "filename YQ==").await;
        let line = format!("PATCH {upload}");
        let headers = [CONTENT, "upload-offset: 0", &format!("upload-checksum: {checksum}")];
        let wrong = rest.tus(&line, &headers, "abd").await;
        assert_eq!(wrong.problem(), refused(460, "digest_mismatch"), "{checksum}");
        assert_eq!(rest.offset(&upload).await.as_deref(), Some("0"));
        let right = rest.tus(&line, &headers, "abc").await;
        assert_eq!((right.status.as_u16(), right.header("upload-offset")), (204, Some("3")), "{checksum}");
    }
}

#[tokio::test]
async fn a_first_part_with_a_wrong_checksum_begins_nothing() {
    let rest = Rest::new();
    let headers = ["upload-length: 6", CONTENT, &format!("upload-checksum: {}", RIGHT[0])];
    let wrong = rest.tus("POST /api/v1/uploads", &headers, "abd").await;
    assert_eq!(wrong.problem(), refused(460, "digest_mismatch"));
    assert!(rest.storage.asked.lock().upload.is_none());
    let right = rest.tus("POST /api/v1/uploads", &headers, "abc").await;
    assert_eq!((right.status.as_u16(), right.header("upload-offset")), (201, Some("3")));
}

#[tokio::test]
async fn a_checksum_that_cannot_be_checked_is_refused() {
    let rest = Rest::new();
    let upload = rest.begun(3, "filename YQ==").await;
    let line = format!("PATCH {upload}");
    for checksum in
        ["sha512 AAAA", "sha256", "sha256 AAAA", "sha256 not base64", "SHA256 AAAA", "", "crc32 AAAAAA=="]
    {
        let header = format!("upload-checksum: {checksum}");
        let answer = rest.tus(&line, &[CONTENT, "upload-offset: 0", &header], "abc").await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"), "{checksum}");
    }
    assert_eq!(rest.offset(&upload).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_part_with_a_checksum_is_kept_in_memory_and_so_bounded() {
    let rest = Rest::new();
    let upload = rest.begun(16 << 20, "filename YQ==").await;
    let line = format!("PATCH {upload}");
    let headers = [CONTENT, "upload-offset: 0", &format!("upload-checksum: {}", RIGHT[0])];
    let announced = rest.tus(&line, &[&headers[..], &["content-length: 8388609"]].concat(), "abc").await;
    assert_eq!(announced.problem(), refused(413, "too_large"));
    let mebibyte = Bytes::from(vec![0; 1 << 20]);
    let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(mebibyte.clone()));
    let streamed = rest.tus(&line, &headers, Body::from_stream(endless)).await;
    assert_eq!(streamed.problem(), refused(413, "too_large"));
    assert_eq!(rest.offset(&upload).await.as_deref(), Some("0"));
}
