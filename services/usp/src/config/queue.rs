//! The queue's settings: which of them belong together, and what they become.

use std::path::PathBuf;

use usp_model::{Error, ErrorKind, Result, Violation};
use usp_queue::{NatsConfig, NatsCredential, NatsTls};

use super::sections::{QueueKind, QueueSection, Secret};
use super::{Config, read_secret};

impl Config {
    /// The broker's settings; `None` for the embedded queue.
    ///
    /// Errors: `InvalidInput` for a secret's file that cannot be read.
    pub(crate) fn nats_config(&self) -> Result<Option<NatsConfig>> {
        let section = &self.queue;
        if section.kind == QueueKind::Embedded {
            return Ok(None);
        }
        let identity = section.tls_cert_file.clone().zip(section.tls_key_file.clone());
        Ok(Some(NatsConfig {
            urls: section.urls(),
            credential: section.credential()?,
            tls: NatsTls {
                is_required: section.tls_required,
                ca_file: section.tls_ca_file.clone(),
                identity,
            },
            client_name: format!("usp {}", self.role_words()),
            prefix: section.prefix.clone(),
            replicas: section.replicas,
            lease_time: self.storage.lease_time.0,
            event_retention: self.storage.event_retention.0,
        }))
    }

    /// `gateway+storage`
    pub(crate) fn role_words(&self) -> String {
        let words = self.roles.iter().map(|role| format!("{role:?}").to_ascii_lowercase());
        words.collect::<Vec<_>>().join("+")
    }

    pub(super) fn queue_problems(&self) -> Vec<Violation> {
        let section = &self.queue;
        let mut found = match section.kind {
            QueueKind::Embedded => section.out_of_place(),
            QueueKind::Nats => section.broker_problems(),
        };
        let is_word = |text: &str| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !text.is_empty() && text.len() <= 32 && text.chars().all(fits)
        };
        if !is_word(&section.prefix) {
            found.push(Violation::new("/queue/prefix", "1 to 32 of a-z, 0-9 and '-'"));
        }
        if !matches!(section.replicas, 1 | 3 | 5) {
            found.push(Violation::new("/queue/replicas", "1, 3 or 5"));
        }
        found
    }
}

impl QueueSection {
    fn urls(&self) -> Vec<String> {
        let urls = self.url.iter().flat_map(|urls| urls.split(','));
        urls.map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
    }

    /// Whatever was set although nothing reads it.
    fn out_of_place(&self) -> Vec<Violation> {
        let set = [
            ("url", self.url.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("password_file", self.password_file.is_some()),
            ("token", self.token.is_some()),
            ("token_file", self.token_file.is_some()),
            ("nkey", self.nkey.is_some()),
            ("nkey_file", self.nkey_file.is_some()),
            ("creds_file", self.creds_file.is_some()),
            ("tls_required", self.tls_required),
            ("tls_ca_file", self.tls_ca_file.is_some()),
            ("tls_cert_file", self.tls_cert_file.is_some()),
            ("tls_key_file", self.tls_key_file.is_some()),
        ];
        let detail = "the embedded queue has no broker: set queue.kind = \"nats\", or drop this key";
        let set = set.into_iter().filter(|(_, is_set)| *is_set);
        set.map(|(key, _)| Violation::new(format!("/queue/{key}"), detail)).collect()
    }

    fn broker_problems(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut demand = |holds: bool, key: &str, detail: &str| {
            if !holds {
                found.push(Violation::new(format!("/queue/{key}"), detail));
            }
        };
        let urls = self.urls();
        demand(!urls.is_empty(), "url", "name the broker: nats://HOST:PORT, several with commas");
        for url in &urls {
            let rest = url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://"));
            demand(
                rest.is_some_and(|rest| !rest.is_empty()),
                "url",
                "use nats://HOST:PORT or tls://HOST:PORT",
            );
            demand(
                !url.contains('@'),
                "url",
                "a credential does not belong there: use queue.user with queue.password_file, or queue.token_file",
            );
        }
        let ways = [
            self.user.is_some() || self.password.is_some() || self.password_file.is_some(),
            self.token.is_some() || self.token_file.is_some(),
            self.nkey.is_some() || self.nkey_file.is_some(),
            self.creds_file.is_some(),
        ];
        demand(
            ways.into_iter().filter(|is_set| *is_set).count() <= 1,
            "user",
            "sign in with one of: user and password, token, nkey, creds_file",
        );
        let has_password = self.password.is_some() || self.password_file.is_some();
        demand(self.user.is_some() || !has_password, "user", "a password needs its user");
        demand(has_password || self.user.is_none(), "password_file", "a user needs a password");
        demand(
            self.tls_cert_file.is_some() == self.tls_key_file.is_some(),
            "tls_cert_file",
            "tls_cert_file and tls_key_file belong together",
        );
        for (key, file) in [
            ("tls_ca_file", &self.tls_ca_file),
            ("tls_cert_file", &self.tls_cert_file),
            ("tls_key_file", &self.tls_key_file),
        ] {
            let is_there = file.as_ref().is_none_or(|file| file.is_file());
            demand(is_there, key, "there is no such file");
        }
        if let Err(error) = self.credential() {
            found.push(Violation::new("/queue", error.detail()));
        }
        found
    }

    fn credential(&self) -> Result<NatsCredential> {
        if let Some(user) = &self.user {
            let password = secret(self.password.as_ref(), self.password_file.as_ref())?.unwrap_or_default();
            return Ok(NatsCredential::Password { user: user.clone(), password });
        }
        if let Some(token) = secret(self.token.as_ref(), self.token_file.as_ref())? {
            return Ok(NatsCredential::Token(token));
        }
        if let Some(seed) = secret(self.nkey.as_ref(), self.nkey_file.as_ref())? {
            if !seed.starts_with("SU") {
                let error = Error::new(ErrorKind::InvalidInput, "read NKey");
                return Err(error.because("the seed of a user's NKey begins with SU"));
            }
            return Ok(NatsCredential::NKey(seed));
        }
        match &self.creds_file {
            // Its last line is one of dashes and ends like the others.
            Some(path) => Ok(NatsCredential::Credentials(format!("{}\n", read_secret(path)?.expose()))),
            None => Ok(NatsCredential::None),
        }
    }
}

/// A secret from the configuration itself or from its file.
fn secret(inline: Option<&Secret>, file: Option<&PathBuf>) -> Result<Option<String>> {
    match (inline, file) {
        (Some(secret), _) => Ok(Some(secret.0.expose().to_owned())),
        (None, Some(path)) => Ok(Some(read_secret(path)?.expose().to_owned())),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use usp_auth::SecretText;

    use super::*;

    fn problems(change: impl FnOnce(&mut QueueSection)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config.queue);
        config
            .queue_problems()
            .into_iter()
            .map(|found| format!("{} {}", found.pointer, found.detail))
            .collect()
    }

    fn nats(change: impl FnOnce(&mut QueueSection)) -> Vec<String> {
        problems(|queue| {
            queue.kind = QueueKind::Nats;
            queue.url = Some("nats://broker:4222".to_owned());
            change(queue);
        })
    }

    fn text(secret: &str) -> Option<Secret> {
        Some(Secret(SecretText::new(secret)))
    }

    #[test]
    fn a_broker_needs_an_address_and_the_embedded_queue_has_none() {
        assert_eq!(nats(|_| ()), Vec::<String>::new());
        let found = nats(|queue| queue.url = None);
        assert!(found.join(" ").contains("/queue/url name the broker"), "{found:?}");
        let found = problems(|queue| queue.url = Some("nats://broker:4222".to_owned()));
        assert!(found.join(" ").contains("set queue.kind = \"nats\""), "{found:?}");
        for url in ["broker:4222", "http://broker", "nats://"] {
            let found = nats(|queue| queue.url = Some(url.to_owned()));
            assert!(found.join(" ").contains("use nats://HOST:PORT"), "{url}: {found:?}");
        }
    }

    #[test]
    fn one_way_to_sign_in_and_a_whole_one() {
        let found = nats(|queue| queue.user = Some("usp".to_owned()));
        assert!(found.join(" ").contains("a user needs a password"), "{found:?}");
        let found = nats(|queue| queue.password = text("x"));
        assert!(found.join(" ").contains("a password needs its user"), "{found:?}");
        let found = nats(|queue| (queue.token, queue.nkey) = (text("t"), text("SUx")));
        assert!(found.join(" ").contains("sign in with one of"), "{found:?}");
        let found = nats(|queue| queue.nkey = text("canary"));
        assert!(
            found.join(" ").contains("begins with SU") && !found.join(" ").contains("canary"),
            "{found:?}"
        );
        let found = nats(|queue| queue.url = Some("nats://u:p@broker:4222".to_owned()));
        assert!(found.join(" ").contains("a credential does not belong there"), "{found:?}");
        let found = nats(|queue| queue.token_file = Some(PathBuf::from("/nonexistent/token")));
        assert!(found.join(" ").contains("/nonexistent/token"), "{found:?}");
    }

    #[test]
    fn certificate_and_key_come_together_and_exist() {
        let found = nats(|queue| queue.tls_cert_file = Some(PathBuf::from("/nonexistent/cert.pem")));
        assert!(found.join(" ").contains("belong together"), "{found:?}");
        assert!(found.join(" ").contains("there is no such file"), "{found:?}");
    }

    #[test]
    fn prefixes_and_replicas_have_bounds() {
        let found = problems(|queue| (queue.prefix, queue.replicas) = ("Usp.x".to_owned(), 2));
        assert!(found.iter().any(|text| text.starts_with("/queue/prefix")), "{found:?}");
        assert!(found.iter().any(|text| text.starts_with("/queue/replicas")), "{found:?}");
    }
}
