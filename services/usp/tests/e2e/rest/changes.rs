//! Labels, metadata, deletion, buckets.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use usp_testkit::file_path;

use crate::{everywhere, text};

#[tokio::test]
async fn a_patch_changes_what_it_names_and_leaves_content_and_version() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let file = http.put("a.txt", "text/plain", "content").await?.must(201)?.value()?;
        let path = format!("/api/v1/files/{}", text(&file, "id")?);
        let patch = json!({"labels": {"team": "sales", "stage": "raw"}, "metadata": {"note": "käse"}});
        http.json(Method::PATCH, &path, &patch).await?.must(200)?;
        let patch =
            json!({"labels": {"stage": null, "owner": "ada"}, "expires_at": "2099-01-02T03:04:05.678Z"});
        let changed = http.json(Method::PATCH, &path, &patch).await?.must(200)?.value()?;
        assert_eq!(changed["labels"], json!({"team": "sales", "owner": "ada"}));
        assert_eq!(changed["metadata"], json!({"note": "käse"}));
        assert_eq!(changed["expires_at"], "2099-01-02T03:04:05.678Z");
        assert_eq!(changed["version"], 1);
        assert_eq!(changed["etag"], file["etag"]);
        let cleared =
            http.json(Method::PATCH, &path, &json!({"expires_at": null})).await?.must(200)?.value()?;
        assert_eq!(cleared["expires_at"], Value::Null);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deleted_file_is_gone_at_once_by_key_by_id_and_in_lists() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        for by_key in [true, false] {
            let file = http.put("a.txt", "text/plain", "content").await?.must(201)?.value()?;
            let by_id = format!("/api/v1/files/{}", text(&file, "id")?);
            let path = if by_key { file_path("default", "a.txt") } else { by_id.clone() };
            let answer = http.delete(&path).await?.must(204)?;
            assert!(answer.body.is_empty());
            for gone in [&by_id, &format!("{by_id}/content"), &file_path("default", "a.txt")] {
                http.get(gone).await?.problem(404, "not_found")?;
            }
            let list = http.get("/api/v1/buckets/default/files").await?.must(200)?.value()?;
            assert_eq!(list["items"], json!([]));
            http.delete(&path).await?.problem(404, "not_found")?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_bucket_lives_from_its_creation_to_its_deletion_when_empty() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let bucket = http.post("/api/v1/buckets", &json!({"name": "invoices"})).await?.must(201)?.value()?;
        assert_eq!(bucket["name"], "invoices");
        assert_eq!(bucket["policy"]["compression"], "auto");
        http.post("/api/v1/buckets", &json!({"name": "invoices"})).await?.problem(409, "conflict")?;
        let patch = json!({"policy": {"file_size_bytes_max": 10, "digests": ["blake3"]}});
        let changed =
            http.json(Method::PATCH, "/api/v1/buckets/invoices", &patch).await?.must(200)?.value()?;
        assert_eq!(changed["policy"]["file_size_bytes_max"], 10);

        let put = http.request(Method::PUT, &file_path("invoices", "a.txt")).body("short");
        let file = http.send(put).await?.must(201)?.value()?;
        assert_eq!(text(&file["digests"], "blake3")?.len(), 64);
        let put = http.request(Method::PUT, &file_path("invoices", "b.txt")).body("far too long");
        http.send(put).await?.problem(413, "too_large")?;

        http.delete("/api/v1/buckets/invoices").await?.problem(409, "conflict")?;
        http.delete(&file_path("invoices", "a.txt")).await?.must(204)?;
        http.delete("/api/v1/buckets/invoices").await?.must(204)?;
        http.get("/api/v1/buckets/invoices").await?.problem(404, "not_found")?;
        let list = http.get("/api/v1/buckets").await?.must(200)?.value()?;
        let names: Vec<&Value> = list["items"].as_array().into_iter().flatten().map(|b| &b["name"]).collect();
        assert_eq!(names, ["default"]);
        Ok(())
    })
    .await
}
