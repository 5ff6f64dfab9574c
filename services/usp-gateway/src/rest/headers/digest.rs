//! `Content-Digest` and `Repr-Digest`, after RFC 9530.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use usp_model::{ContentDigest, ContentDigests, DigestAlgorithm, Result};

use super::{joined, refused};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

pub(crate) fn is_digest(name: &HeaderName) -> bool {
    *name == CONTENT_DIGEST || *name == REPR_DIGEST
}

/// Those that are checked; every other algorithm is ignored, as RFC 9530 wants.
const CHECKED: [DigestAlgorithm; 3] =
    [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512, DigestAlgorithm::Blake3];

/// What the client promises about the content. Without a content coding both headers speak of the same bytes.
///
/// Errors: `InvalidInput` for a header that is no dictionary of byte sequences, or a checked algorithm without a digest
/// of its length.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Vec<ContentDigest>> {
    let mut found = Vec::new();
    for name in [CONTENT_DIGEST, REPR_DIGEST] {
        let Some(text) = joined(headers, &name)? else { continue };
        for member in text.split(',') {
            let digest = parse_member(&name, member.trim())?;
            found.extend(digest.filter(|digest| !found.contains(digest)));
        }
    }
    Ok(found)
}

/// `Repr-Digest` of what is served, if its SHA-256 is known yet.
pub(crate) fn repr_digest(digests: &ContentDigests) -> Option<HeaderValue> {
    let bytes = hex::decode(digests.get(&DigestAlgorithm::Sha256)?).ok()?;
    HeaderValue::from_str(&format!("sha-256=:{}:", STANDARD.encode(bytes))).ok()
}

/// `None`: an algorithm that is not checked. It needs the form of a digest all the same: a promise that cannot be read
/// must not look like one that was kept.
fn parse_member(name: &HeaderName, member: &str) -> Result<Option<ContentDigest>> {
    let (key, value) = member.split_once('=').unwrap_or((member, ""));
    let (value, _parameters) = value.split_once(';').unwrap_or((value, ""));
    let inner = value.trim().strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
    let Some(inner) = inner.filter(|inner| is_key(key) && inner.bytes().all(is_base64)) else {
        return Err(refused(name, "is not a dictionary such as sha-256=:BASE64:"));
    };
    let Some(algorithm) = CHECKED.into_iter().find(|algorithm| algorithm.http_name() == key) else {
        return Ok(None);
    };
    let wanted = || format!("needs {key}=:BASE64: with {} bytes", algorithm.size_bytes());
    let digest = ContentDigest::from_base64(algorithm, inner);
    digest.map(Some).map_err(|_source| refused(name, &wanted()))
}

/// RFC 9651, section 4.2.3.3.
fn is_key(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '*') && text.bytes().all(inner)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

    fn read(value: &'static str) -> Result<Vec<ContentDigest>> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_DIGEST, HeaderValue::from_static(value));
        expected(&headers)
    }

    #[test]
    fn a_known_digest_is_read_beside_unknown_ones_and_once() {
        let found = read(
            "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:;a=1, \
             unixsum=:MzA=:",
        )
        .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_DIGEST, HeaderValue::from_static(SHA256));
        headers.insert(REPR_DIGEST, HeaderValue::from_static(SHA256));
        assert_eq!(expected(&headers).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_a_digest_is_refused() {
        for value in [
            "",
            ",",
            "SHA-256=:AAAA:",
            "sha-256",
            "sha-256=AAAA",
            "sha-256=:AAAA:",
            "sha-256=:not base64:",
            "sha-512=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
            "blake3=:",
            "junk",
            "junk=30",
            "9=:AAAA:",
            "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, junk",
        ] {
            assert!(read(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn what_is_served_prints_the_form_that_is_read() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned();
        let digests = ContentDigests::from([(DigestAlgorithm::Sha256, hex)]);
        assert_eq!(repr_digest(&digests).unwrap(), SHA256);
    }
}
