//! The header of a token, checked before the signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::Refusal;
use crate::credential::CREDENTIAL_BYTES_MAX;

/// The only fields a header may have. What is missing here is refused on sight: `jku`, `x5u`, `jwk` and `x5c` (keys
/// from the token), `crit` and `b64` (rules we do not know), `cty`, `enc` and `zip` (a token inside a token).
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenHeader {
    pub(super) alg: Algorithm,
    #[serde(default)]
    pub(super) typ: Option<String>,
    /// Compared with the kids of the configuration; never a path, a query or a name to fetch.
    #[serde(default)]
    pub(super) kid: Option<String>,
    /// Thumbprints that some issuers send along. Never used.
    #[serde(default, rename = "x5t")]
    _sha1_thumbprint: Option<String>,
    #[serde(default, rename = "x5t#S256")]
    _sha256_thumbprint: Option<String>,
}

impl TokenHeader {
    pub(super) fn read(token: &str) -> Result<Self, Refusal> {
        if token.len() > CREDENTIAL_BYTES_MAX {
            return Err(Refusal::NotValid("it is longer than 8 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::NotValid("it does not have three parts"));
        };
        URL_SAFE_NO_PAD
            .decode(header)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(Refusal::NotValid("its header is not one that we read"))
    }

    /// Media types compare without case, and `application/` may be left out (RFC 7515, section 4.1.9).
    pub(super) fn is_typ(&self, expected: &str) -> bool {
        const PREFIX: &str = "application/";
        self.typ.as_deref().is_some_and(|typ| {
            let bare = match typ.split_at_checked(PREFIX.len()) {
                Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
                _ => typ,
            };
            bare.eq_ignore_ascii_case(expected)
        })
    }
}
