//! A signer that signs anything: any header, any claims, with any key.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use usp_auth::{SecretText, SigningKeys, TokenAlgorithm, TokenConfig, TokenService, TrustedIssuer};
use usp_model::{Grant, Role, Timestamp};

pub(crate) const NOW_S: i64 = 1_800_000_000;
pub(crate) const LEEWAY_S: i64 = 30;
pub(crate) const HMAC_SECRET: &str = "a shared secret of more than 32 bytes";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_ms(NOW_S * 1000)
}

/// A key that signs, and what its owner writes into tokens.
pub(crate) struct Party {
    pub(crate) issuer: &'static str,
    pub(crate) alg: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: &'static str,
    pub(crate) key: EncodingKey,
    pub(crate) public_pem: String,
}

/// One installation, its own key, and one trusted issuer per algorithm.
pub(crate) struct World {
    pub(crate) service: TokenService,
    pub(crate) own: Party,
    pub(crate) hs: Party,
    pub(crate) rs: Party,
    pub(crate) es: Party,
    pub(crate) ed: Party,
    pub(crate) own_public: Vec<u8>,
}

/// Made once: an RSA key takes a moment.
pub(crate) static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let (keys, pkcs8) = own_keys();
        let own_public = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap().public_key().as_ref().to_vec();
        let own = Party {
            issuer: "usp",
            alg: Algorithm::EdDSA,
            kid: Some(keys.kid().to_owned()),
            typ: "at+jwt",
            key: EncodingKey::from_ed_der(&pkcs8),
            public_pem: String::new(),
        };
        let hs = Party {
            issuer: "https://hs.example",
            alg: Algorithm::HS256,
            kid: None,
            typ: "JWT",
            key: EncodingKey::from_secret(HMAC_SECRET.as_bytes()),
            public_pem: String::new(),
        };
        let (rs, es, ed) = (rsa_party(), ec_party(), ed_party());
        let trusted = vec![
            trust(&hs, TokenAlgorithm::Hs256, HMAC_SECRET),
            trust(&rs, TokenAlgorithm::Rs256, &rs.public_pem),
            trust(&es, TokenAlgorithm::Es256, &es.public_pem),
            trust(&ed, TokenAlgorithm::EdDsa, &ed.public_pem),
        ];
        let leeway_s = u32::try_from(LEEWAY_S).unwrap();
        let config = TokenConfig { leeway_s, trusted, ..TokenConfig::default() };
        let service = TokenService::new(&keys, config).unwrap();
        Self { service, own, hs, rs, es, ed, own_public }
    }

    pub(crate) fn parties(&self) -> [&Party; 5] {
        [&self.own, &self.hs, &self.rs, &self.es, &self.ed]
    }
}

impl Party {
    /// Claims that this party's key makes good.
    pub(crate) fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "aud": "usp", "sub": "alice", "jti": "j-1",
            "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 900,
        })
    }

    pub(crate) fn header(&self) -> Value {
        let mut header = json!({ "alg": format!("{:?}", self.alg), "typ": self.typ });
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        header
    }

    pub(crate) fn token(&self) -> String {
        self.sign(&self.header(), &self.claims())
    }

    pub(crate) fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[name] = value;
        self.sign(&self.header(), &claims)
    }

    pub(crate) fn without_claim(&self, name: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name).unwrap();
        self.sign(&self.header(), &claims)
    }

    pub(crate) fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header[name] = value;
        self.sign(&header, &self.claims())
    }

    pub(crate) fn without_header(&self, name: &str) -> String {
        let mut header = self.header();
        header.as_object_mut().unwrap().remove(name).unwrap();
        self.sign(&header, &self.claims())
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// For headers and claims that no JSON library would write.
    pub(crate) fn sign_raw(&self, header: &[u8], claims: &[u8]) -> String {
        self.sign_text(&format!("{}.{}", encode(header), encode(claims)))
    }

    /// For parts that are not even base64url.
    pub(crate) fn sign_text(&self, message: &str) -> String {
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.alg).unwrap();
        format!("{message}.{signature}")
    }

    /// The same party, signing with something else.
    pub(crate) fn signing_as(&self, alg: Algorithm, key: EncodingKey) -> Self {
        let (kid, public_pem) = (self.kid.clone(), self.public_pem.clone());
        Self { issuer: self.issuer, alg, kid, typ: self.typ, key, public_pem }
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn trust(party: &Party, algorithm: TokenAlgorithm, key: &str) -> TrustedIssuer {
    TrustedIssuer {
        issuer: party.issuer.to_owned(),
        audience: "usp".to_owned(),
        algorithm,
        key: SecretText::new(key),
        kid: party.kid.clone(),
        grants: vec![Grant { bucket: None, role: Role::Reader }],
        role_claim: Some("usp_role".to_owned()),
    }
}

/// Keys of an installation, and the private half as an attacker inside would see it: in the key file.
fn own_keys() -> (SigningKeys, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let keys = SigningKeys::load_or_create(&path).unwrap();
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    (keys, URL_SAFE_NO_PAD.decode(file["ed25519_pkcs8"].as_str().unwrap()).unwrap())
}

pub(crate) fn rsa_party() -> Party {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private = pem("PRIVATE KEY", pair.as_der().unwrap().as_ref());
    Party {
        issuer: "https://rs.example",
        alg: Algorithm::RS256,
        kid: Some("rs-1".to_owned()),
        typ: "JWT",
        key: EncodingKey::from_rsa_pem(private.as_bytes()).unwrap(),
        public_pem: pem("PUBLIC KEY", pair.public_key().as_der().unwrap().as_ref()),
    }
}

fn ec_party() -> Party {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    Party {
        issuer: "https://es.example",
        alg: Algorithm::ES256,
        kid: None,
        typ: "JWT",
        key: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
        public_pem: pem("PUBLIC KEY", pair.public_key().as_der().unwrap().as_ref()),
    }
}

pub(crate) fn ed_party() -> Party {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    Party {
        issuer: "https://ed.example",
        alg: Algorithm::EdDSA,
        kid: Some("ed-1".to_owned()),
        typ: "at+jwt",
        key: EncodingKey::from_ed_der(pkcs8.as_ref()),
        public_pem: pem("PUBLIC KEY", pair.public_key().as_der().unwrap().as_ref()),
    }
}

pub(crate) fn pem(tag: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}
