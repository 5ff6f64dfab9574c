//! Text and bytes that must not reach a log, a core dump or a comparison that stops early.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use usp_model::{Error, ErrorKind, Result};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A secret as text: prints as `[redacted]`, is erased when dropped, and cannot be serialised by accident.
#[derive(Clone, serde::Deserialize)]
#[serde(from = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Wraps a secret; the text that it came from is the caller's to erase.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself. Every call is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// 256 secret bits.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret32([u8; 32]);

impl Secret32 {
    pub(crate) fn random() -> Result<Self> {
        let mut bytes = [0; 32];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads the 43-character form; `None` for any other text.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Self)
    }

    /// 43 characters of base64url.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Compares without telling, by its duration, how much of the two is equal.
pub(crate) fn equal_in_constant_time(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

/// Fills from the operating system's random source. Errors: `Internal` when there is none.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|source| Error::new(ErrorKind::Internal, "draw random bytes").caused_by(source.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        let text = SecretText::new("canary-7f3a");
        let secret = Secret32::random().unwrap();
        let printed = format!("{text} {text:?} {text:#?} {secret:?}");
        assert!(!printed.contains("canary"));
        assert!(!printed.contains(&secret.encode()));
        assert_eq!(text.expose(), "canary-7f3a");
    }

    #[test]
    fn only_the_43_character_form_reads_back() {
        let secret = Secret32::random().unwrap();
        let text = secret.encode();
        assert_eq!(text.len(), 43);
        assert_eq!(Secret32::decode(&text).unwrap().as_bytes(), secret.as_bytes());
        for other in ["", "AAAA", &format!("{text}="), &format!("{text}A"), &"A".repeat(44), &"+".repeat(43)]
        {
            assert!(Secret32::decode(other).is_none(), "{other}");
        }
    }
}
