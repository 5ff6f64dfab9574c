//! Resumable uploads after tus 1.0.0, over the wire: whatever happens on the way, the file is the one that was sent.

mod breaks;
mod client;
mod parts;
mod sessions;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder};
use usp_testkit::{Answer, Http, PATIENCE, until};

const UPLOADS: &str = "/api/v1/uploads";
const CONTENT: &str = "application/offset+octet-stream";

/// A request of tus.
fn tus(http: &Http, method: Method, path: &str) -> RequestBuilder {
    http.request(method, path).header("tus-resumable", "1.0.0")
}

/// `Upload-Metadata` of these pairs.
fn metadata(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name} {}", STANDARD.encode(value))).collect();
    pairs.join(",")
}

/// Opens an upload and tells its path.
async fn begin(http: &Http, size: usize, pairs: &[(&str, &str)]) -> Result<String> {
    let request = tus(http, Method::POST, UPLOADS);
    let request = request.header("upload-length", size).header("upload-metadata", metadata(pairs));
    let answer = http.send(request).await?.must(201)?;
    Ok(answer.header("location").to_owned())
}

async fn patch(http: &Http, upload: &str, offset: usize, part: &[u8]) -> Result<Answer> {
    let request = tus(http, Method::PATCH, upload).header("content-type", CONTENT);
    http.send(request.header("upload-offset", offset).body(part.to_vec())).await
}

async fn head(http: &Http, upload: &str) -> Result<Answer> {
    http.send(tus(http, Method::HEAD, upload)).await
}

fn number(answer: &Answer, header: &str) -> Result<usize> {
    answer.header(header).parse().with_context(|| format!("no number in {header}: {answer:?}"))
}

/// Where the upload stands, once no request is at the end of it.
async fn offset(http: &Http, upload: &str) -> Result<usize> {
    until("the offset of the upload", PATIENCE, async || {
        let answer = head(http, upload).await?;
        if answer.status == 423 {
            return Ok(None);
        }
        number(&answer.must(200)?, "upload-offset").map(Some)
    })
    .await
}

/// Appends once whoever was writing is gone; tells where that was, and the answer.
async fn go_on(http: &Http, upload: &str, content: &[u8], end: usize) -> Result<Answer> {
    until("the turn to append", PATIENCE, async || {
        let from = offset(http, upload).await?;
        ensure!(from <= end, "the upload stands at {from}, beyond {end}");
        let answer = patch(http, upload, from, content.get(from..end).context("no such part")?).await?;
        Ok((answer.status != 423 && answer.status != 409).then_some(answer))
    })
    .await
}

/// The one version of the file, which must hold these bytes.
async fn check_file(http: &Http, id: &str, content: &[u8]) -> Result<()> {
    let file = http.wait_ready(id).await?;
    assert_eq!(file["version"], 1, "{file}");
    assert_eq!(file["digests"]["sha256"], usp_testkit::generate::sha256_hex(content));
    let read = http.get(&format!("/api/v1/files/{id}/content")).await?.must(200)?;
    assert!(read.body == content, "other bytes came back");
    Ok(())
}
