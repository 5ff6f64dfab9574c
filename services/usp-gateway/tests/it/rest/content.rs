//! Reading: ranges, conditions, and headers under which a browser does no harm.

use axum::body::Body;
use http_body_util::BodyExt;

use super::{ADMIN, Answer, Rest, refused};

const PATH: &str = "/api/v1/buckets/default/files/letters.txt";
const LAST_MODIFIED: &str = "Wed, 18 Nov 2026 11:06:40 GMT";

async fn letters() -> Rest {
    let rest = Rest::new();
    rest.stored("letters.txt", "text/plain", "abcdefghij").await;
    rest
}

async fn read(rest: &Rest, method: &str, headers: &[&str]) -> Answer {
    rest.ask(&format!("{method} {PATH}"), &[&[ADMIN], headers].concat(), Body::empty()).await
}

#[tokio::test]
async fn ranges_are_served_as_rfc_9110_says() {
    let rest = letters().await;
    let table = [
        ("bytes=0-3", 206, "abcd", Some("bytes 0-3/10")),
        ("bytes=8-", 206, "ij", Some("bytes 8-9/10")),
        ("bytes=-2", 206, "ij", Some("bytes 8-9/10")),
        ("bytes=5-99", 206, "fghij", Some("bytes 5-9/10")),
        ("bytes=-99", 206, "abcdefghij", Some("bytes 0-9/10")),
        ("bytes=0-1,4-5", 200, "abcdefghij", None),
        ("lines=1-2", 200, "abcdefghij", None),
        ("bytes=3-1", 200, "abcdefghij", None),
    ];
    for (range, status, body, content_range) in table {
        let answer = read(&rest, "GET", &[&format!("range: {range}")]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, body), "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        assert_eq!(answer.header("content-length").unwrap(), body.len().to_string(), "{range}");
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let answer = read(&rest, "GET", &[&format!("range: {range}")]).await;
        assert_eq!(answer.problem(), refused(416, "out_of_range"), "{range}");
        assert_eq!(answer.header("content-range"), Some("bytes */10"));
    }
}

#[tokio::test]
async fn a_client_that_names_zstd_gets_a_whole_content_coded_and_a_range_plain() {
    let rest = letters().await;
    let coded = read(&rest, "GET", &["accept-encoding: gzip, zstd"]).await;
    assert_eq!((coded.status.as_u16(), coded.header("content-encoding")), (200, Some("zstd")));
    assert_eq!(coded.header("vary"), Some("accept-encoding"));
    assert_eq!(coded.header("etag"), Some("W/\"v1\""));
    assert_eq!((coded.header("content-length"), coded.header("repr-digest")), (None, None));
    let part = read(&rest, "GET", &["accept-encoding: zstd", "range: bytes=0-3"]).await;
    assert_eq!((part.status.as_u16(), part.header("content-encoding")), (206, None));
    let plain = read(&rest, "GET", &["accept-encoding: zstd;q=0"]).await;
    assert_eq!((plain.header("content-encoding"), plain.header("etag")), (None, Some("\"v1\"")));
    let held = read(&rest, "GET", &["accept-encoding: zstd", "if-none-match: W/\"v1\""]).await;
    assert_eq!((held.status.as_u16(), held.header("etag")), (304, Some("W/\"v1\"")));
}

#[tokio::test]
async fn a_423_has_one_title_for_a_turn_that_is_taken_and_for_content_held_back() {
    let rest = letters().await;
    let answer = rest.ask("PUT /api/v1/buckets/default/files/fail/locked", &[ADMIN], "x").await;
    assert_eq!(answer.problem(), refused(423, "locked"));
    assert_eq!(answer.json()["title"], "Locked");
}

#[tokio::test]
async fn conditions_are_judged_as_rfc_9110_says() {
    let rest = letters().await;
    let table: [(&[&str], u16); 16] = [
        (&["if-none-match: \"v1\""], 304),
        (&["if-none-match: W/\"v1\""], 304),
        (&["if-none-match: *"], 304),
        (&["if-none-match: \"other\""], 200),
        (&["if-match: \"v1\""], 200),
        (&["if-match: *"], 200),
        (&["if-match: W/\"v1\""], 412),
        (&["if-match: \"other\""], 412),
        (&["if-modified-since: Wed, 18 Nov 2026 11:06:40 GMT"], 304),
        (&["if-modified-since: Wed, 18 Nov 2026 11:06:39 GMT"], 200),
        (&["if-modified-since: yesterday"], 200),
        (&["if-unmodified-since: Wed, 18 Nov 2026 11:06:39 GMT"], 412),
        (&["if-unmodified-since: Wednesday, 18-Nov-26 11:06:40 GMT"], 200),
        (&["if-none-match: \"other\"", "if-modified-since: Wed, 18 Nov 2026 11:06:40 GMT"], 200),
        (&["if-match: \"v1\"", "if-unmodified-since: Wed, 18 Nov 2026 11:06:39 GMT"], 200),
        (&["if-match: \"other\"", "if-none-match: \"v1\""], 412),
    ];
    for (headers, status) in table {
        for method in ["GET", "HEAD"] {
            assert_eq!(read(&rest, method, headers).await.status, status, "{method} {headers:?}");
        }
    }
    let kept = read(&rest, "GET", &["if-none-match: \"v1\""]).await;
    assert_eq!((kept.header("etag"), kept.text()), (Some("\"v1\""), ""));
    assert_eq!(read(&rest, "GET", &["if-match: v1"]).await.problem(), refused(400, "invalid_input"));
}

#[tokio::test]
async fn a_range_is_served_only_for_the_version_that_if_range_names() {
    let rest = letters().await;
    let table = [
        ("\"v1\"", 206),
        ("W/\"v1\"", 200),
        ("\"v0\"", 200),
        (LAST_MODIFIED, 206),
        ("Wed, 18 Nov 2026 11:06:41 GMT", 200),
        ("nonsense", 200),
    ];
    for (validator, status) in table {
        let answer = read(&rest, "GET", &["range: bytes=0-1", &format!("if-range: {validator}")]).await;
        assert_eq!(answer.status, status, "{validator}");
    }
}

#[tokio::test]
async fn content_says_what_it_is_and_does_no_harm() {
    let rest = letters().await;
    let file = rest.get(PATH).await;
    let expected = [
        ("content-type", "text/plain"),
        ("content-length", "10"),
        ("etag", "\"v1\""),
        ("last-modified", LAST_MODIFIED),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, no-cache"),
        ("content-disposition", "inline; filename=\"letters.txt\""),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "same-site"),
        ("referrer-policy", "no-referrer"),
        ("x-usp-version", "1"),
    ];
    for (name, value) in expected {
        assert_eq!(file.header(name), Some(value), "{name}");
    }
    assert_eq!(file.header("set-cookie"), None);
    let by_id = rest.get(&format!("/api/v1/files/{}/content", file.header("x-usp-file-id").unwrap())).await;
    assert_eq!((by_id.headers, by_id.body), (file.headers, file.body));
}

#[tokio::test]
async fn head_is_get_without_the_content_and_knows_no_range() {
    let rest = letters().await;
    let (get, head) = (read(&rest, "GET", &[]).await, read(&rest, "HEAD", &["range: bytes=0-1"]).await);
    assert_eq!(head.status, 200);
    assert_eq!(head.headers, get.headers);
    assert!(head.body.is_empty());
    assert_eq!(
        rest.ask("HEAD /api/v1/buckets/default/files/none", &[ADMIN], Body::empty()).await.status,
        404
    );
}

#[tokio::test]
async fn html_and_svg_are_downloads() {
    let rest = Rest::new();
    for (key, media_type) in
        [("a.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.bin", "application/x-x")]
    {
        rest.stored(key, media_type, "<script>alert(1)</script>").await;
        let answer = rest.get(&format!("/api/v1/buckets/default/files/{key}")).await;
        let disposition = answer.header("content-disposition").unwrap();
        assert_eq!(disposition, format!("attachment; filename=\"{key}\""));
    }
}

#[tokio::test]
async fn an_empty_file_is_served_whole() {
    let rest = Rest::new();
    rest.stored("empty", "text/plain", "").await;
    let ask = async |headers: &[&str]| {
        let line = "GET /api/v1/buckets/default/files/empty";
        rest.ask(line, &[&[ADMIN], headers].concat(), Body::empty()).await
    };
    assert_eq!(ask(&[]).await.header("content-length"), Some("0"));
    assert_eq!(ask(&["range: bytes=-5"]).await.status, 200);
    assert_eq!(ask(&["range: bytes=0-"]).await.header("content-range"), Some("bytes */0"));
}

#[tokio::test]
async fn content_found_corrupt_before_its_first_byte_is_a_problem_and_later_a_broken_answer() {
    let rest = Rest::new();
    for key in ["rotten/a", "breaking/a"] {
        rest.stored(key, "text/plain", "abcdefghij").await;
    }
    for range in [&[][..], &["range: bytes=0-3"], &["if-match: *"]] {
        let line = "GET /api/v1/buckets/default/files/rotten/a";
        let answer = rest.ask(line, &[&[ADMIN], range].concat(), Body::empty()).await;
        assert_eq!(answer.problem(), refused(500, "corrupt"), "{range:?}");
        for header in ["etag", "content-disposition", "accept-ranges", "repr-digest"] {
            assert_eq!(answer.header(header), None, "{header}");
        }
    }
    let answer = rest.open("GET /api/v1/buckets/default/files/breaking/a", &[ADMIN], Body::empty()).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_version_is_asked_for_by_its_number() {
    let rest = letters().await;
    assert_eq!(rest.get(&format!("{PATH}?version=1")).await.status, 200);
    assert_eq!(rest.get(&format!("{PATH}?version=2")).await.problem(), refused(404, "not_found"));
    for query in ["version=first", "version=1&version=2", "v=1"] {
        let answer = rest.get(&format!("{PATH}?{query}")).await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"), "{query}");
        assert!(!answer.json()["errors"][0]["parameter"].as_str().unwrap().is_empty(), "{query}");
    }
}
