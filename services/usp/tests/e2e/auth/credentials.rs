//! Passwords, tokens, API keys.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use usp_testkit::{Answer, Http, Installation, file_path, until};

use crate::{everywhere, text};

const PASSWORD: &str = "correct horse battery";
/// A revocation acts within this time.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

async fn with_user(usp: &Installation) -> Result<Http> {
    let admin = usp.admin().await?;
    let user =
        json!({"name": "ada", "password": PASSWORD, "grants": [{"bucket": "default", "role": "writer"}]});
    let created = admin.post("/api/v1/users", &user).await?.must(201)?;
    assert!(!created.text().contains(PASSWORD), "the answer repeats the password");
    Ok(admin)
}

async fn sign_in(usp: &Installation, user: &str, password: &str) -> Result<Answer> {
    let grant = json!({"grant_type": "password", "username": user, "password": password});
    usp.anonymous()?.post("/api/v1/auth/token", &grant).await
}

async fn refresh(usp: &Installation, token: &str) -> Result<Answer> {
    let grant = json!({"grant_type": "refresh_token", "refresh_token": token});
    usp.anonymous()?.post("/api/v1/auth/token", &grant).await
}

/// Waits until the caller is refused; fails when that takes longer than promised.
async fn refused_in_time(caller: &Http) -> Result<()> {
    // Half a second for the machine.
    let patience = REVOKED_WITHIN + Duration::from_millis(500);
    until("the credential to be refused", patience, async || {
        Ok((caller.get("/api/v1/me").await?.status == 401).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_user_signs_in_and_may_do_what_was_granted() -> Result<()> {
    everywhere(async |usp| {
        with_user(usp).await?;
        let answer = sign_in(usp, "ada", PASSWORD).await?.must(200)?;
        assert_eq!(answer.header("cache-control"), "no-store");
        let pair = answer.value()?;
        assert_eq!(pair["token_type"], "Bearer");
        assert!(
            pair["expires_in"].as_u64().is_some_and(|seconds| (60..=3_600).contains(&seconds)),
            "{}",
            pair["expires_in"]
        );
        let ada = usp.anonymous()?.with_token(text(&pair, "access_token")?);
        let me = ada.get("/api/v1/me").await?.must(200)?.value()?;
        assert_eq!(me["name"], "ada");
        assert_eq!(me["grants"], json!([{"bucket": "default", "role": "writer"}]));
        let file = ada.put("a.txt", "text/plain", "by ada").await?.must(201)?.value()?;
        assert_eq!(file["owner"], "ada");
        ada.post("/api/v1/buckets", &json!({"name": "mine"})).await?.problem(403, "denied")?;
        ada.get("/api/v1/users").await?.problem(403, "denied")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_the_same() -> Result<()> {
    everywhere(async |usp| {
        with_user(usp).await?;
        let mut bodies = Vec::new();
        for (user, password) in [("ada", "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD)] {
            let mut problem = sign_in(usp, user, password).await?.problem(401, "unauthenticated")?;
            problem["request_id"] = Value::Null;
            bodies.push(problem);
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_family() -> Result<()> {
    everywhere(async |usp| {
        with_user(usp).await?;
        let first = sign_in(usp, "ada", PASSWORD).await?.must(200)?.value()?;
        let second = refresh(usp, text(&first, "refresh_token")?).await?.must(200)?.value()?;
        assert_ne!(second["refresh_token"], first["refresh_token"]);
        let third = refresh(usp, text(&second, "refresh_token")?).await?.must(200)?.value()?;
        usp.anonymous()?.with_token(text(&third, "access_token")?).get("/api/v1/me").await?.must(200)?;
        // Somebody uses a token that was used before: whoever stole it, nobody goes on with this family.
        refresh(usp, text(&first, "refresh_token")?).await?.problem(401, "unauthenticated")?;
        refresh(usp, text(&third, "refresh_token")?).await?.problem(401, "unauthenticated")?;
        refresh(usp, "uspr_garbage").await?.problem(401, "unauthenticated")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_api_key_is_told_once_has_its_own_grants_and_ends_when_it_is_revoked() -> Result<()> {
    everywhere(async |usp| {
        let admin = with_user(usp).await?;
        let key =
            json!({"name": "import", "user": "ada", "grants": [{"bucket": "default", "role": "reader"}]});
        let created = admin.post("/api/v1/api-keys", &key).await?.must(201)?.value()?;
        let secret = text(&created, "secret")?;
        assert!(secret.starts_with("usp_") && secret.len() > 60, "{}", secret.len());
        let listed = admin.get("/api/v1/api-keys").await?.must(200)?.text();
        assert!(listed.contains(text(&created, "id")?) && !listed.contains(secret));

        let caller = usp.anonymous()?.with_token(secret);
        let me = caller.get("/api/v1/me").await?.must(200)?.value()?;
        assert_eq!((&me["name"], &me["kind"]), (&"ada".into(), &"api_key".into()));
        caller.get("/api/v1/buckets/default/files").await?.must(200)?;
        // Ada may write, this key of hers may not.
        caller.put("a.txt", "text/plain", "x").await?.problem(403, "denied")?;
        admin.delete(&format!("/api/v1/api-keys/{}", text(&created, "id")?)).await?.must(204)?;
        refused_in_time(&caller).await
    })
    .await
}

#[tokio::test]
async fn a_disabled_user_is_out_within_five_seconds() -> Result<()> {
    everywhere(async |usp| {
        let admin = with_user(usp).await?;
        let pair = sign_in(usp, "ada", PASSWORD).await?.must(200)?.value()?;
        let ada = usp.anonymous()?.with_token(text(&pair, "access_token")?);
        ada.get("/api/v1/me").await?.must(200)?;
        admin.json(Method::PATCH, "/api/v1/users/ada", &json!({"disabled": true})).await?.must(200)?;
        refused_in_time(&ada).await?;
        sign_in(usp, "ada", PASSWORD).await?.problem(401, "unauthenticated")?;
        refresh(usp, text(&pair, "refresh_token")?).await?.problem(401, "unauthenticated")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_changed_grant_acts_within_five_seconds() -> Result<()> {
    everywhere(async |usp| {
        let admin = with_user(usp).await?;
        let pair = sign_in(usp, "ada", PASSWORD).await?.must(200)?.value()?;
        let ada = usp.anonymous()?.with_token(text(&pair, "access_token")?);
        ada.put("a.txt", "text/plain", "x").await?.must(201)?;
        let grants = json!({"grants": [{"bucket": "default", "role": "reader"}]});
        admin.json(Method::PATCH, "/api/v1/users/ada", &grants).await?.must(200)?;
        let patience = REVOKED_WITHIN + Duration::from_millis(500);
        until("the new grant to count", patience, async || {
            Ok((ada.put("a.txt", "text/plain", "y").await?.status == 403).then_some(()))
        })
        .await?;
        ada.get(&file_path("default", "a.txt")).await?.must(200)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_token_of_another_installation_opens_nothing() -> Result<()> {
    let other = crate::setup().start().await?;
    let foreign = other.token(&["--role", "admin"]).await?;
    drop(other);
    everywhere(async |usp| {
        let caller = usp.anonymous()?.with_token(foreign.clone());
        caller.get("/api/v1/me").await?.problem(401, "unauthenticated")?;
        let own = usp.admin().await?;
        let token = own.token();
        // One bit of the signature, and an algorithm that signs nothing.
        let (head, signature) = token.rsplit_once('.').unwrap_or_default();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{head}.{flipped}{}", signature.get(1..).unwrap_or_default());
        own.with_token(forged).get("/api/v1/me").await?.problem(401, "unauthenticated")?;
        let claims = token.split('.').nth(1).unwrap_or_default();
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
        own.with_token(unsigned).get("/api/v1/me").await?.problem(401, "unauthenticated")?;
        Ok(())
    })
    .await
}
