//! Changes that depend on what stands under the key.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use usp_testkit::{Answer, Http, file_path};

use crate::{everywhere, text};

async fn put_if(http: &Http, header: &str, value: &str, body: &'static str) -> Result<Answer> {
    let request = http.request(Method::PUT, &file_path("default", "doc.txt"));
    http.send(request.header(header, value).body(body)).await
}

#[tokio::test]
async fn a_put_with_a_condition_replaces_only_what_it_names() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        put_if(&http, "if-match", "*", "no file yet").await?.problem(412, "precondition_failed")?;
        let first = put_if(&http, "if-none-match", "*", "first").await?.must(201)?.value()?;
        put_if(&http, "if-none-match", "*", "again").await?.problem(412, "precondition_failed")?;
        let second = put_if(&http, "if-match", text(&first, "etag")?, "second").await?.must(200)?.value()?;
        assert_ne!(second["etag"], first["etag"]);
        assert_eq!(second["id"], first["id"]);
        put_if(&http, "if-match", text(&first, "etag")?, "late")
            .await?
            .problem(412, "precondition_failed")?;
        let content = http.get(&file_path("default", "doc.txt")).await?.must(200)?;
        assert_eq!(content.text(), "second");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_twenty_writers_that_want_a_new_key_one_wins() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let answers =
            futures::future::join_all((0..20).map(|_| put_if(&http, "if-none-match", "*", "mine"))).await;
        let mut statuses: Vec<u16> =
            answers.into_iter().map(|answer| Ok(answer?.status)).collect::<Result<_>>()?;
        statuses.sort_unstable();
        assert_eq!(statuses[0], 201);
        assert!(statuses[1..].iter().all(|status| *status == 412), "{statuses:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_change_or_delete_with_a_stale_etag_is_refused() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let old = http.put("doc.txt", "text/plain", "old").await?.must(201)?.value()?;
        let new = http.put("doc.txt", "text/plain", "new").await?.must(200)?.value()?;
        let by_id = format!("/api/v1/files/{}", text(&new, "id")?);
        let change = |etag: &str| http.request(Method::PATCH, &by_id).header("if-match", etag);
        let patch = json!({"labels": {"a": "b"}});
        let refused = http.send(change(text(&old, "etag")?).json(&patch)).await?;
        refused.problem(412, "precondition_failed")?;
        http.send(change(text(&new, "etag")?).json(&patch)).await?.must(200)?;
        let delete = |etag: &str| http.request(Method::DELETE, &by_id).header("if-match", etag);
        http.send(delete(text(&old, "etag")?)).await?.problem(412, "precondition_failed")?;
        http.send(delete(text(&new, "etag")?)).await?.must(204)?;
        Ok(())
    })
    .await
}
