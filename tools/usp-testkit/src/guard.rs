//! Brokers that let in whoever proves who they are: what the server is told, and what a client shows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A user whom a broker knows by the public half of a key.
#[derive(Debug)]
pub struct NatsUser {
    /// Lines of the server's configuration.
    pub settings: String,
    /// What the client shows: a seed, or the text of a `.creds` file.
    pub secret: String,
}

impl NatsUser {
    /// Shows the seed of an NKey.
    pub fn with_nkey() -> Result<Self> {
        let user = KeyPair::new_user();
        let settings = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key());
        Ok(Self { settings, secret: user.seed()? })
    }

    /// Shows a `.creds` file: an operator vouches for an account, and the account for the user.
    pub fn with_creds() -> Result<Self> {
        let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
        let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
        let told = |kind: &str, more: Value| {
            let mut claims = json!({ "type": kind, "version": 2 });
            if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), more) {
                claims.extend(more);
            }
            claims
        };
        let no_limits = |names: &[&str]| -> Value { names.iter().map(|name| (*name, -1)).collect() };
        let connections = ["conn", "leaf", "subs", "data", "payload", "imports", "exports"];
        let storage = ["mem_storage", "disk_storage", "streams", "consumer"];
        let of_account = |names: &[&str]| told("account", json!({ "limits": no_limits(names) }));

        let operator_token = signed(&operator, &operator, &told("operator", json!({})))?;
        let system_token = signed(&operator, &system, &of_account(&connections))?;
        let account_token = signed(&operator, &account, &of_account(&[&connections[..], &storage].concat()))?;
        let user_token = signed(&account, &user, &told("user", no_limits(&["subs", "data", "payload"])))?;
        let (account, system) = (account.public_key(), system.public_key());
        Ok(Self {
            settings: format!(
                "operator: {operator_token}\nsystem_account: {system}\nresolver: MEMORY\n\
                 resolver_preload: {{ {account}: {account_token}, {system}: {system_token} }}"
            ),
            secret: format!(
                "-----BEGIN NATS USER JWT-----\n{user_token}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
                user.seed()?
            ),
        })
    }
}

/// A JWT in which `issuer` says something of `subject`.
fn signed(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> Result<String> {
    let subject = subject.public_key();
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let body = json!({
        "jti": subject, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test", "sub": subject, "nats": claims
    });
    let text = [header, body].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes())?);
    Ok(format!("{text}.{signature}"))
}

/// Certificates of a broker at 127.0.0.1 and of its clients, all signed by one authority; gone when dropped.
#[derive(Debug)]
pub struct NatsCertificates {
    dir: TempDir,
}

impl NatsCertificates {
    pub fn make() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("usp-certificates-").tempdir()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate()?)?;
        fs::write(dir.path().join("ca.pem"), authority.pem())?;
        for (name, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = rcgen::KeyPair::generate()?;
            let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
            params.extended_key_usages.push(usage);
            let certificate = params.signed_by(&key, &authority)?;
            fs::write(dir.path().join(format!("{name}.pem")), certificate.pem())?;
            fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem())?;
        }
        Ok(Self { dir })
    }

    /// Lines of the server's configuration: it asks each client for a certificate.
    pub fn settings(&self) -> String {
        let file = |name: &str| self.path(name).display().to_string();
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
            file("server.pem"),
            file("server.key"),
            file("ca.pem")
        )
    }

    /// Whom to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Who the client is: its certificate and its key.
    pub fn identity(&self) -> (PathBuf, PathBuf) {
        (self.path("client.pem"), self.path("client.key"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Files that the test adds go with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
