//! What strangers can and cannot do at the doors. `/metrics` stands for any route: it authenticates and answers.

use std::time::Duration;

use usp_gateway::Rate;

use crate::support::{RawClient, TestGateway, captured_log};

const ADMIN: &str = "authorization: Bearer admin\r\n";
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn headers_that_do_not_come_in_time_end_the_connection() {
    let gateway = TestGateway::with(|config| config.header_timeout = SHORT).await;
    let silent = RawClient::connect(gateway.http).await;
    let mut slow = RawClient::connect(gateway.http).await;
    slow.send("GET /metrics HTTP/1.1\r\nhost: us").await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(slow.rest().await, "");
}

#[tokio::test]
async fn headers_of_a_later_request_have_the_same_time() {
    let gateway = TestGateway::with(|config| config.header_timeout = SHORT).await;
    let mut client = RawClient::connect(gateway.http).await;
    assert_eq!(client.ask("GET", "/metrics", ADMIN).await.status, 200);
    client.send("GET /met").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let gateway = TestGateway::with(|config| config.idle_timeout = SHORT).await;
    let mut client = RawClient::connect(gateway.http).await;
    assert_eq!(client.ask("GET", "/metrics", ADMIN).await.status, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn one_address_gets_no_more_connections_than_its_share() {
    let gateway = TestGateway::with(|config| config.connection_count_max_per_address = 2).await;
    let mut first = RawClient::connect(gateway.http).await;
    let mut second = RawClient::connect(gateway.grpc).await;
    assert_eq!(first.ask("GET", "/metrics", ADMIN).await.status, 200);
    let third = RawClient::connect(gateway.http).await;
    assert_eq!(third.rest().await, "");
    assert_eq!(first.ask("GET", "/metrics", ADMIN).await.status, 200);
    second.send("x").await;
    drop(first);
    let mut fourth = loop {
        // The end of a connection is noticed a moment after it happened.
        let mut fourth = RawClient::connect(gateway.http).await;
        if fourth.try_ask("GET", "/metrics", ADMIN).await.is_some_and(|answer| answer.status == 200) {
            break fourth;
        }
    };
    assert_eq!(fourth.ask("GET", "/metrics", ADMIN).await.status, 200);
}

#[tokio::test]
async fn a_body_that_trickles_is_cut() {
    let gateway = TestGateway::with(|config| config.body_grace = SHORT).await;
    let mut client = RawClient::connect(gateway.http).await;
    let head = "PUT /api/v1/buckets/default/files/slow HTTP/1.1\r\nhost: usp\r\ncontent-length: 1000\r\n";
    client.send(format!("{head}authorization: Bearer writer\r\n\r\nabc")).await;
    let answer = client.answer().await;
    assert!((400..600).contains(&answer.status), "{answer:?}");
    assert!(answer.body.contains("too slowly"), "{answer:?}");
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let gateway = TestGateway::with(|config| {
        config.rate_per_principal = Rate { per_second: 1, burst: 2 };
    })
    .await;
    let mut client = RawClient::connect(gateway.http).await;
    for _ in 0..2 {
        assert_eq!(client.ask("GET", "/metrics", ADMIN).await.status, 200);
    }
    let answer = client.ask("GET", "/metrics", ADMIN).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("x-request-id").is_some());
    assert!(answer.body.contains("\"rate_limited\""), "{}", answer.body);
    // Another credential of the same address has its own budget.
    let other = client.ask("GET", "/metrics", "authorization: Bearer reader\r\n").await;
    assert_eq!(other.status, 403);
}

#[tokio::test]
async fn only_a_trusted_proxy_can_speak_for_another_address() {
    let limited = Rate { per_second: 1, burst: 1 };
    let distrusting = TestGateway::with(|config| config.rate_per_address = limited).await;
    let mut client = RawClient::connect(distrusting.http).await;
    assert_ne!(client.ask("GET", "/metrics", "x-forwarded-for: 192.0.2.1\r\n").await.status, 429);
    assert_eq!(client.ask("GET", "/metrics", "x-forwarded-for: 192.0.2.2\r\n").await.status, 429);

    let trusting = TestGateway::with(|config| {
        config.rate_per_address = limited;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut client = RawClient::connect(trusting.http).await;
    assert_ne!(client.ask("GET", "/metrics", "x-forwarded-for: 192.0.2.1\r\n").await.status, 429);
    assert_ne!(client.ask("GET", "/metrics", "x-forwarded-for: 192.0.2.2\r\n").await.status, 429);
    assert_eq!(client.ask("GET", "/metrics", "x-forwarded-for: 192.0.2.2\r\n").await.status, 429);
}

#[tokio::test]
async fn a_request_keeps_the_id_that_its_client_gave_it() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    let named = client.ask("GET", "/metrics", "x-request-id: my-id.1\r\n").await;
    assert_eq!(named.header("x-request-id"), Some("my-id.1"));
    assert!(named.body.contains("\"request_id\":\"my-id.1\""), "{}", named.body);
    for header in ["", "x-request-id: a b\r\n"] {
        let drawn = client.ask("GET", "/nowhere", header).await;
        assert_eq!(drawn.header("x-request-id").map(str::len), Some(32), "{drawn:?}");
    }
}

#[tokio::test]
async fn pages_of_named_origins_may_ask_and_no_others() {
    let gateway =
        TestGateway::with(|config| config.cors_origins = vec!["https://app.example".to_owned()]).await;
    let mut client = RawClient::connect(gateway.http).await;
    let preflight = "access-control-request-method: PUT\r\n\
                     access-control-request-headers: authorization, x-usp-meta-author, traceparent, cookie\r\n";

    let friend =
        client.ask("OPTIONS", "/metrics", &format!("origin: https://app.example\r\n{preflight}")).await;
    assert_eq!(friend.status, 204);
    assert_eq!(friend.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(
        friend.header("access-control-allow-headers"),
        Some("authorization, x-usp-meta-author, traceparent")
    );
    assert!(friend.header("access-control-allow-methods").unwrap().contains("PATCH"));

    for origin in ["https://evil.example", "null", "https://app.example.evil", "http://app.example"] {
        let stranger = client.ask("OPTIONS", "/metrics", &format!("origin: {origin}\r\n{preflight}")).await;
        assert_eq!(stranger.status, 403, "{origin}");
        let answer = client.ask("GET", "/metrics", &format!("origin: {origin}\r\n{ADMIN}")).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }

    let answer = client.ask("GET", "/metrics", &format!("origin: https://app.example\r\n{ADMIN}")).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, Some("https://app.example"))
    );
    assert!(answer.header("access-control-expose-headers").unwrap().contains("upload-offset"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert!(answer.headers.iter().any(|(name, value)| name == "vary" && value == "origin"));
    let refused = client.ask("GET", "/metrics", "origin: https://app.example\r\n").await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some("https://app.example"))
    );
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    let answer = client.ask("GET", "/metrics", "authorization: Bearer panic\r\n").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(!answer.body.contains("the token said so"), "{}", answer.body);
    let metrics = client.ask("GET", "/metrics", ADMIN).await;
    assert!(metrics.body.contains("usp_gateway_panics_total 1"), "{}", metrics.body);
}

#[tokio::test]
async fn requests_that_two_servers_could_read_differently_are_refused() {
    let gateway = TestGateway::start().await;
    let smuggled = [
        "content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "content-length: 3\r\ncontent-length: 30\r\n\r\nabc",
        "content-length: +3\r\n\r\nabc",
        "content-length: 30\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: usp\r\n\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 30\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: usp\r\n\r\n",
        "x: y\n\r\n",
        "x: y\r\n\n",
        "transfer-encoding: chunked, identity\r\n\r\nabc",
        "transfer-encoding: gzip\r\n\r\nabc",
        "x: y\r\n folded: z\r\n\r\n",
        "na me: x\r\n\r\n",
        &format!("x: {}\r\n\r\n", "a".repeat(40 << 10)),
    ];
    for rest in smuggled {
        let mut client = RawClient::connect(gateway.http).await;
        client.send(format!("POST /metrics HTTP/1.1\r\nhost: usp\r\n{rest}")).await;
        let answer = client.rest().await;
        let status = answer.split(' ').nth(1).unwrap_or("closed").to_owned();
        assert!(status == "400" || status == "closed", "{rest:?}: {answer}");
        assert!(answer.matches("HTTP/1.1").count() <= 1, "{rest:?}: {answer}");
    }
}

#[tokio::test]
async fn a_head_names_one_host_and_measures_its_body_once() {
    let gateway = TestGateway::start().await;
    let refused = [
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET http://usp/livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\nhost: usp\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\nHost: other\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        "GET /livez HTTP/1.1\r\nhost: usp\r\ncontent-length: 3, 3\r\n\r\nabc",
        "GET /livez HTTP/1.1\r\nhost: usp\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\ntransfer-encoding: identity\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\n\r\n",
    ];
    for request in refused {
        let mut client = RawClient::connect(gateway.http).await;
        client.send(request).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
    }
    let taken = [
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\nconnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: usp\r\nconnection: close\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
        // Two at once: the second is read while the first is answered.
        "GET /livez HTTP/1.1\r\nhost: usp\r\n\r\nGET /livez HTTP/1.1\r\nhost: usp\r\nconnection: close\r\n\r\n",
    ];
    for request in taken {
        let mut client = RawClient::connect(gateway.http).await;
        client.send(request).await;
        let answer = client.rest().await;
        assert_eq!(
            answer.matches(" 200 OK").count(),
            request.matches("/livez").count(),
            "{request:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_running_request_is_finished_before_the_doors_close() {
    let gateway = TestGateway::start().await;
    let mut busy = RawClient::connect(gateway.http).await;
    let idle = RawClient::connect(gateway.http).await;
    busy.send("GET /metrics HTTP/1.1\r\nhost: usp\r\nauthorization: Bearer gate\r\n\r\n").await;
    gateway.storage.at_gate.notified().await;
    gateway.shutdown.cancel();
    assert_eq!(idle.rest().await, "", "what asks nothing is closed at once");
    gateway.storage.gate.notify_one();
    assert_eq!(busy.answer().await.status, 200);
    assert_eq!(busy.rest().await, "");
    gateway.stopped().await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_after_the_drain_time() {
    let gateway = TestGateway::with(|config| config.drain_timeout = SHORT).await;
    let mut stuck = RawClient::connect(gateway.http).await;
    stuck.send("GET /metrics HTTP/1.1\r\nhost: usp\r\nauthorization: Bearer gate\r\n\r\n").await;
    gateway.storage.at_gate.notified().await;
    gateway.stopped().await;
    assert_eq!(stuck.rest().await, "");
}

#[tokio::test]
async fn metrics_are_for_admins_unless_they_are_public() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    assert_eq!(client.ask("GET", "/metrics", "").await.status, 401);
    assert_eq!(client.ask("GET", "/metrics", "authorization: Bearer manager\r\n").await.status, 403);
    let metrics = client.ask("GET", "/metrics", ADMIN).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let counted =
        "usp_gateway_requests_total{door=\"http\",method=\"GET\",route=\"/metrics\",status=\"4xx\"} 2";
    assert!(metrics.body.contains(counted), "{}", metrics.body);
    assert!(metrics.body.contains("usp_gateway_open_connections{door=\"http\"} 1"), "{}", metrics.body);

    let open = TestGateway::with(|config| config.metrics_public = true).await;
    let mut client = RawClient::connect(open.http).await;
    let metrics = client.ask("GET", "/metrics", "").await;
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn each_request_leaves_one_line_without_its_secrets() {
    let (_guard, lines) = captured_log();
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    client.ask("GET", "/metrics?token=canary", &format!("x-request-id: r-1\r\n{ADMIN}")).await;
    client.ask("GET", "/a%0d%0ab?token=canary", "authorization: Bearer canary\r\n").await;
    drop(client);
    gateway.stopped().await;
    let log = lines.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("usp::access")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for part in
        ["path=/metrics", "status=\"200\"", "principal=\"admin\"", "request_id=\"r-1\"", "client=127.0.0.1"]
    {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(lines[1].contains("principal=\"-\"") && lines[1].contains("status=\"404\""), "{}", lines[1]);
    assert!(!log.contains("canary"), "{log}");
}

#[tokio::test]
async fn followers_of_events_are_counted_while_they_follow() {
    let gateway = TestGateway::start().await;
    let mut follower = RawClient::connect(gateway.http).await;
    assert_eq!(follower.ask("GET", "/api/v1/events", ADMIN).await.status, 200);
    let mut client = RawClient::connect(gateway.http).await;
    let metrics = client.ask("GET", "/metrics", ADMIN).await.body;
    assert!(metrics.contains("usp_gateway_event_streams 1"), "{metrics}");
}

#[tokio::test]
async fn two_authorization_headers_are_no_credential_at_any_door() {
    let gateway = TestGateway::start().await;
    let doubled = [
        "authorization: Bearer admin\r\nauthorization: Bearer admin\r\n",
        "authorization: Bearer admin\r\nAuthorization: Bearer reader\r\n",
        "authorization: Basic YTpi\r\nauthorization: Bearer admin\r\n",
    ];
    let told = "there is more than one Authorization header; send one";
    let mut client = RawClient::connect(gateway.http).await;
    let pages = [
        ("GET", "/api/v1/me", ""),
        ("GET", "/api/v1/events", ""),
        ("GET", "/metrics", ""),
        ("POST", "/api/v1/uploads", "tus-resumable: 1.0.0\r\nupload-length: 0\r\n"),
        ("PUT", "/api/v1/buckets/default/files/a", "content-length: 0\r\n"),
    ];
    for headers in doubled {
        for (method, path, more) in pages {
            let answer = client.ask(method, path, &format!("{headers}{more}")).await;
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
            assert!(answer.body.contains(told) && answer.body.contains("\"unauthenticated\""), "{answer:?}");
        }
        let upload = format!("/api/v1/uploads/{}", "A".repeat(43));
        let mut tus = RawClient::connect(gateway.http).await;
        tus.send(format!("HEAD {upload} HTTP/1.1\r\nhost: usp\r\nconnection: close\r\n{headers}\r\n")).await;
        let answer = tus.rest().await;
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("tus-resumable: 1.0.0"), "{answer}");

        let mut calls = RawClient::connect(gateway.grpc).await;
        let headers = format!("content-type: application/grpc\r\n{headers}");
        let answer = calls.ask("POST", "/usp.storage.v1.FileStorageService/ListFiles", &headers).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("16")), "{answer:?}");
        let message = answer.header("grpc-message").unwrap_or_default().replace("%20", " ");
        assert!(message.contains("more than one Authorization header"), "{answer:?}");
    }
    // Once is enough, and what needs no credential does not look.
    assert_eq!(client.ask("GET", "/api/v1/me", ADMIN).await.status, 200);
    assert_eq!(client.ask("GET", "/livez", doubled[0]).await.status, 200);
}

#[tokio::test]
async fn the_requests_of_an_upload_that_storage_knows_have_a_budget_of_their_own() {
    let once = Rate { per_second: 1, burst: 1 };
    let gateway = TestGateway::with(|config| config.rate_per_principal = once).await;
    let mut client = RawClient::connect(gateway.http).await;
    let tus = format!("{ADMIN}tus-resumable: 1.0.0\r\n");
    let created = client.ask("POST", "/api/v1/uploads", &format!("{tus}upload-length: 3\r\n")).await;
    assert_eq!(created.status, 201, "{created:?}");
    let upload = created.header("location").unwrap().to_owned();
    // The credential has no request left; the upload has one.
    let empty = "content-type: application/offset+octet-stream\r\nupload-offset: 0\r\ncontent-length: 0\r\n";
    assert_eq!(client.ask("GET", "/api/v1/me", ADMIN).await.status, 429);
    assert_eq!(client.ask("PATCH", &upload, &format!("{tus}{empty}")).await.status, 204);
    assert_eq!(client.ask("PATCH", &upload, &format!("{tus}{empty}")).await.status, 429);
    let unknown = format!("/api/v1/uploads/{}", "A".repeat(43));
    assert_eq!(client.ask("PATCH", &unknown, &format!("{tus}{empty}")).await.status, 429);
}
