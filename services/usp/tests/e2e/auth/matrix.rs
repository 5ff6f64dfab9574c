//! Roles by routes: each pair is asked for, none is assumed.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use usp_testkit::{Http, Installation, file_path};

use crate::{everywhere, text};

const ROLES: [&str; 4] = ["reader", "writer", "manager", "admin"];

/// A route, what to send, and the status that each role gets in [`ROLES`] order. `{id}` and `{role}` are filled in.
struct Row {
    method: Method,
    path: &'static str,
    body: Option<Value>,
    statuses: [u16; 4],
}

fn row(method: Method, path: &'static str, body: Option<Value>, statuses: [u16; 4]) -> Row {
    Row { method, path, body, statuses }
}

fn rows() -> Vec<Row> {
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let labels = || Some(json!({"labels": {"a": "b"}}));
    vec![
        row(get.clone(), "/api/v1/me", None, [200; 4]),
        row(get.clone(), "/api/v1/buckets", None, [200; 4]),
        row(get.clone(), "/api/v1/buckets/default", None, [200; 4]),
        row(post.clone(), "/api/v1/buckets", Some(json!({"name": "made-by-{role}"})), [403, 403, 201, 201]),
        row(patch.clone(), "/api/v1/buckets/default", Some(json!({"policy": {}})), [403, 403, 200, 200]),
        row(delete.clone(), "/api/v1/buckets/empty-{role}", None, [403, 403, 403, 204]),
        row(get.clone(), "/api/v1/buckets/default/files", None, [200; 4]),
        row(Method::PUT, "/api/v1/buckets/default/files/by-{role}", None, [403, 201, 201, 201]),
        row(get.clone(), "/api/v1/files/{id}", None, [200; 4]),
        row(get.clone(), "/api/v1/files/{id}/content", None, [200; 4]),
        row(get.clone(), "/api/v1/files/{id}/versions", None, [200; 4]),
        row(get.clone(), "/api/v1/files/{id}/status", None, [200; 4]),
        row(get.clone(), "/api/v1/files/{id}/runs", None, [200; 4]),
        row(post.clone(), "/api/v1/files/{id}/runs", Some(json!({"rule": "profile"})), [403, 202, 202, 202]),
        row(patch, "/api/v1/files/{id}", labels(), [403, 200, 200, 200]),
        row(delete, "/api/v1/files/{id}", None, [403, 204, 204, 204]),
        row(get.clone(), "/api/v1/runs", None, [200; 4]),
        row(get.clone(), "/api/v1/rules", None, [200; 4]),
        row(get.clone(), "/api/v1/stats", None, [403, 403, 200, 200]),
        row(get.clone(), "/api/v1/queue", None, [403, 403, 200, 200]),
        row(get.clone(), "/api/v1/users", None, [403, 403, 403, 200]),
        row(post.clone(), "/api/v1/store/collect", Some(json!({"dry_run": true})), [403, 403, 403, 200]),
        row(post.clone(), "/api/v1/store/scrub", Some(json!({"resume": true})), [403, 403, 403, 200]),
        row(get.clone(), "/api/v1/store/scrub", None, [403, 403, 403, 200]),
        row(post.clone(), "/api/v1/store/check", Some(json!({})), [403, 403, 403, 200]),
        row(get.clone(), "/api/v1/store/damage", None, [403, 403, 403, 200]),
        row(post, "/api/v1/users", Some(json!({"name": "made-by-{role}"})), [403, 403, 403, 201]),
        row(get, "/metrics", None, [403, 403, 403, 200]),
    ]
}

/// Each row gets a file and a bucket of its own, so that no row sees what another did.
async fn ask(admin: &Http, caller: &Http, role: &str, row: &Row) -> Result<u16> {
    let name = format!("for-{role}.bin");
    let file = admin.put(&name, "application/octet-stream", "content").await?.value()?;
    let fill = |text: &str| {
        Ok::<_, anyhow::Error>(text.replace("{id}", crate::text(&file, "id")?).replace("{role}", role))
    };
    let mut request = caller.request(row.method.clone(), &fill(row.path)?);
    if let Some(body) = &row.body {
        request = request.header("content-type", "application/json").body(fill(&body.to_string())?);
    }
    Ok(caller.send(request).await?.status)
}

#[tokio::test]
async fn each_role_gets_on_each_route_what_the_table_says() -> Result<()> {
    everywhere(async |usp: &mut Installation| {
        let admin = usp.admin().await?;
        for (index, role) in ROLES.iter().enumerate() {
            let bucket = json!({"name": format!("empty-{role}")});
            admin.post("/api/v1/buckets", &bucket).await?.must(201)?;
            let caller = usp.caller(&["--user", &format!("a-{role}"), "--role", role]).await?;
            for row in rows() {
                let status = ask(&admin, &caller, role, &row).await?;
                assert_eq!(status, row.statuses[index], "{} {} as {role}", row.method, row.path);
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_grant_in_one_bucket_counts_only_there() -> Result<()> {
    everywhere(async |usp| {
        let admin = usp.admin().await?;
        for bucket in ["ours", "theirs"] {
            admin.post("/api/v1/buckets", &json!({"name": bucket})).await?.must(201)?;
        }
        let put = admin.request(Method::PUT, &file_path("theirs", "a.txt")).body("theirs");
        let theirs = admin.send(put).await?.must(201)?.value()?;
        let caller = usp.caller(&["--user", "mia", "--role", "manager", "--bucket", "ours"]).await?;
        let put = |bucket: &str| caller.request(Method::PUT, &file_path(bucket, "b.txt")).body("x");
        caller.send(put("ours")).await?.must(201)?;
        caller.send(put("theirs")).await?.problem(404, "not_found")?;
        caller.delete(&format!("/api/v1/files/{}", text(&theirs, "id")?)).await?.problem(404, "not_found")?;
        let patch = json!({"policy": {"quota_bytes": 1_000_000}});
        caller.json(Method::PATCH, "/api/v1/buckets/ours", &patch).await?.must(200)?;
        caller.json(Method::PATCH, "/api/v1/buckets/theirs", &patch).await?.problem(404, "not_found")?;
        caller.post("/api/v1/buckets", &json!({"name": "another"})).await?.problem(403, "denied")?;
        let buckets = caller.get("/api/v1/buckets").await?.must(200)?.value()?;
        let names: Vec<&Value> =
            buckets["items"].as_array().into_iter().flatten().map(|b| &b["name"]).collect();
        assert_eq!(names, ["ours"]);
        let runs = caller.get("/api/v1/runs").await?.must(200)?.text();
        assert!(!runs.contains(text(&theirs, "id")?), "{runs}");
        Ok(())
    })
    .await
}
