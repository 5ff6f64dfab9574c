//! Refresh tokens: opaque, random, kept only as a hash. Rotation and reuse detection are the storage service's.

use usp_model::{Error, ErrorKind, Result};

use crate::SecretText;
use crate::secret::Secret32;

/// A fresh refresh token. `text` goes to the client; only `hash` is stored.
#[derive(Debug)]
pub struct RefreshToken {
    /// `uspr_` and 43 characters of base64url.
    pub text: SecretText,
    /// BLAKE3 of the whole text.
    pub hash: [u8; 32],
}

impl RefreshToken {
    /// Secret scanners look for it, and it tells a refresh token from an API key.
    pub const PREFIX: &'static str = "uspr_";

    /// Errors: `Internal` when the system has no random source.
    pub fn random() -> Result<Self> {
        let text = format!("{}{}", Self::PREFIX, Secret32::random()?.encode());
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        Ok(Self { text: SecretText::new(text), hash })
    }

    /// The hash under which a presented token is stored, if it ever was.
    ///
    /// Errors: `Unauthenticated`, in the same words as for a token that is unknown, used or past its time.
    pub fn hash_of(text: &str) -> Result<[u8; 32]> {
        text.strip_prefix(Self::PREFIX)
            .and_then(Secret32::decode)
            .map(|_| *blake3::hash(text.as_bytes()).as_bytes())
            .ok_or_else(Self::refused)
    }

    /// The same answer to every refresh token that is not valid.
    pub fn refused() -> Error {
        Error::new(ErrorKind::Unauthenticated, "check refresh token")
            .because("the refresh token is not valid; log in again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presented_token_has_the_hash_that_was_stored() {
        let token = RefreshToken::random().unwrap();
        assert_eq!(RefreshToken::hash_of(token.text.expose()).unwrap(), token.hash);
        assert_ne!(RefreshToken::random().unwrap().hash, token.hash);
        assert!(!format!("{token:?}").contains(token.text.expose()));
    }

    #[test]
    fn other_text_is_unauthenticated() {
        for text in ["", "uspr_", "uspr_short", "usp_AAAA", &format!("uspr_{}", "A".repeat(44))] {
            assert_eq!(RefreshToken::hash_of(text).unwrap_err().kind(), ErrorKind::Unauthenticated);
        }
    }
}
