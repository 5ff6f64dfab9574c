//! What an upload is, from its beginning to its end.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::json;
use usp_testkit::generate::{bytes, sha256_hex};

use super::{CONTENT, UPLOADS, begin, check_file, head, metadata, number, patch, tus};
use crate::{alone, everywhere};

#[tokio::test]
async fn a_table_that_comes_in_parts_is_a_file_with_all_that_was_said_of_it() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let pairs = [
            ("filename", "orders.csv"),
            ("filetype", "text/csv"),
            ("meta.source", "Zürich"),
            ("label.team", "sales"),
        ];
        let content = b"order_id,price\n1,2.50\n2,3.75\n";
        let request = tus(&http, Method::POST, UPLOADS).header("upload-metadata", metadata(&pairs));
        let begun = http.send(request.header("upload-length", content.len())).await?.must(201)?;
        let upload = begun.header("location");
        // The id works from the first byte on.
        let status = format!("/api/v1/files/{}/status", begun.header("usp-file-id"));
        let part = patch(&http, upload, 0, &content[..10]).await?.must(204)?;
        assert_eq!((number(&part, "upload-offset")?, part.header("usp-file-id")), (10, ""));
        let seen = http.get(&status).await?.must(200)?.value()?;
        assert_eq!(seen["state"], "uploading");
        assert_eq!(seen["upload"], json!({"received": 10, "size": content.len()}));
        let last = patch(&http, upload, 10, &content[10..]).await?.must(204)?;
        let file = http.wait_ready(last.header("usp-file-id")).await?;
        assert_eq!((&file["bucket"], &file["key"]), (&json!("default"), &json!("orders.csv")));
        assert_eq!(file["metadata"], json!({"source": "Zürich"}));
        assert_eq!(file["labels"], json!({"team": "sales"}));
        assert_eq!(file["media_type"], "text/csv");
        assert_eq!(file["reports"]["profile"]["rows"], 2, "{file}");
        assert_eq!(head(&http, upload).await?.must(200)?.header("usp-file-id"), last.header("usp-file-id"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_request_can_bring_all_of_it_and_zero_bytes_are_all_of_it() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        for size in [0, 1, 300_000] {
            let content = bytes(9, size);
            let request = tus(&http, Method::POST, UPLOADS).header("upload-length", size);
            let request = request.header("content-type", CONTENT).body(content.clone());
            let answer = http.send(request).await?.must(201)?;
            assert_eq!(number(&answer, "upload-offset")?, size);
            check_file(&http, answer.header("usp-file-id"), &content).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_whole_that_is_not_what_its_digest_promised_is_no_file() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let sha256 = sha256_hex(b"promised");
        let upload = begin(&http, 8, &[("key", "broken"), ("sha256", &sha256)]).await?;
        patch(&http, &upload, 0, b"promi").await?.must(204)?;
        patch(&http, &upload, 5, b"zed").await?.problem(422, "digest_mismatch")?;
        head(&http, &upload).await?.must(410)?;
        let list = http.get("/api/v1/buckets/default/files").await?.must(200)?.value()?;
        assert_eq!(list["items"], json!([]));
        let stats = http.get("/api/v1/stats").await?.must(200)?.value()?;
        assert_eq!(stats["totals"]["open_uploads"], 0, "{stats}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_part_that_is_not_what_its_checksum_promised_does_not_count() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let content = bytes(10, 500_000);
        let upload = begin(&http, content.len(), &[("key", "checked.bin")]).await?;
        let checksum = STANDARD.encode(hex::decode(sha256_hex(&content))?);
        let send = async |body: Vec<u8>| {
            let request = tus(&http, Method::PATCH, &upload).header("content-type", CONTENT);
            let request =
                request.header("upload-offset", 0).header("upload-checksum", format!("sha256 {checksum}"));
            http.send(request.body(body)).await
        };
        send(bytes(11, 500_000)).await?.problem(460, "digest_mismatch")?;
        assert_eq!(number(&head(&http, &upload).await?, "upload-offset")?, 0);
        let last = send(content.clone()).await?.must(204)?;
        check_file(&http, last.header("usp-file-id"), &content).await
    })
    .await
}

#[tokio::test]
async fn an_upload_belongs_to_who_began_it() -> Result<()> {
    alone(async |usp| {
        let ada = usp.caller(&["--user", "ada", "--role", "writer"]).await?;
        let ben = usp.caller(&["--user", "ben", "--role", "writer"]).await?;
        let reader = usp.caller(&["--user", "rea", "--role", "reader"]).await?;
        let upload = begin(&ada, 5, &[("key", "ada.txt")]).await?;
        for stranger in [&ben, &reader] {
            head(stranger, &upload).await?.must(404)?;
            patch(stranger, &upload, 0, b"other").await?.problem(404, "not_found")?;
            stranger.send(tus(stranger, Method::DELETE, &upload)).await?.problem(404, "not_found")?;
        }
        let request = tus(&reader, Method::POST, UPLOADS).header("upload-length", 5);
        reader.send(request).await?.problem(403, "denied")?;
        patch(&ada, &upload, 0, b"hello").await?.must(204)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_upload_that_is_ended_is_gone() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let upload = begin(&http, 1_000, &[("key", "ended.bin")]).await?;
        patch(&http, &upload, 0, &bytes(1, 500)).await?.must(204)?;
        http.send(tus(&http, Method::DELETE, &upload)).await?.must(204)?;
        head(&http, &upload).await?.must(410)?;
        patch(&http, &upload, 500, &bytes(1, 500)).await?.problem(410, "gone")?;
        let stats = http.get("/api/v1/stats").await?.must(200)?.value()?;
        assert_eq!(stats["totals"]["open_uploads"], 0, "{stats}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_bucket_refuses_an_upload_before_its_first_byte_if_it_is_too_large() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let bucket = json!({"name": "small", "policy": {"file_size_bytes_max": 1_000}});
        http.post("/api/v1/buckets", &bucket).await?.must(201)?;
        let request = tus(&http, Method::POST, UPLOADS).header("upload-length", 1_001);
        let request = request.header("upload-metadata", metadata(&[("bucket", "small"), ("key", "a")]));
        http.send(request).await?.problem(413, "too_large")?;
        let upload = begin(&http, 1_000, &[("bucket", "small"), ("key", "a")]).await?;
        patch(&http, &upload, 0, &[0; 1_001]).await?.problem(413, "too_large")?;
        assert_eq!(number(&head(&http, &upload).await?, "upload-offset")?, 0);
        Ok(())
    })
    .await
}
