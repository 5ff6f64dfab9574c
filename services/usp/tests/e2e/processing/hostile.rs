//! Whatever the bytes are: a report or a clear error, and the server goes on.

use anyhow::Result;
use usp_testkit::generate::bytes;
use usp_testkit::{Http, file_path};

use crate::{everywhere, text};

/// 300 MB in the long run, a tenth of a tenth on every change.
fn size_bytes() -> usize {
    if std::env::var_os("USP_TORTURE").is_some() { 300_000_000 } else { 3_000_000 }
}

/// The File once its processing ended, however it did.
async fn processed(http: &Http, key: &str, media_type: &str, body: Vec<u8>) -> Result<serde_json::Value> {
    let size = body.len();
    let file = http.put(key, media_type, body).await?.must(201)?.value()?;
    assert_eq!(file["size"], size, "{key}");
    let file = http.wait_final(text(&file, "id")?).await?;
    assert_eq!(http.anonymous_livez().await?, 200, "{key} took the server down");
    Ok(file)
}

trait Alive {
    async fn anonymous_livez(&self) -> Result<u16>;
}

impl Alive for Http {
    async fn anonymous_livez(&self) -> Result<u16> {
        Ok(self.get("/livez").await?.status)
    }
}

#[tokio::test]
async fn a_malformed_table_is_profiled_and_its_faults_are_named() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let mut table = String::from("id,name,amount\n");
        let mut row = 0_u64;
        while table.len() < size_bytes() {
            row += 1;
            table.push_str(&match row % 5 {
                0 => format!("{row},too,many,fields,here\n"),
                1 => format!("{row}\n"),
                2 => format!("{row},\"quoted \"wrong\" inside\",1\n"),
                // Bytes without text in the head would make it no table at all.
                3 if row > 1_000 => format!("{row},\u{0},1\r"),
                _ => format!("{row},fine,1.5\n"),
            });
        }
        table.push_str("1,\"left open,2\n");
        let file = processed(&http, "bad.csv", "text/csv", table.into_bytes()).await?;
        assert_eq!(file["state"], "ready");
        let profile = &file["reports"]["profile"];
        assert!(profile["problem_count"].as_u64() > Some(1_000), "{profile}");
        assert!(profile["ragged_rows"].as_u64() > Some(1_000), "{profile}");
        let first = &profile["problems"][0];
        assert!(first["reason"].is_string() && !first["row"].is_null(), "{profile}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn json_of_any_depth_is_reported_without_a_crash() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let open = vec![b'['; size_bytes()];
        let file = processed(&http, "open.json", "application/json", open).await?;
        assert_eq!(file["reports"]["profile"]["valid"], false, "{file}");
        let mut closed = vec![b'['; 100_000];
        closed.extend(vec![b']'; 100_000]);
        let file = processed(&http, "deep.json", "application/json", closed).await?;
        assert_eq!(file["reports"]["profile"]["valid"], false, "{file}");
        let error = &file["reports"]["profile"]["error"];
        assert!(error["reason"].is_string() && error["column"].is_u64(), "{error}");
        let nested = "{\"a\":".repeat(500) + "1" + &"}".repeat(500);
        let file = processed(&http, "nested.json", "application/json", nested.into_bytes()).await?;
        assert_eq!(file["reports"]["profile"]["valid"], true, "{file}");
        assert_eq!(file["reports"]["profile"]["depth_max"], 500, "{file}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn bytes_that_are_no_text_do_not_pass_for_text() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let noise = bytes(5, size_bytes());
        let file = processed(&http, "noise.csv", "text/csv", noise).await?;
        assert_eq!(
            (&file["state"], &file["media_type"]),
            (&"ready".into(), &"application/octet-stream".into())
        );
        let mut broken = b"name,city\n".to_vec();
        for _ in 0..1_000 {
            broken.extend_from_slice(b"Zoe and the others\xff,K\xf6ln am Rhein \xe2\x82\n");
        }
        let file = processed(&http, "broken.csv", "text/csv", broken).await?;
        assert_eq!(file["state"], "ready", "{file}");
        assert_eq!(file["reports"]["profile"]["rows"], 1_000, "{file}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_empty_file_is_a_file() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        for (key, media_type) in [
            ("empty.csv", "text/csv"),
            ("empty.json", "application/json"),
            ("empty.ndjson", "application/x-ndjson"),
            ("empty.txt", "text/plain"),
            ("empty", "application/octet-stream"),
        ] {
            let file = processed(&http, key, media_type, Vec::new()).await?;
            assert_eq!(file["state"], "ready", "{file}");
            assert_eq!(file["size"], 0);
            let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            assert_eq!(file["digests"]["sha256"], empty);
            let content = http.get(&file_path("default", key)).await?.must(200)?;
            assert!(content.body.is_empty());
            assert_eq!(content.header("content-length"), "0");
        }
        Ok(())
    })
    .await
}
