//! The layers around a door that they do not know: a dialect made up here, with words, paths and a credential of its
//! own.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use usp_auth::Credential;
use usp_model::{Error, Result, UploadId};

use super::*;
use crate::config::Rate;
use crate::dialect::RateKey;
use crate::presented::Presented;
use crate::request::{ConfirmedUpload, Head};

const STATUS: HeaderName = HeaderName::from_static("toy-status");
const KEY: &str = "toy-key";

/// Names its callers in a header of its own and says in another how a request ended.
#[derive(Debug)]
struct ToyDialect;

impl Dialect for ToyDialect {
    fn door(&self) -> &'static str {
        "toy"
    }

    fn refuse(&self, error: Error, request_id: &str) -> Response {
        (StatusCode::OK, [(STATUS, "no")], format!("no {} {request_id}", error.kind().code())).into_response()
    }

    fn present(&self, head: Head<'_>) -> Result<Presented> {
        let key = head.headers.get(KEY).and_then(|key| key.to_str().ok());
        let bearer = |key| Credential::from_authorization(&format!("Bearer {key}")).map(Presented::Bearer);
        key.map_or(Ok(Presented::Nothing), bearer)
    }

    fn rate_key(&self, head: Head<'_>) -> RateKey {
        match head.uri.path() {
            "/knock" => RateKey::SignIn,
            "/carry" => RateKey::Upload(upload()),
            _ => RateKey::Caller,
        }
    }

    fn route(&self, _head: Head<'_>, matched: &str) -> String {
        format!("toy{}", matched.replace('/', "."))
    }

    fn is_secret(&self, head: Head<'_>) -> bool {
        head.uri.path() == "/knock"
    }

    fn own_status(&self, fields: &HeaderMap) -> Option<&'static str> {
        fields.get(STATUS).map(|word| if word == "no" { "no" } else { "yes" })
    }
}

fn upload() -> UploadId {
    UploadId::from_bytes([7; 32])
}

const PLENTY: Rate = Rate { per_second: 1_000, burst: 1_000 };

struct Toy {
    door: Arc<Door>,
    router: Router,
}

impl Toy {
    fn new(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut config = GatewayConfig {
            rate_per_address: PLENTY,
            rate_per_principal: PLENTY,
            ..GatewayConfig::default()
        };
        change(&mut config);
        let limits = Arc::new(Limits::new(&config));
        let (config, metrics) = (Arc::new(config), Arc::new(Metrics::new()));
        let door = Arc::new(Door { dialect: &ToyDialect, config, metrics, limits });
        let yes = || async { ([(STATUS, "yes")], "done") };
        let router = Router::new()
            .route("/play", get(yes))
            .route("/knock", get(yes))
            .route("/carry", any(|| async { (Extension(ConfirmedUpload(upload())), "carried") }))
            .route("/trip", get(async || -> Response { std::panic::panic_any("over a toy") }));
        Self { router: with_layers(router, &door), door }
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (HeaderMap, String) {
        let mut request = Request::builder().uri(path).header("x-request-id", "r1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (parts.headers, String::from_utf8(text.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_refusal_speaks_the_dialect_of_its_door() {
    let toy = Toy::new(|config| config.rate_per_address = Rate { per_second: 1, burst: 1 });
    assert_eq!(toy.ask("/play", &[]).await.1, "done");
    let (headers, text) = toy.ask("/play", &[]).await;
    assert_eq!((text.as_str(), &headers[STATUS]), ("no rate_limited r1", &"no".parse().unwrap()));
    assert_eq!(
        (&headers["x-request-id"], &headers["x-frame-options"]),
        (&"r1".parse().unwrap(), &"DENY".parse().unwrap())
    );
    assert!(!headers.contains_key("vary"), "no dialect without rules for pages answers them: {headers:?}");
}

#[tokio::test]
async fn a_panic_speaks_the_dialect_of_its_door() {
    let toy = Toy::new(|_| {});
    assert_eq!(toy.ask("/trip", &[]).await.1, "no internal r1");
    assert_eq!(toy.ask("/play", &[]).await.1, "done");
    assert!(toy.door.metrics.text().unwrap().contains("usp_gateway_panics_total 1"));
}

#[tokio::test]
async fn a_credential_is_counted_wherever_the_dialect_carries_it() {
    let toy = Toy::new(|config| config.rate_per_principal = Rate { per_second: 1, burst: 1 });
    assert_eq!(toy.ask("/play", &[(KEY, "ann")]).await.1, "done");
    assert_eq!(toy.ask("/play", &[(KEY, "ann")]).await.1, "no rate_limited r1");
    assert_eq!(toy.ask("/play", &[(KEY, "bob")]).await.1, "done");
    // This one means nothing here.
    for _ in 0..3 {
        assert_eq!(toy.ask("/play", &[("authorization", "Bearer ann")]).await.1, "done");
    }
}

#[tokio::test]
async fn signing_in_and_uploads_are_counted_as_the_dialect_says() {
    let once = Rate { per_second: 1, burst: 1 };
    let toy = Toy::new(|config| (config.rate_sign_in, config.rate_per_principal) = (once, once));
    assert_eq!(toy.ask("/knock", &[]).await.1, "done");
    assert_eq!(toy.ask("/knock", &[]).await.1, "no rate_limited r1");
    // The first one counts against its caller; from then on the upload is known and has a budget of its own.
    assert_eq!(toy.ask("/carry", &[(KEY, "ann")]).await.1, "carried");
    assert_eq!(toy.ask("/play", &[(KEY, "ann")]).await.1, "no rate_limited r1");
    assert_eq!(toy.ask("/carry", &[(KEY, "ann")]).await.1, "carried");
    assert_eq!(toy.ask("/carry", &[(KEY, "ann")]).await.1, "no rate_limited r1");
}

#[tokio::test]
async fn log_and_metrics_use_the_words_of_the_dialect() {
    let toy = Toy::new(|_| {});
    toy.ask("/play", &[]).await;
    toy.ask("/trip", &[]).await;
    toy.ask("/carry", &[]).await;
    toy.ask("/nowhere", &[]).await;
    let metrics = toy.door.metrics.text().unwrap();
    for (route, status) in [("toy.play", "yes"), ("toy.trip", "no"), ("toy.carry", "2xx"), ("none", "4xx")] {
        let line = format!(
            "usp_gateway_requests_total{{door=\"toy\",method=\"GET\",route=\"{route}\",status=\"{status}\"}} 1"
        );
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn caches_are_told_what_the_dialect_knows() {
    let toy = Toy::new(|_| {});
    let cached = async |path: &str, headers: &[(&str, &str)]| {
        let (headers, _) = toy.ask(path, headers).await;
        headers.get("cache-control").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(cached("/knock", &[]).await.as_deref(), Some("no-store"));
    assert_eq!(cached("/play", &[(KEY, "ann")]).await.as_deref(), Some("private, no-cache"));
    assert_eq!(cached("/play", &[(KEY, "no credential")]).await.as_deref(), Some("private, no-cache"));
    assert_eq!(cached("/play", &[]).await, None);
}
