//! Failures look the same everywhere and tell nothing about the inside.

use axum::body::Body;
use serde_json::json;

use super::{ADMIN, JSON, NOBODY, READER, Rest, refused};

#[tokio::test]
async fn every_kind_has_its_status_and_code() {
    let rest = Rest::new();
    let table = [
        ("invalid_input", 400),
        ("unauthenticated", 401),
        ("denied", 403),
        ("not_found", 404),
        ("conflict", 409),
        ("gone", 410),
        ("precondition_failed", 412),
        ("too_large", 413),
        ("unsupported_media", 415),
        ("out_of_range", 416),
        ("digest_mismatch", 422),
        ("locked", 423),
        ("rate_limited", 429),
        ("unavailable", 503),
        ("outcome_unknown", 503),
        ("storage_full", 507),
        ("corrupt", 500),
        ("internal", 500),
    ];
    assert_eq!(table.len(), usp_model::ErrorKind::ALL.len());
    for (code, status) in table {
        let line = format!("PUT /api/v1/buckets/default/files/fail/{code}");
        let answer = rest.ask(&line, &[ADMIN], "x").await;
        assert_eq!(answer.problem(), refused(status, code));
        // What may have happened is not to be sent again without a look.
        let waits = matches!(status, 429 | 503) && code != "outcome_unknown";
        assert_eq!(answer.header("retry-after").is_some(), waits, "{code}");
        assert!(!answer.text().contains("secret cause"), "{code} tells its cause");
        assert_eq!(answer.text().contains("the key says so"), status != 500, "{code}");
    }
}

#[tokio::test]
async fn a_problem_has_the_members_of_rfc_9457_and_ours() {
    let rest = Rest::new();
    let problem = rest.get("/api/v1/buckets/photos").await.json();
    let id = problem["request_id"].as_str().unwrap();
    assert!(!id.is_empty());
    assert_eq!(
        problem,
        json!({
            "type": "urn:usp:problem:not_found",
            "title": "Not found",
            "status": 404,
            "detail": "there is no such bucket",
            "code": "not_found",
            "request_id": id,
        })
    );
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let rest = Rest::new();
    for path in ["/nothing", "/api/v1/nothing", "/api/v1/buckets/default/files/", "/api/v2/me"] {
        assert_eq!(rest.get(path).await.problem(), refused(404, "not_found"), "{path}");
    }
    let answer = rest.ask("PUT /api/v1/me", &[ADMIN], Body::empty()).await;
    assert_eq!(answer.problem(), refused(405, "method_not_allowed"));
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn without_a_credential_that_holds_the_answer_is_401_with_a_challenge() {
    let rest = Rest::new();
    let tries: [&[&str]; 6] = [
        &[],
        &["authorization: Bearer wrong"],
        &["authorization: Basic YTpi"],
        &["authorization: Bearer"],
        &[ADMIN, ADMIN],
        &["authorization: Bearer ä"],
    ];
    for headers in tries {
        let answer = rest.ask("GET /api/v1/me", headers, Body::empty()).await;
        assert_eq!(answer.problem(), refused(401, "unauthenticated"), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"usp\""));
    }
}

#[tokio::test]
async fn a_foreign_bucket_and_an_absent_one_look_alike() {
    let rest = Rest::new();
    let ask = async |bucket: &str| {
        let answer = rest.ask(&format!("GET /api/v1/buckets/{bucket}"), &[NOBODY], Body::empty()).await;
        assert_eq!(answer.problem(), refused(404, "not_found"));
        answer.json()["detail"].as_str().unwrap().replace(bucket, "BUCKET")
    };
    assert_eq!(ask("default").await, ask("photos").await);
}

#[tokio::test]
async fn what_the_role_does_not_hold_is_403_before_storage_is_asked() {
    let rest = Rest::new();
    let table = [
        ("PUT /api/v1/buckets/default/files/a", "file.write"),
        ("PATCH /api/v1/buckets/default", "bucket.manage"),
        ("POST /api/v1/buckets", "bucket.create"),
        ("GET /api/v1/users", "user.manage"),
        ("GET /api/v1/stats", "stats.read"),
        ("GET /api/v1/queue", "stats.read"),
        ("POST /api/v1/store/collect", "store.manage"),
        ("POST /api/v1/store/scrub", "store.manage"),
        ("GET /api/v1/store/damage", "store.manage"),
    ];
    for (line, permission) in table {
        let answer = rest.ask(line, &[READER, JSON], "{}").await;
        assert_eq!(answer.problem(), refused(403, "denied"), "{line}");
        assert!(answer.text().contains(permission), "{answer:?}");
    }
    assert!(rest.storage.asked.lock().put.is_none());
}

#[tokio::test]
async fn malformed_ids_are_absent_and_malformed_names_are_refused() {
    let rest = Rest::new();
    for path in
        ["/api/v1/files/short", "/api/v1/files/%2e%2e/content", "/api/v1/runs/x", "/api/v1/files/x/status"]
    {
        assert_eq!(rest.get(path).await.problem(), refused(404, "not_found"), "{path}");
    }
    for path in [
        "/api/v1/buckets/NO",
        "/api/v1/buckets/default/files/a%00b",
        "/api/v1/buckets/default/files/a/../b",
        "/api/v1/buckets/default/files/a%2f..%2fb",
        "/api/v1/buckets/default/files/a//b",
        "/api/v1/buckets/default/files/a%5cb",
        "/api/v1/buckets/default/files/%ff",
        "/api/v1/buckets/default/files/gpj%E2%80%AE.exe",
    ] {
        assert_eq!(rest.get(path).await.problem(), refused(400, "invalid_input"), "{path}");
    }
}
