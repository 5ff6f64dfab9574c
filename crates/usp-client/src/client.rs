//! The client itself: an address, a credential, connections.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use usp_model::{Error, ErrorKind};

use crate::address::BaseUrl;
use crate::{ClientError, FixedToken, Token, TokenSource};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Default)]
pub struct ClientConfig {
    /// Such as `http://127.0.0.1:8080`; a path in front of `/api/v1` may follow.
    pub url: String,
    /// `None` sends no credential, which is enough to get a token.
    pub token: Option<Token>,
    /// Shown in the server's log; empty: name and version of this crate.
    pub user_agent: String,
}

/// One installation of usp, as one caller sees it. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: BaseUrl,
    tokens: Arc<dyn TokenSource>,
}

impl Client {
    /// Errors: `InvalidInput` for a URL that is none; `Internal` when TLS cannot be set up.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let tokens = Arc::new(FixedToken(config.token.clone()));
        Self::with_tokens(config, tokens)
    }

    /// As [`Self::new`], but asks `tokens` before each call; `config.token` is not looked at.
    pub fn with_tokens(config: ClientConfig, tokens: Arc<dyn TokenSource>) -> Result<Self, ClientError> {
        let base = BaseUrl::parse(&config.url)?;
        let user_agent = match config.user_agent.as_str() {
            "" => concat!("usp-client/", env!("CARGO_PKG_VERSION")),
            text => text,
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A redirect could carry the token to someone else.
            .redirect(Policy::none())
            .no_proxy();
        if !base.is_tls() {
            // Plain HTTP must work on a machine that has no root certificates at all.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|source| {
            let reason = format!("TLS cannot be set up: {}", crate::call::reason_of(&source));
            Error::new(ErrorKind::Internal, "make HTTP client").because(reason)
        })?;
        Ok(Self { http, base, tokens })
    }

    /// The base URL, without a slash at its end.
    pub fn url(&self) -> &str {
        self.base.display()
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn base(&self) -> &BaseUrl {
        &self.base
    }

    pub(crate) fn tokens(&self) -> &dyn TokenSource {
        self.tokens.as_ref()
    }
}
