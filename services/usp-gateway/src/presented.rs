//! The credential that a request presents, read and not yet proven.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use usp_auth::Credential;
use usp_model::{Error, ErrorKind, Result};

/// What a door found on a request that says who makes it. [`Authenticator`](crate::authenticator::Authenticator) turns
/// it into a proven caller; nothing else may act on it.
///
/// Each way to present a credential is one variant, made by the dialect that reads it
/// ([`Dialect::present`](crate::dialect::Dialect::present)) and proven in the authenticator, where the compiler asks
/// for the arm. To come: `Signature` (access key id, scope and signature of the S3 door, in headers or a presigned
/// query), `Link` (the token of a signed link, from the path), `Session` (the cookie of the browser UI, with the origin
/// of the request) and `Basic` (a name and a password, for clients that know nothing else).
#[derive(Debug, Clone)]
pub(crate) enum Presented {
    /// No credential.
    Nothing,
    /// A token or an API key, from `Authorization: Bearer`.
    Bearer(Credential),
}

impl Presented {
    /// What names the claimed caller, the same for each of its requests: the key of its rate limit. Nothing is proven
    /// yet, so it may serve for nothing else. `None`: no caller is claimed.
    pub(crate) fn claim(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Bearer(credential) => Some(credential.secret().expose()),
        }
    }

    /// Stands for the whole credential in a cache that must not hold secrets; `None` for no credential.
    pub(crate) fn fingerprint(&self) -> Option<[u8; 32]> {
        match self {
            Self::Nothing => None,
            Self::Bearer(credential) => {
                Some(*blake3::hash(credential.secret().expose().as_bytes()).as_bytes())
            }
        }
    }
}

/// Parses the `Authorization` header, for every dialect that uses it.
///
/// Two headers are no credential, even if they are equal: a proxy before us may have looked at the other one.
/// Errors: `Unauthenticated` for more than one header, and for anything but one bearer token.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Presented> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(Presented::Nothing),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| refused("the Authorization header is not ASCII"))?;
            Credential::from_authorization(text).map(Presented::Bearer)
        }
        (Some(_), Some(_)) => Err(refused("there is more than one Authorization header; send one")),
    }
}

fn refused(reason: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, "read credential").because(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&str]) -> Result<Presented> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        authorization(&headers)
    }

    #[test]
    fn one_header_is_one_credential_however_its_scheme_is_written() {
        let [one, other] = ["Bearer a", "bearer   a"].map(|value| read(&[value]).unwrap());
        assert_eq!((one.claim(), one.fingerprint()), (Some("a"), other.fingerprint()));
        let nothing = read(&[]).unwrap();
        assert_eq!((nothing.claim(), nothing.fingerprint()), (None, None));
    }

    #[test]
    fn two_headers_are_none_even_if_they_are_equal() {
        let table: [&[&str]; 5] = [
            &["Bearer a", "Bearer a"],
            &["Bearer a", "Bearer b"],
            &["Bearer a", ""],
            &["", "Bearer a"],
            &["Basic YTpi", "Bearer a"],
        ];
        for values in table {
            let error = read(values).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{values:?}");
            assert!(error.detail().contains("more than one Authorization header"), "{error}");
        }
    }

    #[test]
    fn what_is_no_bearer_token_is_refused() {
        for value in ["", "Basic YTpi", "Bearer a, Bearer b", "Bearer ä"] {
            assert_eq!(read(&[value]).unwrap_err().kind(), ErrorKind::Unauthenticated, "{value:?}");
        }
    }
}
