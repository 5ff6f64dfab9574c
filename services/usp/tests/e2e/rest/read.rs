//! Content out.

use anyhow::Result;
use reqwest::Method;
use usp_testkit::generate::{bytes, sha256_header};
use usp_testkit::{Answer, Http, file_path};

use crate::{alone, everywhere};

const SIZE: usize = 3_000_000;

async fn get_with(http: &Http, header: &str, value: &str) -> Result<Answer> {
    let request = http.request(Method::GET, &file_path("default", "noise.bin"));
    http.send(request.header(header, value)).await
}

#[tokio::test]
async fn a_range_gives_exactly_its_bytes() -> Result<()> {
    let content = bytes(11, SIZE);
    everywhere(async |usp| {
        let http = usp.admin().await?;
        http.put("noise.bin", "application/octet-stream", content.clone()).await?.must(201)?;
        for (range, first, end) in [
            ("bytes=1000-1999", 1_000, 2_000),
            ("bytes=0-0", 0, 1),
            ("bytes=2999999-", SIZE - 1, SIZE),
            ("bytes=-70000", SIZE - 70_000, SIZE),
            ("bytes=500000-2500000", 500_000, 2_500_001),
            ("bytes=2900000-99999999", 2_900_000, SIZE),
        ] {
            let answer = get_with(&http, "range", range).await?.must(206)?;
            assert_eq!(
                answer.header("content-range"),
                format!("bytes {first}-{}/{SIZE}", end - 1),
                "{range}"
            );
            assert!(answer.body == content[first..end], "{range} gave other bytes");
        }
        let outside = get_with(&http, "range", "bytes=3000000-").await?;
        outside.problem(416, "out_of_range")?;
        assert_eq!(outside.header("content-range"), format!("bytes */{SIZE}"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_client_holds_already_is_not_sent_again() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let content = bytes(12, 100_000);
        http.put("noise.bin", "application/octet-stream", content.clone()).await?.must(201)?;
        let whole = http.get(&file_path("default", "noise.bin")).await?.must(200)?;
        let etag = whole.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        assert_eq!(whole.header("repr-digest"), sha256_header(&content));
        assert_eq!(whole.header("accept-ranges"), "bytes");
        for value in [etag.as_str(), "*", &format!("\"other\", W/{etag}")] {
            let answer = get_with(&http, "if-none-match", value).await?.must(304)?;
            assert_eq!((answer.body.len(), answer.header("etag")), (0, etag.as_str()), "{value}");
        }
        get_with(&http, "if-none-match", "\"other\"").await?.must(200)?;
        get_with(&http, "if-match", "\"other\"").await?.problem(412, "precondition_failed")?;
        get_with(&http, "if-match", &etag).await?.must(200)?;

        let modified = whole.header("last-modified").to_owned();
        get_with(&http, "if-modified-since", &modified).await?.must(304)?;

        let part = http.request(Method::GET, &file_path("default", "noise.bin")).header("range", "bytes=0-9");
        let part = http.send(part.header("if-range", "\"other\"")).await?.must(200)?;
        assert_eq!(part.body.len(), content.len());
        let part = http.request(Method::GET, &file_path("default", "noise.bin")).header("range", "bytes=0-9");
        http.send(part.header("if-range", &etag)).await?.must(206)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn head_says_what_get_would_without_a_body() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        http.put("noise.bin", "application/octet-stream", bytes(13, 5_000)).await?.must(201)?;
        let path = file_path("default", "noise.bin");
        let get = http.get(&path).await?.must(200)?;
        let head = http.send(http.request(Method::HEAD, &path)).await?.must(200)?;
        assert!(head.body.is_empty());
        for name in
            ["content-length", "content-type", "etag", "last-modified", "content-disposition", "repr-digest"]
        {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
        assert_eq!(head.header("content-length"), "5000");
        // Under a content coding neither knows a length.
        let coded =
            async |method| http.send(http.request(method, &path).header("accept-encoding", "zstd")).await;
        let (get, head) = (coded(Method::GET).await?.must(200)?, coded(Method::HEAD).await?.must(200)?);
        for name in ["content-encoding", "etag", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
        assert_eq!((head.header("content-encoding"), head.header("content-length")), ("zstd", ""));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_older_version_stays_readable_as_it_was() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let contents = ["one", "two, longer", "three"];
        for (index, content) in contents.iter().enumerate() {
            let status = if index == 0 { 201 } else { 200 };
            let file = http.put("v.txt", "text/plain", *content).await?.must(status)?.value()?;
            assert_eq!(file["version"], index + 1);
        }
        let path = file_path("default", "v.txt");
        for (index, content) in contents.iter().enumerate() {
            let answer = http.get(&format!("{path}?version={}", index + 1)).await?.must(200)?;
            assert_eq!(answer.text(), *content);
        }
        assert_eq!(http.get(&path).await?.must(200)?.text(), "three");
        http.get(&format!("{path}?version=4")).await?.problem(404, "not_found")?;
        let id = http.get("/api/v1/buckets/default/files?prefix=v.txt").await?.must(200)?.value()?;
        let id = id["items"][0]["id"].as_str().unwrap_or_default().to_owned();
        let versions = http.get(&format!("/api/v1/files/{id}/versions")).await?.must(200)?.value()?;
        let found: Vec<_> =
            versions["items"].as_array().into_iter().flatten().map(|file| &file["version"]).collect();
        assert_eq!(found, [3, 2, 1]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn content_from_users_cannot_act_as_the_application() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let page = "<!doctype html><script>alert(1)</script>";
        for (key, media_type, body) in [
            ("page.html", "text/html", page),
            ("page.txt", "text/plain", page),
            (
                "picture.svg",
                "image/svg+xml",
                "<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
            ),
            ("plain.txt", "text/plain", "just words"),
            ("lies.png", "image/png", page),
        ] {
            http.put(key, media_type, body).await?.must(201)?;
            let answer = http.get(&file_path("default", key)).await?.must(200)?;
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{key}");
            let policy = answer.header("content-security-policy");
            assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{key}: {policy}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{key}");
            assert!(answer.header("set-cookie").is_empty(), "{key}");
            let is_inline = answer.header("content-disposition").starts_with("inline");
            assert_eq!(is_inline, key == "plain.txt", "{key}: {}", answer.header("content-type"));
        }
        Ok(())
    })
    .await
}
