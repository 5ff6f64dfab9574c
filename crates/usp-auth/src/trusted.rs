//! Other issuers whose tokens are accepted, and the keys that verify them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::{Algorithm, DecodingKey};
use usp_model::{Error, ErrorKind, Grant, Result};

use crate::SecretText;

/// RFC 7518, section 3.2: an HS256 key is at least as long as its hash.
pub const HMAC_SECRET_BYTES_MIN: usize = 32;
/// Modulus of an RSA key: 2048 to 8192 bits.
const RSA_BYTES: RangeInclusive<usize> = 256..=1024;

/// How a key signs. It belongs to the key and is never taken from a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl TokenAlgorithm {
    /// Every algorithm, in order of declaration.
    pub const ALL: &'static [Self] = &[Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name in RFC 7518 and RFC 8037.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(crate) fn as_jws(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenAlgorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == text).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "read token algorithm").because(format!(
                "'{}' is not one of: HS256, RS256, ES256, EdDSA",
                usp_model::error::printable(text)
            ))
        })
    }
}

/// One key of one issuer besides ourselves. An issuer that rotates its keys has several entries.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// Equal to the claim `iss`.
    pub issuer: String,
    /// Among the claim `aud`.
    pub audience: String,
    /// How the key signs.
    pub algorithm: TokenAlgorithm,
    /// The secret itself for HS256 (at least 32 bytes); a public key in PEM for the others.
    pub key: SecretText,
    /// If given, a token must name it in its header.
    #[serde(default)]
    pub kid: Option<String>,
    /// What every token of this issuer may do; its subjects need not be users here.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// A claim that holds one of our roles, or a list with some among them: the strongest replaces `grants`, in all
    /// buckets. Without a known role in the claim `grants` stands.
    #[serde(default)]
    pub role_claim: Option<String>,
}

impl TrustedIssuer {
    /// The key, ready to verify with. The error is a sentence about the configuration, without the key.
    pub(crate) fn decoding_key(&self) -> Result<DecodingKey, String> {
        let key = self.key.expose();
        match self.algorithm {
            TokenAlgorithm::Hs256 if key.contains("-----BEGIN") => {
                Err("HS256 takes a secret, and this is a PEM; a public key as a secret lets anyone sign"
                    .to_owned())
            }
            TokenAlgorithm::Hs256 if key.len() < HMAC_SECRET_BYTES_MIN => {
                Err(format!("an HS256 secret has at least {HMAC_SECRET_BYTES_MIN} bytes, not {}", key.len()))
            }
            TokenAlgorithm::Hs256 => Ok(DecodingKey::from_secret(key.as_bytes())),
            TokenAlgorithm::Rs256 => public_key(
                key,
                DecodingKey::from_rsa_pem,
                |der| RsaPublicKey::from_der(der).is_ok_and(|key| RSA_BYTES.contains(&key.modulus_len())),
                "an RSA key of 2048 to 8192 bits",
            ),
            TokenAlgorithm::Es256 => public_key(
                key,
                DecodingKey::from_ec_pem,
                |point| ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok(),
                "a P-256 key",
            ),
            TokenAlgorithm::EdDsa => public_key(
                key,
                DecodingKey::from_ed_pem,
                |point| ParsedPublicKey::new(&ED25519, point).is_ok(),
                "an Ed25519 key",
            ),
        }
    }
}

/// Reads a public key and proves it usable now, not at the first token.
fn public_key(
    pem: &str,
    read: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>,
    is_usable: fn(&[u8]) -> bool,
    expected: &str,
) -> Result<DecodingKey, String> {
    if pem.contains("PRIVATE KEY-----") {
        return Err("this is a private key; only its public half belongs here".to_owned());
    }
    read(pem.as_bytes())
        .ok()
        .filter(|key| key.try_get_as_bytes().is_ok_and(is_usable))
        .ok_or_else(|| format!("not {expected} in PEM ('-----BEGIN PUBLIC KEY-----')"))
}
