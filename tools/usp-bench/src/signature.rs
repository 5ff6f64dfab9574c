//! AWS Signature Version 4, as far as a PUT and a GET with unsigned payload need it.

use anyhow::Result;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

const BLOCK_SIZE_BYTES: usize = 64;
/// What `http::Connection` sends.
const HOST: &str = "localhost";
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

/// HMAC-SHA-256, RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_SIZE_BYTES];
    let shortened = Sha256::digest(key);
    let key = if key.len() > BLOCK_SIZE_BYTES { shortened.as_slice() } else { key };
    for (target, byte) in block.iter_mut().zip(key) {
        *target = *byte;
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// Signs requests of one moment: all that a server of a benchmark sees in its short life.
#[derive(Debug)]
pub(crate) struct Signer {
    access_key: &'static str,
    key: [u8; 32],
    moment: String,
    scope: String,
}

impl Signer {
    pub(crate) fn new(access_key: &'static str, secret_key: &str, region: &str) -> Result<Self> {
        let now = OffsetDateTime::now_utc();
        let day = now.format(format_description!("[year][month][day]"))?;
        let moment = now.format(format_description!("[year][month][day]T[hour][minute][second]Z"))?;
        Ok(Self::at(access_key, secret_key, region, (&day, moment)))
    }

    fn at(access_key: &'static str, secret_key: &str, region: &str, (day, moment): (&str, String)) -> Self {
        let first = format!("AWS4{secret_key}").into_bytes();
        let parts = [day, region, "s3", "aws4_request"];
        let key = parts.iter().fold(first, |key, part| hmac(&key, part.as_bytes()).to_vec());
        let scope = format!("{day}/{region}/s3/aws4_request");
        Self { access_key, key: hmac_key(&key), moment, scope }
    }

    /// The header lines that sign a request without a query.
    pub(crate) fn lines(&self, method: &str, path: &str) -> String {
        let Self { access_key, moment, scope, .. } = self;
        let canonical = format!(
            "{method}\n{path}\n\nhost:{HOST}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{moment}\n\n{SIGNED}\n\
             UNSIGNED-PAYLOAD"
        );
        let hashed = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}");
        let signature = hex::encode(hmac(&self.key, to_sign.as_bytes()));
        format!(
            "x-amz-date: {moment}\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential={access_key}/{scope}, SignedHeaders={SIGNED}, Signature={signature}\r\n"
        )
    }
}

/// The last round of the derivation always has the length of a digest.
fn hmac_key(key: &[u8]) -> [u8; 32] {
    key.try_into().unwrap_or([0; 32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex::encode(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex::encode(long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn a_signature_depends_on_the_path() {
        let signer = Signer::at("key", "secret", "us-east-1", ("20261124", "20261124T000000Z".to_owned()));
        assert_ne!(signer.lines("GET", "/a"), signer.lines("GET", "/b"));
        assert!(signer.lines("GET", "/a").contains("Credential=key/20261124/us-east-1/s3/aws4_request, "));
    }
}
