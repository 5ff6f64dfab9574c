//! Nobody can take more than a share.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use usp_testkit::{RawConnection, Setup, file_path};

use crate::{alone, prove, setup};

fn with_gateway(settings: &str) -> Setup {
    setup().config(&format!("[gateway]\n{settings}\n"))
}

#[tokio::test]
async fn a_caller_over_its_rate_is_told_when_to_come_back() -> Result<()> {
    prove(with_gateway("rate_per_principal = { per_second = 1, burst = 5 }"), async |usp| {
        let greedy = usp.caller(&["--user", "greedy", "--role", "reader"]).await?;
        let mut refused = 0;
        for _ in 0..20 {
            let answer = greedy.get("/api/v1/me").await?;
            if answer.status == 429 {
                refused += 1;
                answer.problem(429, "rate_limited")?;
                let wait: u64 = answer.header("retry-after").parse()?;
                assert!((1..=60).contains(&wait), "{wait}");
            } else {
                assert_eq!(answer.status, 200);
            }
        }
        assert!((10..=15).contains(&refused), "{refused} of 20");
        let modest = usp.caller(&["--user", "modest", "--role", "reader"]).await?;
        modest.get("/api/v1/me").await?.must(200)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_address_over_its_rate_is_refused_whoever_asks() -> Result<()> {
    prove(with_gateway("rate_per_address = { per_second = 1, burst = 8 }"), async |usp| {
        let (ada, bob) = (usp.caller(&["--user", "ada"]).await?, usp.caller(&["--user", "bob"]).await?);
        let mut refused = 0;
        for _ in 0..10 {
            for caller in [&ada, &bob] {
                refused += u32::from(caller.get("/api/v1/me").await?.status == 429);
            }
        }
        assert!((8..=12).contains(&refused), "{refused} of 20");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() -> Result<()> {
    alone(async |usp| {
        let anonymous = usp.anonymous()?;
        let guess = json!({"grant_type": "password", "username": "admin", "password": "guess"});
        let mut statuses = Vec::new();
        for _ in 0..30 {
            let answer = anonymous.post("/api/v1/auth/token", &guess).await?;
            if answer.status == 429 {
                assert!(answer.header("retry-after").parse::<u64>()? >= 1);
            }
            statuses.push(answer.status);
        }
        assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
        assert!(statuses.iter().filter(|status| **status == 429).count() >= 10, "{statuses:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_dropped_and_the_others_are_served() -> Result<()> {
    prove(with_gateway("header_timeout = \"1s\""), async |usp| {
        let mut slow = Vec::new();
        for _ in 0..50 {
            let mut connection = RawConnection::open(usp.http_address()?).await?;
            connection.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").await?;
            slow.push(connection);
        }
        usp.anonymous()?.get("/livez").await?.must(200)?;
        for mut connection in slow {
            let answer = connection.rest().await?;
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        usp.anonymous()?.get("/livez").await?.must(200)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_off_and_leaves_nothing() -> Result<()> {
    prove(with_gateway("body_grace = \"1s\""), async |usp| {
        let http = usp.admin().await?;
        let mut connection = RawConnection::open(usp.http_address()?).await?;
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 1000000\r\n\r\nonly this",
            file_path("default", "stalled.bin"),
            http.token()
        );
        connection.write(head.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&connection.rest().await?).into_owned();
        let refused = ["HTTP/1.1 408", "HTTP/1.1 503"].iter().any(|status| answer.starts_with(status));
        assert!(answer.is_empty() || refused, "{answer}");
        http.get(&file_path("default", "stalled.bin")).await?.problem(404, "not_found")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn json_over_a_mebibyte_or_nested_without_end_is_refused() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let huge = format!("{{\"name\": \"{}\"}}", "x".repeat(2 << 20));
        let post =
            || http.request(Method::POST, "/api/v1/buckets").header("content-type", "application/json");
        http.send(post().body(huge)).await?.problem(413, "too_large")?;
        http.send(post().body("[".repeat(100_000))).await?.problem(400, "invalid_input")?;
        http.send(post().body("{\"name\": \"abc\"")).await?.problem(400, "invalid_input")?;
        http.send(post().body("{\"name\": \"abc\", \"name\": \"abd\"}"))
            .await?
            .problem(400, "invalid_input")?;
        http.get("/api/v1/buckets/abc").await?.problem(404, "not_found")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_origins_that_were_named_may_ask_from_a_browser() -> Result<()> {
    prove(with_gateway("cors_origins = [\"https://app.example.com\"]"), async |usp| {
        let http = usp.admin().await?;
        let preflight = async |origin: &str| {
            let request = usp.anonymous()?.request(Method::OPTIONS, "/api/v1/me").header("origin", origin);
            let request = request.header("access-control-request-method", "GET");
            http.send(request.header("access-control-request-headers", "authorization")).await
        };
        let allowed = preflight("https://app.example.com").await?;
        assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example.com");
        assert!(allowed.header("access-control-allow-headers").to_lowercase().contains("authorization"));
        for origin in
            ["https://evil.example.com", "null", "https://app.example.com.evil.org", "http://app.example.com"]
        {
            assert_eq!(preflight(origin).await?.header("access-control-allow-origin"), "", "{origin}");
            let answer = http.send(http.request(Method::GET, "/api/v1/me").header("origin", origin)).await?;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        }
        let own = http.request(Method::GET, "/api/v1/me").header("origin", "https://app.example.com");
        let own = http.send(own).await?.must(200)?;
        assert_eq!(own.header("access-control-allow-origin"), "https://app.example.com");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn ambiguous_framing_is_refused() -> Result<()> {
    alone(async |usp| {
        let token = usp.admin().await?.token().to_owned();
        for framing in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding : chunked\r\n",
        ] {
            let request = format!(
                "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{framing}\r\n\
                 0\r\n\r\n",
                file_path("default", "smuggled")
            );
            let answer = usp_testkit::raw_request(usp.http_address()?, request.as_bytes()).await?;
            assert!((400..500).contains(&answer.status), "{framing:?} was answered {}", answer.text);
        }
        usp.admin().await?.get(&file_path("default", "smuggled")).await?.problem(404, "not_found")?;
        Ok(())
    })
    .await
}
