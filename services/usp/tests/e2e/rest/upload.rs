//! Content in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use usp_testkit::generate::{CSV_COLUMNS, bytes, csv, sha256_header, sha256_hex};
use usp_testkit::{Installation, PATIENCE, Part, RawConnection, file_path, multipart, until};

use crate::{alone, everywhere, say, text};

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
        say(format_args!("ready {ready_after:?} after the last byte"));
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

/// They would be ignored, and a condition or a digest that is ignored is worse than none.
#[tokio::test]
async fn a_form_with_what_is_said_of_one_file_is_refused() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let part =
            Part { field: "file", file_name: "a.txt", media_type: "text/plain", content: b"one line\n" };
        for (name, value) in [
            ("if-none-match", "*"),
            ("if-match", "\"nonsense\""),
            ("content-digest", "sha-256=:AAAA:"),
            ("repr-digest", "sha-256=:AAAA:"),
            ("x-usp-label-a", "b"),
            ("x-usp-meta-a", "b"),
        ] {
            let (media_type, body) = multipart(&[part]);
            let request = http.request(reqwest::Method::POST, "/api/v1/buckets/default/files");
            let request = request.header("content-type", media_type).header(name, value);
            let problem = http.send(request.body(body)).await?.problem(400, "invalid_input")?;
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{problem}");
        }
        assert_eq!(http.get(&file_path("default", "a.txt")).await?.status, 404);
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
        // The condition was met when the request came first.
        let put = async || {
            let request = http.request(reqwest::Method::PUT, &file_path("default", "once.txt"));
            let request = request.header("if-none-match", "*").header("idempotency-key", "order-4711");
            http.send(request.body("only once")).await
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

/// A PUT of which the server has taken the head and `sent`, and now waits for the rest of `size` bytes.
async fn begin_put(usp: &Installation, key: &str, size: usize, sent: &[u8]) -> Result<RawConnection> {
    let token = usp.admin().await?.token().to_owned();
    let mut connection = RawConnection::open(usp.http_address()?).await?;
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {size}\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n",
        file_path("default", key)
    );
    connection.write(head.as_bytes()).await?;
    let begun = connection.head().await?;
    assert!(begun.contains("100 Continue"), "{begun}");
    connection.write(sent).await?;
    Ok(connection)
}

#[tokio::test]
async fn a_file_shows_only_when_all_of_it_is_there() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        http.put("doc", "text/plain", "as it was").await?.must(201)?;
        let content = bytes(8, 1_000_000);
        let (first, second) = content.split_at(600_000);
        let mut fresh = begin_put(usp, "fresh", content.len(), first).await?;
        let mut replacing = begin_put(usp, "doc", content.len(), first).await?;
        http.get(&file_path("default", "fresh")).await?.problem(404, "not_found")?;
        assert_eq!(http.get(&file_path("default", "doc")).await?.must(200)?.text(), "as it was");
        let list = http.get("/api/v1/buckets/default/files").await?.must(200)?.value()?;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
        for (connection, status) in [(&mut fresh, "201"), (&mut replacing, "200")] {
            connection.write(second).await?;
            let answer = String::from_utf8_lossy(&connection.rest().await?).into_owned();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        for key in ["fresh", "doc"] {
            let read = http.get(&file_path("default", key)).await?.must(200)?;
            assert!(read.body == content, "{key}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let broken = begin_put(usp, "broken", 1_000_000, &bytes(9, 600_000)).await?;
        drop(broken);
        until("the server to note that the client is gone", PATIENCE, async || {
            let stats = http.get("/api/v1/stats").await?.must(200)?.value()?;
            Ok((stats["totals"]["open_uploads"] == 0).then_some(()))
        })
        .await?;
        http.get(&file_path("default", "broken")).await?.problem(404, "not_found")?;
        // The same content is welcome afterwards.
        http.put("broken", "application/octet-stream", bytes(9, 1_000_000)).await?.must(201)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_bucket_takes_no_more_than_its_quota() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        http.post("/api/v1/buckets", &json!({"name": "tight", "policy": {"quota_bytes": 1_000}}))
            .await?
            .must(201)?;
        let put = async |key: &str, size: usize| {
            let request = http.request(reqwest::Method::PUT, &file_path("tight", key));
            http.send(request.body("x".repeat(size))).await
        };
        put("a.txt", 600).await?.must(201)?;
        put("b.txt", 600).await?.problem(507, "storage_full")?;
        put("b.txt", 400).await?.must(201)?;
        http.delete(&file_path("tight", "a.txt")).await?.must(204)?;
        put("c.txt", 600).await?.must(201)?;
        // Twenty at once find room for what fits, not for what each thought was left.
        http.delete(&file_path("tight", "c.txt")).await?.must(204)?;
        let keys: Vec<String> = (0..20).map(|n| format!("{n}.txt")).collect();
        let answers = futures::future::join_all(keys.iter().map(|key| put(key, 100))).await;
        let statuses: Vec<u16> =
            answers.into_iter().map(|answer| Ok(answer?.status)).collect::<Result<_>>()?;
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 6, "{statuses:?}");
        Ok(())
    })
    .await
}
