//! JSON and query parameters: what is wrong is named by its place.

use axum::body::Body;
use serde_json::{Value, json};
use usp_model::{Change, FileSort, LabelKey, Timestamp};

use super::{ADMIN, JSON, Rest, refused};

#[tokio::test]
async fn json_that_will_not_do_is_named_by_a_pointer() {
    let rest = Rest::new();
    let table = [
        (json!({"name": "photos", "colour": 1}), "/colour"),
        (json!({"name": "photos", "policy": {"quota": 1}}), "/policy/quota"),
        (json!({"name": "photos", "policy": {"media_types": ["text/*", 5]}}), "/policy/media_types/1"),
        (json!({"name": "photos", "policy": {"media_types": ["text/*", "x"]}}), "/policy/media_types/1"),
        (json!({"name": "photos", "policy": {"quota_bytes": -1}}), "/policy/quota_bytes"),
        (json!({"name": "photos", "policy": {"compression": "zip"}}), "/policy/compression"),
        (json!({"name": "PHOTOS"}), "/name"),
        (json!({}), ""),
        (json!([]), ""),
    ];
    for (body, pointer) in table {
        let answer = rest.send("POST /api/v1/buckets", &body).await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"), "{body}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {}", answer.text());
        assert!(!answer.text().contains("line 1") && !answer.text().contains("u64"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_object_cannot_stand_as_an_array_of_its_fields() {
    let rest = Rest::new();
    let grant = json!([null, "admin"]);
    let table = [
        ("POST /api/v1/buckets", json!(["photos", {}]), ""),
        ("POST /api/v1/buckets", json!("photos"), ""),
        ("POST /api/v1/buckets", json!({"name": "photos", "policy": [["text/*"]]}), "/policy"),
        ("POST /api/v1/buckets", json!({"name": "photos", "policy": null}), "/policy"),
        ("PATCH /api/v1/buckets/default", json!([{}]), ""),
        ("PATCH /api/v1/buckets/default", json!({"policy": []}), "/policy"),
        ("POST /api/v1/auth/token", json!(["password", "alice", "secret", null]), ""),
        ("POST /api/v1/users", json!(["alice", null, []]), ""),
        ("POST /api/v1/users", json!({"name": "alice", "grants": [grant]}), "/grants/0"),
        ("PATCH /api/v1/users/alice", json!({"grants": [grant]}), "/grants/0"),
        ("POST /api/v1/api-keys", json!({"name": "nightly", "grants": [grant]}), "/grants/0"),
    ];
    for (line, body, pointer) in table {
        let answer = rest.send(line, &body).await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"), "{line} {body}: {}", answer.text());
        let error = &answer.json()["errors"][0];
        assert_eq!(error["pointer"], pointer, "{line} {body}: {}", answer.text());
        assert!(!answer.text().contains("Json") && !answer.text().contains("struct"), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_is_no_json_is_400_or_415() {
    let rest = Rest::new();
    let post = async |headers: &[&str], body: &'static str| {
        rest.ask("POST /api/v1/buckets", &[&[ADMIN], headers].concat(), body).await.problem()
    };
    for body in ["", "{", "nonsense", "{} {}", "\"\u{0}\""] {
        assert_eq!(post(&[JSON], body).await, refused(400, "invalid_input"), "{body:?}");
    }
    for headers in [&[][..], &["content-type: text/plain"], &["content-type: application/jsonp"]] {
        assert_eq!(post(headers, "{}").await, refused(415, "unsupported_media"), "{headers:?}");
    }
    let deep: &'static str = Box::leak("[".repeat(100_000).into_boxed_str());
    assert_eq!(post(&[JSON], deep).await, refused(400, "invalid_input"));
}

#[tokio::test]
async fn a_json_body_has_a_limit_whether_its_length_is_told_or_not() {
    let rest = Rest::new();
    let long = format!("{{\"name\": \"{}\"}}", "a".repeat(1 << 20));
    let told = rest.ask("POST /api/v1/buckets", &[ADMIN, JSON, "content-length: 2000000"], "{}").await;
    let untold = rest.ask("POST /api/v1/buckets", &[ADMIN, JSON], long).await;
    assert_eq!(told.problem(), refused(413, "too_large"));
    assert_eq!(untold.problem(), refused(413, "too_large"));
}

#[tokio::test]
async fn a_patch_tells_null_from_absent() {
    let rest = Rest::new();
    let id = rest.stored("a", "text/plain", "x").await["id"].as_str().unwrap().to_owned();
    let line = format!("PATCH /api/v1/files/{id}");
    let body = json!({"labels": {"team": "a", "old": null}, "expires_at": null});
    let answer = rest.ask(&line, &[ADMIN, JSON, "if-match: \"v1\""], body.to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["labels"]), (200, &json!({"team": "a"})));
    let patch = rest.storage.asked.lock().patch.clone().unwrap();
    assert_eq!(patch.labels.get(&LabelKey::parse("old").unwrap()), Some(&None));
    assert_eq!(patch.expires_at, Change::Clear);
    assert_eq!(patch.condition_etags, Some(vec!["v1".to_owned()]));

    rest.send(&line, &json!({"expires_at": "2027-01-01T00:00:00Z"})).await;
    let expected = Change::Set(Timestamp::parse("2027-01-01T00:00:00Z").unwrap());
    assert_eq!(rest.storage.asked.lock().patch.clone().unwrap().expires_at, expected);
    rest.send(&line, &json!({})).await;
    assert_eq!(rest.storage.asked.lock().patch.clone().unwrap().expires_at, Change::Keep);

    let table = [
        (json!({"size": 1}), "/size"),
        (json!({"expires_at": "soon"}), "/expires_at"),
        (json!({"labels": {"a b": "x"}}), "/labels/a b"),
        (json!({"labels": {"a/b": 1}}), "/labels/a~1b"),
    ];
    for (body, pointer) in table {
        let answer = rest.send(&line, &body).await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"), "{body}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_bucket_policy_is_merged_field_by_field() {
    let rest = Rest::new();
    let line = "PATCH /api/v1/buckets/default";
    rest.send(line, &json!({"policy": {"quota_bytes": 5, "media_types": ["text/*"]}})).await;
    let answer = rest.send(line, &json!({"policy": {"quota_bytes": null, "digests": ["blake3"]}})).await;
    let policy = &answer.json()["policy"];
    assert_eq!(policy["quota_bytes"], Value::Null);
    assert_eq!(policy["media_types"], json!(["text/*"]));
    assert_eq!(policy["digests"], json!(["blake3"]));
    for (body, pointer) in [
        (json!({"policy": {"quota": 1}}), "/policy/quota"),
        (json!({"policy": {"release": "later"}}), "/policy/release"),
        (json!({"name": "other"}), "/name"),
    ] {
        let answer = rest.send(line, &body).await;
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{}", answer.text());
    }
}

#[tokio::test]
async fn every_filter_of_a_list_reaches_storage() {
    let rest = Rest::new();
    let sha256 = "E3".repeat(32);
    let query = format!(
        "prefix=2026%2F&delimiter=/&state=ready&media_type=text/*&label=team%3Dbilling&label=stage:new&\
         label.region=eu&meta.source=a+b%26c&digest=sha256:{sha256}&created_after=2026-01-01T00:00:00Z&\
         created_before=2027-01-01T00:00:00Z&sort=-created_at&limit=7&cursor=3"
    );
    let answer = rest.get(&format!("/api/v1/buckets/default/files?{query}")).await;
    assert_eq!(answer.json(), json!({"items": [], "prefixes": [], "next_cursor": null}));
    let asked = rest.storage.asked.lock().list.clone().unwrap();
    let pairs = |map: &std::collections::BTreeMap<LabelKey, String>| {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((asked.prefix.as_str(), asked.delimiter.as_deref()), ("2026/", Some("/")));
    assert_eq!(asked.state.unwrap().as_str(), "ready");
    assert_eq!(asked.media_type.as_deref(), Some("text/*"));
    assert_eq!(pairs(&asked.labels), "region=eu stage=new team=billing");
    assert_eq!(pairs(&asked.metadata), "source=a b&c");
    assert_eq!(asked.sha256.unwrap(), "e3".repeat(32));
    assert!(asked.created_after.unwrap() < asked.created_before.unwrap());
    assert_eq!((asked.sort, asked.limit), (FileSort::CreatedDescending, 7));
    assert_eq!(asked.cursor.as_deref(), Some("3"));
}

#[tokio::test]
async fn parameters_that_will_not_do_are_named() {
    let rest = Rest::new();
    let table = [
        ("buckets/default/files?colour=1", "colour"),
        ("buckets/default/files?limit=0", "limit"),
        ("buckets/default/files?limit=1001", "limit"),
        ("buckets/default/files?limit=ten", "limit"),
        ("buckets/default/files?state=gone", "state"),
        ("buckets/default/files?sort=size", "sort"),
        ("buckets/default/files?created_after=yesterday", "created_after"),
        ("buckets/default/files?digest=abc", "digest"),
        ("buckets/default/files?label=team", "label"),
        ("buckets/default/files?label=a%20b=c", "label"),
        ("buckets/default/files?meta.a=1&meta.a=2", "meta.a"),
        ("buckets/default/files?meta.=1", "meta."),
        ("runs?state=lost", "state"),
        ("runs?file_id=x", "file_id"),
        ("runs?limit=5000", "limit"),
        ("events?after=now", "after"),
        ("buckets?limit=5", "limit"),
        ("me?verbose", "verbose"),
    ];
    for (query, parameter) in table {
        let answer = rest.get(&format!("/api/v1/{query}")).await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"), "{query}");
        assert_eq!(answer.json()["errors"][0]["parameter"], parameter, "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn tokens_are_traded_for_what_the_grant_type_takes() {
    let rest = Rest::new();
    let trade = async |body: Value| rest.ask("POST /api/v1/auth/token", &[JSON], body.to_string()).await;
    let right = trade(json!({"grant_type": "password", "username": "alice", "password": "right"})).await;
    assert_eq!(
        right.json(),
        json!({"access_token": "alice", "token_type": "Bearer", "expires_in": 900, "refresh_token": "refresh-alice"})
    );
    assert_eq!(right.header("cache-control"), Some("no-store"));
    let wrong = trade(json!({"grant_type": "password", "username": "alice", "password": "wrong"})).await;
    assert_eq!(wrong.problem(), refused(401, "unauthenticated"));
    let table = [
        (json!({"grant_type": "password", "username": "alice"}), "/password"),
        (json!({"grant_type": "password", "password": "x"}), "/username"),
        (json!({"grant_type": "refresh_token"}), "/refresh_token"),
        (json!({"grant_type": "refresh_token", "refresh_token": "x", "password": "y"}), "/password"),
        (json!({"grant_type": "magic"}), "/grant_type"),
        (json!({"username": "alice"}), ""),
    ];
    for (body, pointer) in table {
        let answer = trade(body).await;
        assert_eq!(answer.problem(), refused(400, "invalid_input"));
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{}", answer.text());
    }
}

#[tokio::test]
async fn deleting_takes_a_condition() {
    let rest = Rest::new();
    rest.stored("a", "text/plain", "x").await;
    let delete = async |headers: &[&str]| {
        let line = "DELETE /api/v1/buckets/default/files/a";
        rest.ask(line, &[&[ADMIN], headers].concat(), Body::empty()).await
    };
    assert_eq!(delete(&["if-match: \"v2\""]).await.problem(), refused(412, "precondition_failed"));
    assert_eq!(delete(&["if-match: W/\"v1\""]).await.problem(), refused(412, "precondition_failed"));
    let gone = delete(&["if-match: \"v1\""]).await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
    assert_eq!(delete(&[]).await.problem(), refused(404, "not_found"));
}
