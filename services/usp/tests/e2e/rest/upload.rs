//! Content in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use usp_testkit::generate::{CSV_COLUMNS, bytes, csv, sha256_header, sha256_hex};
use usp_testkit::{Part, file_path, multipart};

use crate::{alone, everywhere, text};

/// A promise of the release build; a debug build on a busy machine only must not hang.
const READY_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 2 });

#[tokio::test]
async fn a_table_of_ten_megabytes_is_profiled_as_soon_as_it_lands() -> Result<()> {
    const ROWS: u64 = 160_000;
    let table = csv(1, ROWS);
    assert!(table.len() >= 10_000_000, "{}", table.len());
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let stored = http.put("2026/orders.csv", "text/csv", table.clone()).await?.must(201)?.value()?;
        let last_byte_at = Instant::now();
        let file = http.wait_ready(text(&stored, "id")?).await?;
        let ready_after = last_byte_at.elapsed();
        println!("ready {ready_after:?} after the last byte");
        assert!(ready_after <= READY_WITHIN, "{ready_after:?}");

        let profile = &file["reports"]["profile"];
        assert_eq!(profile["rows"], ROWS, "{file}");
        let columns = profile["columns"].as_array().context("no columns")?;
        let found: Vec<(&str, &str)> = columns
            .iter()
            .map(|column| Ok((text(column, "name")?, text(column, "type")?)))
            .collect::<Result<_>>()?;
        assert_eq!(found, CSV_COLUMNS);
        assert_eq!(file["size"], table.len());
        assert_eq!(file["media_type"], "text/csv");
        assert_eq!(file["digests"]["sha256"], sha256_hex(table.as_bytes()));

        let content = http.get(&file_path("default", "2026/orders.csv")).await?.must(200)?;
        assert!(content.body == table.as_bytes(), "other bytes came back");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_form_with_three_files_stores_three_files() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let noise = bytes(7, 300_000);
        let table = csv(7, 100);
        let parts = [
            Part { field: "file", file_name: "a.txt", media_type: "text/plain", content: b"one line\n" },
            Part {
                field: "file",
                file_name: "b.bin",
                media_type: "application/octet-stream",
                content: &noise,
            },
            Part { field: "file", file_name: "c.csv", media_type: "text/csv", content: table.as_bytes() },
        ];
        let (media_type, body) = multipart(&parts);
        let request = http.request(reqwest::Method::POST, "/api/v1/buckets/default/files");
        let request = request.header("content-type", media_type).body(body);
        let answer = http.send(request).await?.must(201)?.value()?;
        let items = answer["items"].as_array().context("no items")?;
        assert_eq!(items.len(), 3, "{answer}");
        for (item, part) in items.iter().zip(parts) {
            assert_eq!(item["key"], part.file_name);
            assert_eq!(item["digests"]["sha256"], sha256_hex(part.content));
            let file = http.wait_ready(text(item, "id")?).await?;
            let content =
                http.get(&format!("/api/v1/files/{}/content", text(&file, "id")?)).await?.must(200)?;
            assert!(content.body == part.content, "{}", part.file_name);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_says_what_it_is_where_it_stands_and_what_it_cost() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.caller(&["--user", "ada", "--role", "writer"]).await?;
        let noise = bytes(3, 200_000);
        let request = http.request(reqwest::Method::PUT, &file_path("default", "ä/ö ü+%.bin"));
        let request = request
            .header("content-type", "application/x-thing")
            .header("x-usp-meta-source", "scanner 7")
            .header("x-usp-label-team", "sales")
            .body(noise.clone());
        let file = http.send(request).await?.must(201)?.value()?;
        assert_eq!(text(&file, "id")?.len(), 43);
        assert_eq!(file["bucket"], "default");
        assert_eq!(file["key"], "ä/ö ü+%.bin");
        assert_eq!(file["version"], 1);
        assert_eq!(file["size"], 200_000);
        assert_eq!(file["declared_media_type"], "application/x-thing");
        assert_eq!(file["owner"], "ada");
        assert_eq!(file["metadata"], json!({"source": "scanner 7"}));
        assert_eq!(file["labels"], json!({"team": "sales"}));
        assert_eq!(file["derived"], json!([]));
        assert_eq!(file["derived_from"], Value::Null);
        // Noise does not shrink: every byte is kept once, plus the headers of its frames.
        let stored = file["stored"]["bytes"].as_u64().context("no stored bytes")?;
        assert!((200_000..210_000).contains(&stored), "{stored}");
        assert!(file["stored"]["chunks"].as_u64() >= Some(2), "{file}");
        assert_eq!(file["stored"]["deduplicated_bytes"], 0);
        let by_id = http.get(&format!("/api/v1/files/{}", text(&file, "id")?)).await?.must(200)?.value()?;
        assert_eq!(by_id["key"], file["key"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_without_a_matching_rule_is_ready_at_once() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let file =
            http.put("noise", "application/octet-stream", bytes(1, 5_000)).await?.must(201)?.value()?;
        assert_eq!(file["state"], "ready");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_right_digest_is_accepted_and_a_wrong_one_stores_nothing() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let put = async |key: &str, header: &str, digest: &str| {
            let request = http.request(reqwest::Method::PUT, &file_path("default", key));
            http.send(request.header(header, digest).body("the content")).await
        };
        put("right", "repr-digest", &sha256_header(b"the content")).await?.must(201)?;
        for header in ["repr-digest", "content-digest"] {
            let answer = put("wrong", header, &sha256_header(b"another content")).await?;
            answer.problem(422, "digest_mismatch")?;
            http.get(&file_path("default", "wrong")).await?.problem(404, "not_found")?;
        }
        let list = http.get("/api/v1/buckets/default/files").await?.must(200)?.value()?;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_version() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let put = async || {
            let request = http.request(reqwest::Method::PUT, &file_path("default", "once.txt"));
            http.send(request.header("idempotency-key", "order-4711").body("only once")).await
        };
        let first = put().await?.must(201)?.value()?;
        let second = put().await?;
        assert!(second.status == 200 || second.status == 201, "{}", second.status);
        let second = second.value()?;
        assert_eq!(second["id"], first["id"]);
        assert_eq!(second["version"], 1);
        assert_eq!(second["etag"], first["etag"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_largest_file_of_a_bucket_is_taken_and_one_byte_more_is_refused_without_a_trace() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let bucket =
            json!({"name": "small", "policy": {"file_size_bytes_max": 1_000, "media_types": ["text/*"]}});
        http.post("/api/v1/buckets", &bucket).await?.must(201)?;
        let put = async |key: &str, body: reqwest::Body| {
            http.send(http.request(reqwest::Method::PUT, &file_path("small", key)).body(body)).await
        };
        put("fits.txt", "x".repeat(1_000).into()).await?.must(201)?;
        put("announced.txt", "x".repeat(1_001).into()).await?.problem(413, "too_large")?;
        // Nobody announces the length of a stream.
        let pieces = (0..101).map(|_| Ok::<_, std::io::Error>("0123456789"));
        let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        put("streamed.txt", stream).await?.problem(413, "too_large")?;
        put("image.png", b"\x89PNG\r\n\x1a\n0000".to_vec().into())
            .await?
            .problem(415, "unsupported_media")?;
        let list = http.get("/api/v1/buckets/small/files").await?.must(200)?.value()?;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
        Ok(())
    })
    .await
}
