//! A credential as storage takes it, before it is verified.

use usp_model::{Error, ErrorKind, Result};

use crate::SecretText;

/// The longest bearer token. One of ours is under 1 KiB; tokens of other issuers with long group lists reach a few KiB.
pub const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// Carries a credential from the door that read it to the storage service that verifies it.
///
/// A door may read more kinds than stand here: what it can prove by itself (that a signature covers the request, that
/// a session's request comes from its own page) is settled there. A variant belongs here when storage has to look up
/// another kind of secret.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A JWT or an API key, from `Authorization: Bearer`.
    Bearer(SecretText),
    /// The per-installation secret that roles show each other. Never read from a public listener.
    Node(SecretText),
}

impl Credential {
    /// Parses the value of an `Authorization` header.
    ///
    /// Shape: scheme `Bearer` in any case, then 1..=8,192 printable ASCII characters without spaces.
    /// Errors: `Unauthenticated`. Source: RFC 6750, section 2.1.
    pub fn from_authorization(header_value: &str) -> Result<Self> {
        let (scheme, rest) = header_value.split_once(' ').ok_or_else(refused)?;
        let token = rest.trim_start_matches(' ');
        let fits = (1..=CREDENTIAL_BYTES_MAX).contains(&token.len());
        if !scheme.eq_ignore_ascii_case("Bearer") || !fits || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refused());
        }
        Ok(Self::Bearer(SecretText::new(token)))
    }

    /// The secret that is to be verified.
    pub fn secret(&self) -> &SecretText {
        match self {
            Self::Bearer(secret) | Self::Node(secret) => secret,
        }
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Unauthenticated, "read credential")
        .because("send 'Authorization: Bearer' followed by a token or an API key of at most 8 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_is_read_in_any_case() {
        for header in ["Bearer abc.def", "bearer abc.def", "BEARER   abc.def"] {
            let Credential::Bearer(token) = Credential::from_authorization(header).unwrap() else {
                panic!("{header} is a bearer credential");
            };
            assert_eq!(token.expose(), "abc.def");
        }
    }

    #[test]
    fn anything_else_is_unauthenticated_and_not_repeated() {
        let long = format!("Bearer {}", "a".repeat(CREDENTIAL_BYTES_MAX + 1));
        let headers = [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Bearer    ",
            "Basic YTpi",
            "Node abc",
            "Bearer a b",
            "Bearer a\tb",
            "Bearer a\r\nX: y",
            "Bearer ä",
            "Bearer a,Bearer b c",
            " Bearer abc",
            "Bearerabc",
            &long,
        ];
        for header in headers {
            let error = Credential::from_authorization(header).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{header:?}");
            assert!(!error.chain().contains("YTpi"));
        }
        let longest = format!("Bearer {}", "a".repeat(CREDENTIAL_BYTES_MAX));
        assert!(Credential::from_authorization(&longest).is_ok());
    }

    #[test]
    fn a_credential_does_not_print_its_secret() {
        let credential = Credential::from_authorization("Bearer canary").unwrap();
        assert_eq!(format!("{credential:?}"), "Bearer([redacted])");
    }
}
