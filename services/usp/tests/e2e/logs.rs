//! What the log says, and what it must never say.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;
use usp_testkit::{PATIENCE, file_path, until};

use crate::{everywhere_with, prove, setup, text};

#[tokio::test]
async fn every_request_has_one_line_with_its_id() -> Result<()> {
    let json_log = setup().env("USP_LOG", "info");
    prove(json_log, async |usp| {
        let http = usp.admin().await?;
        let good = http.request(Method::GET, "/api/v1/me").header("x-request-id", "line-good-1");
        http.send(good).await?.must(200)?;
        let bad = http.request(Method::GET, "/api/v1/files/absent").header("x-request-id", "line-bad-1");
        assert!(http.send(bad).await?.status >= 400);
        for (id, status) in [("line-good-1", "200"), ("line-bad-1", "40")] {
            until("the line of a request", PATIENCE, async || Ok(usp.logs()?.contains(id).then_some(())))
                .await?;
            let logs = usp.logs()?;
            let lines: Vec<&str> = logs.lines().filter(|line| line.contains(id)).collect();
            assert_eq!(lines.len(), 1, "{lines:#?}");
            assert!(lines[0].contains(status) && lines[0].contains("GET"), "{}", lines[0]);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn no_secret_reaches_any_log_even_at_the_finest_level() -> Result<()> {
    let talkative = setup().env("USP_LOG", "trace");
    everywhere_with(talkative, async |usp| {
        let admin = usp.admin().await?;
        let password = "canary-password-8c1f";
        let user = json!({"name": "carl", "password": password, "grants": [{"bucket": "default", "role": "writer"}]});
        admin.post("/api/v1/users", &user).await?.must(201)?;
        let anonymous = usp.anonymous()?;
        let grant = json!({"grant_type": "password", "username": "carl", "password": password});
        let pair = anonymous.post("/api/v1/auth/token", &grant).await?.must(200)?.value()?;
        let refresh = json!({"grant_type": "refresh_token", "refresh_token": text(&pair, "refresh_token")?});
        anonymous.post("/api/v1/auth/token", &refresh).await?.must(200)?;
        let key = json!({"name": "canary", "grants": [{"bucket": "default", "role": "writer"}]});
        let key = admin.post("/api/v1/api-keys", &key).await?.must(201)?.value()?;
        let caller = anonymous.with_token(text(&key, "secret")?);
        caller.put("a.txt", "text/plain", "canary-content-77ab").await?.must(201)?;
        caller.get(&file_path("default", "a.txt")).await?.must(200)?;
        anonymous.with_token("canary-token-3d5e").get("/api/v1/me").await?.must(401)?;
        let wrong = json!({"grant_type": "password", "username": "carl", "password": "canary-wrong-19fe"});
        anonymous.post("/api/v1/auth/token", &wrong).await?.must(401)?;
        let node_secret = std::fs::read_to_string(usp.data_dir().join("keys/node.secret")).unwrap_or_default();

        // Logs are whole once the processes ended.
        let admin_token = admin.token().to_owned();
        usp.stop().await?;
        let logs = usp.logs()?;
        // Its last 43 characters, among which may be any that stands between the parts of a key.
        let api_key = text(&key, "secret")?;
        let api_key = api_key.get(api_key.len().saturating_sub(43)..).context("no key")?.to_owned();
        let signature = |token: &str| token.rsplit('.').next().unwrap_or(token).to_owned();
        for (what, secret) in [
            ("a password", password.to_owned()),
            ("a wrong password", "canary-wrong-19fe".to_owned()),
            ("an access token", signature(text(&pair, "access_token")?)),
            ("a token of usp token", signature(&admin_token)),
            ("a refresh token", text(&pair, "refresh_token")?.to_owned()),
            ("an API key", api_key),
            ("a credential that does not hold", "canary-token-3d5e".to_owned()),
            ("content", "canary-content-77ab".to_owned()),
            ("the secret of the nodes", node_secret.trim().to_owned()),
        ] {
            let line = logs.lines().find(|line| !secret.is_empty() && line.contains(&secret));
            assert!(line.is_none(), "{what} is in the log: {line:?}");
        }
        Ok(())
    })
    .await
}
