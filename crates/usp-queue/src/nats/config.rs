//! Which broker, and how to be let in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;
use usp_model::{Error, ErrorKind, Result};

/// What an operator can set about the broker.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// `nats://HOST:PORT` or `tls://HOST:PORT`; several for a cluster.
    pub urls: Vec<String>,
    pub credential: NatsCredential,
    pub tls: NatsTls,
    /// Names this process to the broker's operator.
    pub client_name: String,
    /// What subjects and, in capitals, streams begin with: `a-z`, `0-9` and `-`.
    pub prefix: String,
    /// Copies of each stream in a cluster.
    pub replicas: usize,
    /// An offer whose worker is silent for this long is due again.
    pub lease_time: Duration,
    /// Events stay on the broker for this long.
    pub event_retention: Duration,
}

/// What is shown to the broker.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum NatsCredential {
    #[default]
    None,
    Password {
        user: String,
        password: String,
    },
    Token(String),
    /// The seed of an NKey, which begins with `SU`.
    NKey(String),
    /// The text of a `.creds` file: a JWT and the seed that goes with it.
    Credentials(String),
}

impl fmt::Debug for NatsCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password { .. } => "Password(redacted)",
            Self::Token(_) => "Token(redacted)",
            Self::NKey(_) => "NKey(redacted)",
            Self::Credentials(_) => "Credentials(redacted)",
        })
    }
}

/// Whom to trust and who we are. With none of it, the schemes of the URLs decide.
#[derive(Debug, Clone, Default)]
pub struct NatsTls {
    /// Refuse a connection in plain text.
    pub is_required: bool,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl NatsConfig {
    /// Errors: `InvalidInput` for credentials that cannot be read.
    pub(super) fn options(&self) -> Result<ConnectOptions> {
        const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
        const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
        // A peer that is cut off is noticed after three of them.
        const PING_INTERVAL: Duration = Duration::from_secs(3);
        let mut options = ConnectOptions::new()
            .name(&self.client_name)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(reconnect_delay)
            .require_tls(self.tls.is_required);
        options = match self.credential.clone() {
            NatsCredential::None => options,
            NatsCredential::Password { user, password } => options.user_and_password(user, password),
            NatsCredential::Token(token) => options.token(token),
            NatsCredential::NKey(seed) => options.nkey(seed),
            NatsCredential::Credentials(text) => options.credentials(&text).map_err(|source| {
                Error::new(ErrorKind::InvalidInput, "read NATS credentials")
                    .because("the credentials file needs a user JWT and an NKey seed, as `nsc` writes it")
                    .caused_by(source)
            })?,
        };
        if let Some(ca_file) = &self.tls.ca_file {
            options = options.add_root_certificates(ca_file.clone());
        }
        if let Some((certificate, key)) = &self.tls.identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options)
    }

    /// The addresses without what may stand in them as a credential.
    pub(super) fn shown_urls(&self) -> String {
        let shown = self.urls.iter().map(|url| match url.split_once("://") {
            Some((scheme, rest)) => {
                format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
            }
            None => url.rsplit_once('@').map_or(url.clone(), |(_, host)| host.to_owned()),
        });
        shown.collect::<Vec<_>>().join(",")
    }
}

/// Soon at first, then less and less often; at random, so that clients do not come back all at once.
fn reconnect_delay(attempt: usize) -> Duration {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    let doublings = u32::try_from(attempt.min(6)).unwrap_or(6);
    usp_rt::jittered((FIRST * 2_u32.pow(doublings)).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_never_prints() {
        for credential in [
            NatsCredential::Password { user: "u".to_owned(), password: "canary".to_owned() },
            NatsCredential::Token("canary".to_owned()),
            NatsCredential::NKey("canary".to_owned()),
            NatsCredential::Credentials("canary".to_owned()),
        ] {
            assert!(!format!("{credential:?}").contains("canary"));
        }
    }

    #[test]
    fn urls_are_shown_without_what_they_carry() {
        let config = NatsConfig {
            urls: vec!["nats://a:canary@h:1".to_owned(), "canary@g:2".to_owned(), "tls://k".to_owned()],
            credential: NatsCredential::None,
            tls: NatsTls::default(),
            client_name: String::new(),
            prefix: String::new(),
            replicas: 1,
            lease_time: Duration::ZERO,
            event_retention: Duration::ZERO,
        };
        assert_eq!(config.shown_urls(), "nats://h:1,g:2,tls://k");
    }
}
