//! What is wrong is refused with the status and the words that say why.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use usp_testkit::{file_path, raw_request};

use crate::{alone, everywhere, text};

#[tokio::test]
async fn without_a_token_nothing_is_told() -> Result<()> {
    everywhere(async |usp| {
        let admin = usp.admin().await?;
        let file = admin.put("a.txt", "text/plain", "content").await?.must(201)?.value()?;
        let id = text(&file, "id")?;
        let anonymous = usp.anonymous()?;
        let garbage = anonymous.with_token("garbage");
        for path in [
            "/api/v1/me".to_owned(),
            "/api/v1/buckets".to_owned(),
            "/api/v1/buckets/default/files".to_owned(),
            file_path("default", "a.txt"),
            file_path("default", "absent.txt"),
            format!("/api/v1/files/{id}"),
            format!("/api/v1/files/{id}/status"),
            format!("/api/v1/files/{id}/events"),
            "/api/v1/events".to_owned(),
            "/api/v1/runs".to_owned(),
            "/api/v1/rules".to_owned(),
            "/api/v1/users".to_owned(),
            "/api/v1/stats".to_owned(),
        ] {
            for caller in [&anonymous, &garbage] {
                let answer = caller.get(&path).await?;
                answer.problem(401, "unauthenticated").with_context(|| path.clone())?;
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
            }
        }
        anonymous.put("b.txt", "text/plain", "content").await?.problem(401, "unauthenticated")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_foreign_bucket_and_file_answer_word_for_word_like_absent_ones() -> Result<()> {
    everywhere(async |usp| {
        let admin = usp.admin().await?;
        for bucket in ["mine01", "secret"] {
            admin.post("/api/v1/buckets", &json!({"name": bucket})).await?.must(201)?;
        }
        let put = admin.request(Method::PUT, &file_path("secret", "a.txt")).body("secret");
        let foreign = admin.send(put).await?.must(201)?.value()?;
        let foreign_id = text(&foreign, "id")?;
        let absent_id = "A".repeat(43);
        let caller = usp.caller(&["--user", "eve", "--role", "manager", "--bucket", "mine01"]).await?;
        let pairs = [
            ("/api/v1/buckets/secret".to_owned(), "/api/v1/buckets/absent".to_owned()),
            ("/api/v1/buckets/secret/files".to_owned(), "/api/v1/buckets/absent/files".to_owned()),
            (file_path("secret", "a.txt"), file_path("absent", "a.txt")),
            (format!("/api/v1/files/{foreign_id}"), format!("/api/v1/files/{absent_id}")),
            (format!("/api/v1/files/{foreign_id}/content"), format!("/api/v1/files/{absent_id}/content")),
            (format!("/api/v1/files/{foreign_id}/status"), format!("/api/v1/files/{absent_id}/status")),
            (format!("/api/v1/files/{foreign_id}/events"), format!("/api/v1/files/{absent_id}/events")),
        ];
        for (foreign, absent) in pairs {
            for method in [Method::GET, Method::DELETE, Method::PUT] {
                let ask = async |path: &str| -> Result<(u16, Value)> {
                    let answer = caller.send(caller.request(method.clone(), path).body("x")).await?;
                    let mut problem = answer.value().unwrap_or_default();
                    problem["request_id"] = Value::Null;
                    Ok((answer.status, problem))
                };
                let (status, body) = ask(&foreign).await?;
                let (absent_status, absent_body) = ask(&absent).await?;
                assert_eq!(status, absent_status, "{method} {foreign}");
                assert!(status == 404 || status == 405, "{method} {foreign}: {status}");
                let renamed = body.to_string().replace("secret", "absent").replace(foreign_id, &absent_id);
                assert_eq!(renamed, absent_body.to_string(), "{method} {foreign}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unknown_field_is_refused_with_a_pointer_to_it() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let file = http.put("a.txt", "text/plain", "content").await?.must(201)?.value()?;
        let by_id = format!("/api/v1/files/{}", text(&file, "id")?);
        let cases = [
            (Method::POST, "/api/v1/buckets", json!({"name": "abc", "colour": "red"}), "/colour"),
            (Method::POST, "/api/v1/buckets", json!({"name": "abc", "policy": {"max": 1}}), "/policy/max"),
            (Method::POST, "/api/v1/buckets", json!({"name": 7}), "/name"),
            (Method::POST, "/api/v1/buckets", json!({"name": "A"}), "/name"),
            (Method::PATCH, by_id.as_str(), json!({"labels": {"a": 1}}), "/labels/a"),
            (Method::PATCH, by_id.as_str(), json!({"size": 1}), "/size"),
            (Method::PATCH, by_id.as_str(), json!({"labels": {"a": "\u{1b}[31m"}}), "/labels/a"),
            (Method::PATCH, by_id.as_str(), json!({"metadata": {"a": "b\r\nc"}}), "/metadata/a"),
            (Method::PATCH, "/api/v1/buckets/default", json!({"policy": {"max": null}}), "/policy/max"),
            (Method::POST, "/api/v1/runs/retry", json!({"limit": 0}), "/limit"),
            (Method::POST, "/api/v1/runs/retry", json!({"limit": 10_001}), "/limit"),
            (Method::POST, "/api/v1/users", json!({"name": "bob", "admin": true}), "/admin"),
            (Method::POST, "/api/v1/auth/token", json!({"grant_type": "password", "user": "a"}), "/user"),
        ];
        for (method, path, body, pointer) in cases {
            let problem = http.json(method, path, &body).await?.problem(400, "invalid_input")?;
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}: {problem}");
            assert!(problem["errors"][0]["detail"].is_string(), "{problem}");
        }
        let problem =
            http.get("/api/v1/buckets/default/files?colour=red").await?.problem(400, "invalid_input")?;
        assert!(problem.to_string().contains("colour"), "{problem}");
        let twice = http.get("/api/v1/buckets/default/files?limit=1&limit=2").await?;
        let problem = twice.problem(400, "invalid_input")?;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("'limit'")), "{problem}");
        let absent =
            http.get(&format!("/api/v1/files/{}", "A".repeat(43))).await?.problem(404, "not_found")?;
        let malformed = http.get("/api/v1/files/x").await?.problem(404, "not_found")?;
        assert_eq!(malformed["detail"], absent["detail"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn names_that_walk_lie_or_overflow_are_refused_and_nothing_leaves_the_data_directory() -> Result<()> {
    alone(async |usp| {
        let token = usp.admin().await?.token().to_owned();
        let address = usp.http_address()?;
        let long = "../".repeat(1_366);
        let names = [
            "..%2F..%2Fescape",
            "%2e%2e/%2e%2e/escape",
            "../../../../escape",
            "a/%2e%2e/escape",
            "a%00b",
            "a%0D%0ASet-Cookie:%20x=1",
            "gpj%E2%80%AE.exe",
            "a%5C..%5Cescape",
            "a//b",
            "%FF%FE",
            "%2Fetc%2Fpasswd",
            long.as_str(),
        ];
        for name in names {
            let request = format!(
                "PUT /api/v1/buckets/default/files/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Length: 4\r\nConnection: close\r\n\r\nevil"
            );
            let answer = raw_request(address, request.as_bytes()).await?;
            let refused = [400, 404, 405, 414, 431].contains(&answer.status);
            assert!(refused, "{name} was answered {}", answer.text);
            assert!(!answer.text.to_lowercase().contains("\r\nset-cookie"), "{name}: {}", answer.text);
        }
        let list = usp.admin().await?.get("/api/v1/buckets/default/files").await?.must(200)?.value()?;
        assert_eq!(list["items"], json!([]));
        usp.check_nothing_escaped()?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_name_of_four_kilobytes_with_every_evil_mark_is_a_clear_error() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        // Every byte is percent-encoded: a client would take `..` out of a path before it is sent.
        let name = format!("../../\r\n\0\u{202e}{}", "x".repeat(4_096));
        let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/buckets/default/files/{name}");
        let answer = http.send(http.request(Method::PUT, &path).body("evil")).await?;
        let problem = answer.problem(400, "invalid_input")?;
        let detail = text(&problem, "detail")?;
        assert!(detail.len() < 1_000 && !detail.contains(['\r', '\n', '\0', '\u{202e}']), "{detail:?}");
        let (media_type, form) = usp_testkit::multipart(&[usp_testkit::Part {
            field: "file",
            file_name: "../../../escape\u{202e}.txt",
            media_type: "text/plain",
            content: b"evil",
        }]);
        let request = http.request(Method::POST, "/api/v1/buckets/default/files");
        let answer = http.send(request.header("content-type", media_type).body(form)).await?;
        assert!(answer.status == 400 || answer.status == 201, "{}", answer.text());
        let list = http.get("/api/v1/buckets/default/files").await?.must(200)?.value()?;
        for file in list["items"].as_array().into_iter().flatten() {
            assert!(!text(file, "key")?.contains(['/', '\u{202e}']), "{file}");
        }
        usp.check_nothing_escaped()?;
        Ok(())
    })
    .await
}
