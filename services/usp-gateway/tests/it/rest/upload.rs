//! PUT: what the headers say reaches storage, and what they must not say is refused.

use serde_json::json;
use usp_model::{KeyCondition, LabelKey};

use super::{ADMIN, Rest, refused};

const SHA256: &str = "content-digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

#[tokio::test]
async fn a_file_is_201_and_its_next_version_200() {
    let rest = Rest::new();
    let line = "PUT /api/v1/buckets/default/files/2026/or%C3%A4nge%2Fa%20b.csv";
    let first = rest.ask(line, &[ADMIN, "content-type: text/csv; charset=utf-8"], "a,b\n").await;
    assert_eq!(first.status, 201);
    let file = first.json();
    let id = file["id"].as_str().unwrap();
    assert_eq!(first.header("location").unwrap(), format!("/api/v1/files/{id}"));
    assert_eq!(first.header("etag"), Some("\"v1\""));
    assert_eq!(
        file,
        json!({
            "id": id, "bucket": "default", "key": "2026/oränge/a b.csv", "version": 1, "size": 4,
            "media_type": "text/csv", "declared_media_type": "text/csv", "etag": "\"v1\"",
            "digests": {"sha256": null}, "state": "ready",
            "created_at": "2026-11-18T11:06:40.007Z", "updated_at": "2026-11-18T11:06:40.007Z",
            "owner": "admin", "metadata": {}, "labels": {},
            "stored": {"bytes": 0, "chunks": 0, "deduplicated_bytes": 0},
            "reports": {"profile": {"rows": 3}}, "derived": [], "derived_from": null, "expires_at": null,
        })
    );
    let second = rest.ask(line, &[ADMIN], "a,b,c\n").await;
    assert_eq!((second.status.as_u16(), &second.json()["version"]), (200, &json!(2)));
}

#[tokio::test]
async fn a_part_of_a_file_does_not_replace_the_whole() {
    let rest = Rest::new();
    let line = "PUT /api/v1/buckets/default/files/a";
    let part = rest.ask(line, &[ADMIN, "content-range: bytes 40-50/51"], "0123456789").await;
    assert_eq!(part.problem(), refused(400, "invalid_input"));
    assert!(rest.storage.asked.lock().put.is_none());
}

#[tokio::test]
async fn headers_say_what_storage_is_told() {
    let rest = Rest::new();
    let headers = [
        ADMIN,
        "content-type: Text/CSV; header=present",
        "content-length: 3",
        "if-match: \"a\", W/\"weak\", \"b\"",
        "idempotency-key: 6f1b-1",
        "x-usp-meta-Source: Zürich",
        "x-usp-label-team: billing",
        SHA256,
        "repr-digest: md5=:AAAA:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    ];
    rest.ask("PUT /api/v1/buckets/default/files/a.csv?rule=tables", &headers, "a,b").await;
    let put = rest.storage.asked.lock().put.clone().unwrap();
    assert_eq!(put.size_bytes, Some(3));
    assert_eq!(put.declared_media_type.unwrap().as_str(), "text/csv");
    assert_eq!(put.condition, KeyCondition::Matches(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(put.idempotency_key.as_deref(), Some("6f1b-1"));
    assert_eq!(put.rule.unwrap().as_str(), "tables");
    assert_eq!(put.metadata.get(&LabelKey::parse("source").unwrap()).unwrap(), "Zürich");
    assert_eq!(put.labels.get(&LabelKey::parse("team").unwrap()).unwrap(), "billing");
    assert_eq!(put.expected_digests.len(), 1);
}

#[tokio::test]
async fn conditions_become_one_condition_or_none() {
    let table: [(&[&str], KeyCondition); 3] = [
        (&[], KeyCondition::Any),
        (&["if-none-match: *"], KeyCondition::Absent),
        (&["if-match: *"], KeyCondition::Matches(Vec::new())),
    ];
    for (headers, expected) in table {
        let rest = Rest::new();
        rest.ask("PUT /api/v1/buckets/default/files/a", &[&[ADMIN], headers].concat(), "x").await;
        assert_eq!(rest.storage.asked.lock().put.clone().unwrap().condition, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn headers_that_will_not_do_store_nothing() {
    let rest = Rest::new();
    let table: [(&[&str], u16, &str); 16] = [
        (&["if-match: abc"], 400, "invalid_input"),
        (&["if-match: W/\"weak\""], 412, "precondition_failed"),
        (&["if-none-match: \"a\""], 400, "invalid_input"),
        (&["if-match: \"a\"", "if-none-match: *"], 400, "invalid_input"),
        (&["content-digest: sha-256=:AAAA:"], 400, "invalid_input"),
        (&["repr-digest: sha-256"], 400, "invalid_input"),
        (&["repr-digest: junk"], 400, "invalid_input"),
        (&["content-digest: \"\""], 400, "invalid_input"),
        (&["content-type: nonsense"], 400, "invalid_input"),
        (&["content-encoding: gzip"], 415, "unsupported_media"),
        (&["idempotency-key: a b"], 400, "invalid_input"),
        (&["idempotency-key: "], 400, "invalid_input"),
        (&["x-usp-meta-: a"], 400, "invalid_input"),
        (&["x-usp-label-a: 1", "x-usp-label-a: 2"], 400, "invalid_input"),
        (&["x-usp-label-a: one\ttwo"], 400, "invalid_input"),
        (&["content-length: 4", "content-length: 4"], 400, "invalid_input"),
    ];
    for (headers, status, code) in table {
        let line = "PUT /api/v1/buckets/default/files/a";
        let answer = rest.ask(line, &[&[ADMIN], headers].concat(), "x").await;
        assert_eq!(answer.problem(), refused(status, code), "{headers:?}");
    }
    assert!(rest.storage.asked.lock().put.is_none());
}

#[tokio::test]
async fn a_digest_that_nobody_checks_is_ignored() {
    let rest = Rest::new();
    let line = "PUT /api/v1/buckets/default/files/a";
    let answer = rest.ask(line, &[ADMIN, "content-digest: md5=:AAAA:"], "x").await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn a_percent_sign_that_begins_no_escape_is_refused() {
    let rest = Rest::new();
    for key in ["a%zz", "a%", "a%4", "%%41", "a%4g/b", "a%-1"] {
        for method in ["PUT", "GET", "DELETE"] {
            let line = format!("{method} /api/v1/buckets/default/files/{key}");
            let answer = rest.ask(&line, &[ADMIN], "x").await;
            assert_eq!(answer.problem(), refused(400, "invalid_input"), "{line}");
        }
    }
    assert!(rest.storage.asked.lock().put.is_none());
    assert_eq!(rest.stored("100%25%2541", "text/plain", "x").await["key"], "100%%41");
}

#[tokio::test]
async fn a_label_that_is_too_long_is_named() {
    let rest = Rest::new();
    let header = format!("x-usp-label-note: {}", "a".repeat(2049));
    let answer = rest.ask("PUT /api/v1/buckets/default/files/a", &[ADMIN, &header], "x").await;
    assert_eq!(answer.json()["errors"][0]["pointer"], "/labels/note");
}

#[tokio::test]
async fn an_unknown_query_parameter_is_named() {
    let rest = Rest::new();
    let answer = rest.ask("PUT /api/v1/buckets/default/files/a?rules=x", &[ADMIN], "x").await;
    assert_eq!(answer.problem(), refused(400, "invalid_input"));
    let error = &answer.json()["errors"][0];
    assert_eq!((&error["parameter"], &error["pointer"]), (&json!("rules"), &json!("/rules")));
}
