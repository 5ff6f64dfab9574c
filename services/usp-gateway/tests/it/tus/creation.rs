//! POST and OPTIONS.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use usp_model::LabelKey;

use super::{CONTENT, TUS};
use crate::rest::{ADMIN, Rest, refused};

#[tokio::test]
async fn anybody_may_ask_what_is_spoken_and_nothing_is_announced_that_is_not_there() {
    let rest = Rest::new();
    for path in ["/api/v1/uploads", "/api/v1/uploads/any"] {
        let answer = rest.ask(&format!("OPTIONS {path}"), &[], Body::empty()).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("tus-version"), Some("1.0.0"));
        assert_eq!(
            answer.header("tus-extension"),
            Some(
                "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation"
            )
        );
        assert_eq!(answer.header("tus-max-size"), Some("17592186044416"));
        assert_eq!(answer.header("tus-checksum-algorithm"), Some("sha256,blake3,crc32c,md5,sha1"));
    }
}

#[tokio::test]
async fn who_speaks_no_tus_is_told_the_version_after_signing_in() {
    let rest = Rest::new();
    for header in ["x-nothing: 1", "tus-resumable: 0.2.2", "tus-resumable: "] {
        for line in ["POST /api/v1/uploads", "HEAD /api/v1/uploads/a", "PATCH /api/v1/uploads/a"] {
            let answer = rest.ask(line, &[ADMIN, header, "upload-length: 1"], Body::empty()).await;
            assert_eq!(answer.status, 412, "{line} {header}");
            assert_eq!(answer.header("tus-version"), Some("1.0.0"));
        }
    }
    let stranger = rest.ask("POST /api/v1/uploads", &[TUS, "upload-length: 1"], Body::empty()).await;
    assert_eq!(stranger.problem(), refused(401, "unauthenticated"));
    assert_eq!(stranger.header("tus-resumable"), Some("1.0.0"));
}

#[tokio::test]
async fn the_metadata_says_what_storage_is_told() {
    let rest = Rest::new();
    let encode = |text: &str| STANDARD.encode(text);
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let metadata = format!(
        "bucket {}, filename {},key {},filetype {},meta.source {},label.team {},label.empty,sha256 {},name,relativePath {}",
        encode("default"),
        encode("ignored.csv"),
        encode("2026/ö.csv"),
        encode("text/csv"),
        encode("Zürich"),
        // Unpadded, as some clients send it.
        encode("sales").trim_end_matches('='),
        encode(digest),
        STANDARD.encode([0xff, 0xfe]),
    );
    let upload = rest.begun(9, &metadata).await;
    let file = rest.storage.asked.lock().upload.clone().unwrap();
    assert_eq!((file.bucket.as_str(), file.key.as_str()), ("default", "2026/ö.csv"));
    assert_eq!(file.size_bytes, Some(9));
    assert_eq!(file.declared_media_type.unwrap().as_str(), "text/csv");
    assert_eq!(file.metadata[&LabelKey::parse("source").unwrap()], "Zürich");
    assert_eq!(file.labels[&LabelKey::parse("team").unwrap()], "sales");
    assert_eq!(file.labels[&LabelKey::parse("empty").unwrap()], "");
    assert_eq!(file.expected_digests[0].to_hex(), digest);

    let head = rest.tus(&format!("HEAD {upload}"), &[], Body::empty()).await;
    assert_eq!(
        head.header("upload-metadata").unwrap(),
        format!(
            "bucket {},key {},filetype {},meta.source {},label.empty,label.team {}",
            encode("default"),
            encode("2026/ö.csv"),
            encode("text/csv"),
            encode("Zürich"),
            encode("sales")
        )
    );
}

#[tokio::test]
async fn without_metadata_the_file_gets_a_name_of_its_own() {
    let rest = Rest::new();
    for _ in 0..2 {
        let answer = rest.tus("POST /api/v1/uploads", &["upload-length: 0"], Body::empty()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let file = rest.storage.asked.lock().upload.clone().unwrap();
        assert!(file.key.as_str().starts_with("unnamed/"), "{}", file.key);
    }
}

#[tokio::test]
async fn what_cannot_be_begun_is_refused_in_words() {
    let rest = Rest::new();
    let long = format!("upload-metadata: filename {}", STANDARD.encode([b'a'; 7000]));
    let table: [(&[&str], u16, &str); 19] = [
        (&[], 400, "invalid_input"),
        (&["upload-length: -1"], 400, "invalid_input"),
        (&["upload-length: +1"], 400, "invalid_input"),
        (&["upload-length: 1e3"], 400, "invalid_input"),
        (&["upload-length: "], 400, "invalid_input"),
        (&["upload-length: 1", "upload-length: 2"], 400, "invalid_input"),
        (&["upload-length: 17592186044417"], 413, "too_large"),
        (&["upload-defer-length: 0"], 400, "invalid_input"),
        (&["upload-length: 1", "upload-defer-length: 1"], 400, "invalid_input"),
        (&["upload-length: 1", "upload-concat: "], 400, "invalid_input"),
        (&["upload-length: 1", "upload-concat: final;/a"], 400, "invalid_input"),
        (&["upload-length: 1", "upload-metadata: filename !"], 400, "invalid_input"),
        (&["upload-length: 1", "upload-metadata: key YQ==,key YQ=="], 400, "invalid_input"),
        (&["upload-length: 1", "upload-metadata: key YQ==,,"], 400, "invalid_input"),
        (&["upload-length: 1", "upload-metadata: key /w=="], 400, "invalid_input"),
        (&["upload-length: 1", "upload-metadata: bucket Tk8="], 400, "invalid_input"),
        (&["upload-length: 1", "upload-metadata: sha256 YQ=="], 400, "invalid_input"),
        (&["upload-length: 1", &long], 400, "invalid_input"),
        (&["upload-length: 1", "upload-metadata: bucket bm9uZQ=="], 404, "not_found"),
    ];
    for (headers, status, code) in table {
        let answer = rest.tus("POST /api/v1/uploads", headers, Body::empty()).await;
        assert_eq!(answer.problem(), refused(status, code), "{headers:?}");
    }
    assert!(rest.storage.asked.lock().upload.as_ref().is_none_or(|file| file.bucket.as_str() == "none"));
}

#[tokio::test]
async fn zero_bytes_are_a_file_at_once() {
    let rest = Rest::new();
    let headers = ["upload-length: 0", "upload-metadata: filename YQ=="];
    let answer = rest.tus("POST /api/v1/uploads", &headers, Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.header("upload-offset")), (201, Some("0")));
    let file = rest.get(&format!("/api/v1/files/{}", answer.header("usp-file-id").unwrap())).await.json();
    assert_eq!((&file["key"], &file["size"]), (&"a".into(), &0.into()));
}

#[tokio::test]
async fn a_body_is_the_first_part_or_all_of_it() {
    let rest = Rest::new();
    let headers = ["upload-length: 6", "upload-metadata: filename YQ==", CONTENT];
    let part = rest.tus("POST /api/v1/uploads", &headers, "abc").await;
    assert_eq!((part.status.as_u16(), part.header("upload-offset")), (201, Some("3")));
    assert!(part.header("upload-expires").unwrap().ends_with(" GMT"));
    let upload = part.header("location").unwrap();
    let last = rest.patched(upload, 3, b"def").await;
    let all = rest.tus("POST /api/v1/uploads", &headers, "abcdef").await;
    assert_eq!((all.status.as_u16(), all.header("upload-offset")), (201, Some("6")));
    assert_eq!(all.header("upload-expires"), None, "a file does not end with its upload");
    assert_eq!(all.header("usp-file-id"), last.header("usp-file-id"), "the next version");
}

#[tokio::test]
async fn a_first_part_that_fails_leaves_nothing() {
    let rest = Rest::new();
    let table: [(&[&str], &str, u16, &str); 4] = [
        (&["upload-length: 2", CONTENT, "content-length: 3"], "abc", 413, "too_large"),
        (&["upload-length: 3", "content-type: text/plain"], "abc", 415, "unsupported_media"),
        (&["upload-length: 3", CONTENT, "content-encoding: gzip"], "abc", 415, "unsupported_media"),
        (&["upload-length: 3", CONTENT, "upload-metadata: key bWlzbWF0Y2g="], "abc", 422, "digest_mismatch"),
    ];
    for (headers, body, status, code) in table {
        let answer = rest.tus("POST /api/v1/uploads", headers, body).await;
        assert_eq!(answer.problem(), refused(status, code), "{headers:?}");
        assert_eq!(rest.storage.open_upload_count(), 0, "{headers:?}");
    }
}
