//! The shapes of what comes back.

use axum::body::Body;
use serde_json::json;

use super::{ADMIN, NOBODY, READER, Rest, refused};

#[tokio::test]
async fn me_says_who_and_where() {
    let rest = Rest::new();
    let me = rest.ask("GET /api/v1/me", &[READER], Body::empty()).await.json();
    assert_eq!(me["name"], "reader");
    assert_eq!(me["kind"], "user");
    assert_eq!(me["grants"], json!([{"bucket": null, "role": "reader"}]));
    let held: Vec<&str> = me["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| held["permission"].as_str().unwrap())
        .collect();
    assert_eq!(held, ["file.read", "bucket.read", "run.read", "rule.read", "event.read", "self.read"]);
    let nobody = rest.ask("GET /api/v1/me", &[NOBODY], Body::empty()).await.json();
    assert_eq!(nobody["permissions"], json!([{"permission": "self.read", "buckets": null}]));
}

#[tokio::test]
async fn a_run_is_started_shown_cancelled_and_tried_again() {
    let rest = Rest::new();
    let id = rest.stored("a", "text/plain", "x").await["id"].as_str().unwrap().to_owned();
    let started = rest.send(&format!("POST /api/v1/files/{id}/runs"), &json!({"rule": "tables"})).await;
    assert_eq!(started.status, 202);
    let run = started.json();
    let run_id = run["run_id"].as_str().unwrap();
    assert_eq!((&run["rule"], &run["state"]), (&json!("tables"), &json!("queued")));

    let status = rest.get(&format!("/api/v1/files/{id}/status")).await.json();
    let steps = json!([{"name": "profile", "state": "pending", "attempt": 0, "percent": 0,
        "started_at": null, "ended_at": null, "error": null}]);
    let runs =
        json!([{"run_id": run_id, "rule": "tables", "state": "queued", "error": null, "steps": steps}]);
    assert_eq!(
        status,
        json!({"file_id": id, "state": "ready", "upload": {"received": 1, "size": 1}, "runs": runs})
    );

    let change = async |verb: &str| {
        let answer = rest.ask(&format!("POST /api/v1/runs/{run_id}/{verb}"), &[ADMIN], Body::empty()).await;
        (answer.status.as_u16(), answer.json()["state"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(change("retry").await, (409, String::new()));
    assert_eq!(change("cancel").await, (200, "cancelled".to_owned()));
    assert_eq!(change("retry").await, (202, "queued".to_owned()));
    let listed = rest.get(&format!("/api/v1/runs?state=queued&bucket=default&file_id={id}&limit=1")).await;
    assert_eq!(listed.json()["items"][0]["run_id"], run_id);
    assert_eq!(rest.storage.asked.lock().runs.clone().unwrap().bucket.unwrap().as_str(), "default");
    let of_file = rest.get(&format!("/api/v1/files/{id}/runs")).await.json();
    assert_eq!(of_file["items"][0]["run_id"], run_id);
}

#[tokio::test]
async fn secrets_are_told_once_and_kept_out_of_caches() {
    let rest = Rest::new();
    let user = rest.send("POST /api/v1/users", &json!({"name": "bob", "grants": [{"role": "reader"}]})).await;
    assert_eq!((user.status.as_u16(), user.header("cache-control")), (201, Some("no-store")));
    let user = user.json();
    assert_eq!((&user["name"], &user["password"]), (&json!("bob"), &json!("drawn")));
    assert_eq!(user["grants"], json!([{"bucket": null, "role": "reader"}]));
    let key = rest.send("POST /api/v1/api-keys", &json!({"name": "import", "ttl_s": 60})).await;
    assert_eq!((key.status.as_u16(), key.header("cache-control")), (201, Some("no-store")));
    assert_eq!(key.json()["secret"], "usp_secret");
}

#[tokio::test]
async fn lists_are_items() {
    let rest = Rest::new();
    rest.stored("a", "text/plain", "x").await;
    rest.stored("b", "text/plain", "x").await;
    let page = rest.get("/api/v1/buckets/default/files?limit=1").await.json();
    assert_eq!((&page["items"][0]["key"], &page["next_cursor"]), (&json!("a"), &json!("1")));
    assert_eq!(rest.get("/api/v1/buckets").await.json()["items"][0]["name"], "default");
    for path in ["rules", "users", "api-keys", "runs"] {
        assert_eq!(rest.get(&format!("/api/v1/{path}")).await.json()["items"], json!([]), "{path}");
    }
    assert_eq!(rest.get("/api/v1/stats").await.json()["disk_bytes"], 0);
}

#[tokio::test]
async fn a_collection_tells_what_it_did_or_would_do() {
    let rest = Rest::new();
    for (asked, is_dry) in [(json!({}), false), (json!({"dry_run": true}), true)] {
        let report = rest.send("POST /api/v1/store/collect", &asked).await.json();
        assert_eq!((&report["dry_run"], &report["swept_chunks"]), (&json!(is_dry), &json!(3)));
    }
    let refused = rest.send("POST /api/v1/store/collect", &json!({"dry": true})).await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_scrub_is_started_shown_and_stopped_and_tells_what_is_damaged() {
    let rest = Rest::new();
    let started = rest.send("POST /api/v1/store/scrub", &json!({"pace": 1_000_000})).await.json();
    assert_eq!((&started["running"], &started["pace"]), (&json!(true), &json!(1_000_000)));
    assert_eq!(rest.get("/api/v1/store/scrub").await.json()["damaged"], 1);
    assert_eq!(
        rest.ask("DELETE /api/v1/store/scrub", &[ADMIN], Body::empty()).await.json()["running"],
        json!(false)
    );
    let damage = rest.get("/api/v1/store/damage").await.json();
    assert_eq!(damage["damage"], json!([{"pack": 7, "offset": 64, "bytes": 100, "part": "frame"}]));
    assert_eq!(rest.send("POST /api/v1/store/scrub", &json!({"pace": -1})).await.status, 400);
}

#[tokio::test]
async fn a_check_tells_its_findings_in_sentences() {
    let rest = Rest::new();
    let report = rest.send("POST /api/v1/store/check", &json!({"deep": true})).await.json();
    assert_eq!((&report["deep"], &report["grave"]), (&json!(true), &json!(false)));
    assert_eq!(report["findings"][0]["kind"], "sum");
}

#[tokio::test]
async fn a_bucket_is_made_shown_and_deleted() {
    let rest = Rest::new();
    let made = rest
        .send("POST /api/v1/buckets", &json!({"name": "photos", "policy": {"release": "after_success"}}))
        .await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, Some("/api/v1/buckets/photos")));
    let shown = rest.get("/api/v1/buckets/photos").await.json();
    assert_eq!(shown["policy"]["release"], "after_success");
    let again = rest.send("POST /api/v1/buckets", &json!({"name": "photos"})).await;
    assert_eq!(again.problem(), refused(409, "conflict"));
    let deleted = rest.ask("DELETE /api/v1/buckets/photos", &[ADMIN], Body::empty()).await;
    assert_eq!(deleted.status, 204);
}

#[tokio::test]
async fn health_needs_no_token() {
    let rest = Rest::new();
    let live = rest.ask("GET /livez", &[], Body::empty()).await;
    assert_eq!((live.status.as_u16(), live.text()), (200, "ok\n"));
    let ready = rest.ask("GET /readyz", &[], Body::empty()).await;
    assert_eq!(ready.json(), json!({"ready": true, "waiting_for": [], "durability": "full"}));
}
