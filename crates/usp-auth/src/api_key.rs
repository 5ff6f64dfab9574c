//! API keys: `usp_<id>_<secret>`, shown once, kept only as a hash.

use usp_model::{ApiKeyId, Error, ErrorKind, Result};

use crate::SecretText;
use crate::secret::{Secret32, equal_in_constant_time};

/// A fresh API key. `text` goes to its owner once; only `id` and `hash` are stored.
#[derive(Debug)]
pub struct ApiKeySecret {
    /// The public half: what the key is found by.
    pub id: ApiKeyId,
    /// `usp_`, 16 hex characters of id, `_`, 43 characters of base64url.
    pub text: SecretText,
    /// BLAKE3 of the whole text. The secret has 256 random bits, so a slow hash would protect nothing.
    pub hash: [u8; 32],
}

impl ApiKeySecret {
    /// Secret scanners look for it, and it tells an API key from a token.
    pub const PREFIX: &'static str = "usp_";

    /// Errors: `Internal` when the system has no random source.
    pub fn random() -> Result<Self> {
        let id = ApiKeyId::random()?;
        let text = SecretText::new(format!("{}{id}_{}", Self::PREFIX, Secret32::random()?.encode()));
        let hash = hash_of(text.expose());
        Ok(Self { id, text, hash })
    }

    /// Splits a presented key into the id to look up and the hash to compare with [`Self::matches`].
    ///
    /// Errors: `Unauthenticated`, in the same words as for a key that is unknown or revoked ([`Self::refused`]).
    pub fn parse(text: &str) -> Result<(ApiKeyId, [u8; 32])> {
        read(text).map(|id| (id, hash_of(text))).ok_or_else(Self::refused)
    }

    /// Compares a stored hash with a presented one in constant time.
    pub fn matches(stored: &[u8; 32], presented: &[u8; 32]) -> bool {
        equal_in_constant_time(stored, presented)
    }

    /// The same answer to every key that is not valid: malformed, unknown, wrong, revoked or past its time.
    pub fn refused() -> Error {
        Error::new(ErrorKind::Unauthenticated, "check API key")
            .because("the API key is not valid; create a new one with 'usp admin key'")
    }
}

fn read(text: &str) -> Option<ApiKeyId> {
    let (id, rest) = text.strip_prefix(ApiKeySecret::PREFIX)?.split_at_checked(ApiKeyId::CHARS)?;
    Secret32::decode(rest.strip_prefix('_')?)?;
    ApiKeyId::parse(id).ok()
}

fn hash_of(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_reads_back_and_matches_only_itself() {
        let key = ApiKeySecret::random().unwrap();
        let (id, hash) = ApiKeySecret::parse(key.text.expose()).unwrap();
        assert_eq!(id, key.id);
        assert!(ApiKeySecret::matches(&key.hash, &hash));
        let other = ApiKeySecret::random().unwrap();
        assert!(!ApiKeySecret::matches(&key.hash, &other.hash));
    }

    #[test]
    fn every_malformed_key_gets_the_same_answer() {
        let key = ApiKeySecret::random().unwrap();
        let text = key.text.expose();
        let secret = text.rsplit_once(key.id.as_str()).unwrap().1;
        let malformed = [
            String::new(),
            "usp_".to_owned(),
            text.to_uppercase(),
            text[..text.len() - 1].to_owned(),
            format!("{text}A"),
            format!("{text} "),
            format!("uspr_{}{secret}", key.id),
            format!("usp_{}{secret}", "g".repeat(16)),
            format!("usp_{}", "ä".repeat(30)),
        ];
        for text in malformed {
            let error = ApiKeySecret::parse(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{text}");
            assert_eq!(error.to_string(), ApiKeySecret::refused().to_string());
        }
    }

    #[test]
    fn a_key_does_not_print_its_secret() {
        let key = ApiKeySecret::random().unwrap();
        assert!(!format!("{key:?}").contains(key.text.expose()));
    }
}
