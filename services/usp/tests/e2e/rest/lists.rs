//! Finding files.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;
use usp_testkit::generate::sha256_hex;
use usp_testkit::{Http, Installation, file_path};

use crate::{everywhere, text};

/// Keys and labels that the lists below sort out.
const FILES: [(&str, &str, &str); 7] = [
    ("2025/a.txt", "red", "text one"),
    ("2025/b.txt", "blue", "text two"),
    ("2026/01/a.txt", "red", "text three"),
    ("2026/01/b.json", "red", "{\"a\": 1}"),
    ("2026/02/a.txt", "blue", "text four"),
    ("readme.txt", "red", "text five"),
    ("zebra.txt", "blue", "text six"),
];

async fn fill(usp: &Installation) -> Result<Http> {
    let http = usp.admin().await?;
    for (key, label, body) in FILES {
        let request =
            http.request(Method::PUT, &file_path("default", key)).header("x-usp-label-colour", label);
        http.send(request.header("x-usp-meta-origin", "x y").body(body)).await?.must(201)?;
    }
    Ok(http)
}

async fn list(http: &Http, query: &str) -> Result<Value> {
    http.get(&format!("/api/v1/buckets/default/files?{query}")).await?.must(200)?.value()
}

fn keys(page: &Value) -> Vec<&str> {
    page["items"].as_array().into_iter().flatten().filter_map(|file| file["key"].as_str()).collect()
}

#[tokio::test]
async fn a_list_is_filtered_by_everything_that_a_file_is_known_by() -> Result<()> {
    everywhere(async |usp| {
        let http = fill(usp).await?;
        let all: Vec<&str> = FILES.iter().map(|(key, ..)| *key).collect();
        assert_eq!(keys(&list(&http, "").await?), all);
        assert_eq!(keys(&list(&http, "prefix=2026/").await?), all[2..5]);
        assert_eq!(keys(&list(&http, "sort=-key&limit=1").await?), ["zebra.txt"]);
        assert_eq!(keys(&list(&http, "label=colour%3Dblue").await?), [all[1], all[4], all[6]]);
        assert_eq!(keys(&list(&http, "meta.origin=x%20y&prefix=r").await?), ["readme.txt"]);
        assert_eq!(keys(&list(&http, "meta.origin=z").await?), [""; 0]);
        assert_eq!(keys(&list(&http, "media_type=application/json").await?), ["2026/01/b.json"]);
        assert_eq!(keys(&list(&http, "media_type=text/*&prefix=2026/01").await?), ["2026/01/a.txt"]);
        let digest = sha256_hex(b"text five");
        assert_eq!(keys(&list(&http, &format!("digest=sha256:{digest}")).await?), ["readme.txt"]);
        assert_eq!(keys(&list(&http, "created_after=2099-01-01T00:00:00Z").await?), [""; 0]);
        assert_eq!(keys(&list(&http, "created_before=2099-01-01T00:00:00Z").await?), all);
        let file = &list(&http, "prefix=zebra").await?["items"][0];
        http.wait_ready(text(file, "id")?).await?;
        assert_eq!(keys(&list(&http, "state=ready&prefix=zebra").await?), ["zebra.txt"]);
        assert_eq!(keys(&list(&http, "state=failed").await?), [""; 0]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_delimiter_rolls_keys_up_like_folders() -> Result<()> {
    everywhere(async |usp| {
        let http = fill(usp).await?;
        let top = list(&http, "delimiter=/").await?;
        assert_eq!(keys(&top), ["readme.txt", "zebra.txt"]);
        assert_eq!(top["prefixes"], serde_json::json!(["2025/", "2026/"]));
        let below = list(&http, "delimiter=/&prefix=2026/").await?;
        assert_eq!(keys(&below), [""; 0]);
        assert_eq!(below["prefixes"], serde_json::json!(["2026/01/", "2026/02/"]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pages_of_any_size_show_each_entry_once() -> Result<()> {
    everywhere(async |usp| {
        let http = fill(usp).await?;
        for (query, count) in [("sort=key", 7), ("sort=-key", 7), ("sort=created_at", 7), ("delimiter=/", 4)]
        {
            for limit in 1..=4 {
                let mut seen = BTreeSet::new();
                let mut cursor = String::new();
                loop {
                    let page = list(&http, &format!("{query}&limit={limit}{cursor}")).await?;
                    let prefixes = page["prefixes"].as_array().context("no prefixes")?;
                    let entries = keys(&page).into_iter().chain(prefixes.iter().filter_map(Value::as_str));
                    let entries: Vec<String> = entries.map(str::to_owned).collect();
                    assert!(entries.len() <= limit, "{page}");
                    for entry in entries {
                        assert!(seen.insert(entry.clone()), "{entry} twice, {query}, {limit}");
                    }
                    let Some(next) = page["next_cursor"].as_str() else { break };
                    cursor = format!("&cursor={next}");
                }
                assert_eq!(seen.len(), count, "{query} {limit}: {seen:?}");
            }
        }
        Ok(())
    })
    .await
}
