//! What stands around the interface: health, metrics, description, the first start.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

use crate::{alone, everywhere};

#[tokio::test]
async fn probes_answer_without_a_token_and_tell_nothing() -> Result<()> {
    everywhere(async |usp| {
        let anonymous = usp.anonymous()?;
        for path in ["/livez", "/readyz"] {
            anonymous.get(path).await?.must(200)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn metrics_take_an_admin_and_count_requests() -> Result<()> {
    everywhere(async |usp| {
        let status = usp.anonymous()?.get("/metrics").await?.status;
        assert!(status == 401 || status == 404, "{status}");
        let metrics = usp.admin().await?.get("/metrics").await?.must(200)?.text();
        assert!(metrics.contains("# TYPE usp_") && metrics.trim_end().ends_with("# EOF"), "{metrics}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_description_names_every_path_of_the_contract() -> Result<()> {
    alone(async |usp| {
        let http = usp.anonymous()?;
        let description = http.get("/openapi.json").await?.must(200)?.value()?;
        assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
        let paths = description["paths"].as_object().context("no paths")?;
        for (path, methods) in [
            ("/auth/token", vec!["post"]),
            ("/me", vec!["get"]),
            ("/buckets", vec!["get", "post"]),
            ("/buckets/{bucket}", vec!["get", "patch", "delete"]),
            ("/buckets/{bucket}/files", vec!["get", "post"]),
            ("/buckets/{bucket}/files/{key}", vec!["get", "head", "put", "delete"]),
            ("/uploads", vec!["post", "options"]),
            ("/uploads/{upload_id}", vec!["head", "patch", "delete", "options"]),
            ("/files/{file_id}", vec!["get", "patch", "delete"]),
            ("/files/{file_id}/content", vec!["get", "head"]),
            ("/files/{file_id}/versions", vec!["get"]),
            ("/files/{file_id}/status", vec!["get"]),
            ("/files/{file_id}/runs", vec!["get", "post"]),
            ("/files/{file_id}/events", vec!["get"]),
            ("/events", vec!["get"]),
            ("/runs", vec!["get"]),
            ("/runs/{run_id}", vec!["get"]),
            ("/runs/{run_id}/retry", vec!["post"]),
            ("/runs/{run_id}/cancel", vec!["post"]),
            ("/rules", vec!["get"]),
            ("/rules/{name}", vec!["get"]),
            ("/rules/{name}/test", vec!["post"]),
            ("/users", vec!["get", "post"]),
            ("/api-keys", vec!["get", "post"]),
            ("/stats", vec!["get"]),
            ("/queue", vec!["get"]),
            ("/store/collect", vec!["post"]),
            ("/store/scrub", vec!["get", "post", "delete"]),
            ("/store/damage", vec!["get"]),
            ("/store/check", vec!["post"]),
        ] {
            let described =
                paths.get(&format!("/api/v1{path}")).with_context(|| format!("{path} is missing"))?;
            for method in methods {
                assert!(described.get(method).is_some(), "{method} {path} is missing");
            }
        }
        let docs = http.get("/docs").await?.must(200)?;
        assert!(docs.header("content-type").starts_with("text/html"));
        assert!(!docs.text().contains("https://cdn"), "the page must not load from elsewhere");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems_too() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        http.get("/api/v1/nothing").await?.problem(404, "not_found")?;
        let answer = http.send(http.request(Method::DELETE, "/api/v1/me")).await?;
        answer.problem(405, "method_not_allowed")?;
        assert!(answer.header("allow").contains("GET"), "{}", answer.header("allow"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_request_id_comes_back_and_one_is_made_where_none_was_sent() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let request = http.request(Method::GET, "/api/v1/me").header("x-request-id", "my-id-42");
        assert_eq!(http.send(request).await?.must(200)?.header("x-request-id"), "my-id-42");
        assert!(!http.get("/api/v1/me").await?.header("x-request-id").is_empty());
        let hostile = http.request(Method::GET, "/api/v1/me").header("x-request-id", "x".repeat(5_000));
        assert!(http.send(hostile).await?.header("x-request-id").len() <= 128);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_first_start_makes_an_admin_with_a_password_of_its_own_and_private_keys() -> Result<()> {
    alone(async |usp| {
        let password = usp.admin_password()?;
        assert!(password.len() >= 16, "{password}");
        let grant = json!({"grant_type": "password", "username": "admin", "password": password});
        usp.anonymous()?.post("/api/v1/auth/token", &grant).await?.must(200)?;
        let mut files = 0;
        for entry in walkdir::WalkDir::new(usp.data_dir().join("keys")) {
            let entry = entry?;
            if entry.file_type().is_file() {
                files += 1;
                let mode = entry.metadata()?.permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", entry.path().display());
            }
        }
        assert!(files > 0, "there are no keys");
        usp.stop().await?;
        usp.start_again().await?;
        assert_eq!(usp.logs()?.matches(&password).count(), 1, "the password is printed once");
        usp.anonymous()?.post("/api/v1/auth/token", &grant).await?.must(200)?;
        Ok(())
    })
    .await
}
