//! The secrets of one installation: made on first start, kept in one file, each for one purpose.

mod file;

use std::fmt;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use usp_model::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use crate::SecretText;
use crate::secret::{Secret32, equal_in_constant_time};

/// What a node credential begins with; secret scanners look for it.
pub const NODE_CREDENTIAL_PREFIX: &str = "uspn_";

/// Distinct keys for distinct purposes, so that what one of them signs means nothing to another.
#[derive(Clone)]
pub struct SigningKeys {
    kid: String,
    ed25519_pkcs8: Zeroizing<Vec<u8>>,
    ed25519_public: [u8; 32],
    cursor_key: Secret32,
    link_key: Secret32,
    node_secret: Secret32,
}

impl SigningKeys {
    /// Reads the key file at `path`, or makes it with fresh keys when there is none.
    ///
    /// A new file appears whole or not at all: its bytes are written with mode 0600 under another name and synced,
    /// then linked to `path` (which fails if someone else was first: then theirs is read), then the directory is
    /// synced.
    ///
    /// Errors: `InvalidInput` when group or others may touch the file; `Corrupt` when it cannot be understood;
    /// `Unavailable` when the disk refuses; `Internal`.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        match file::read(path)? {
            Some(json) => file::decode(path, &json),
            None => {
                let keys = Self::generate()?;
                match file::create(path, &file::encode(&keys)?)? {
                    file::Created::Here => Ok(keys),
                    file::Created::Elsewhere => match file::read(path)? {
                        Some(json) => file::decode(path, &json),
                        None => Err(Error::new(ErrorKind::Unavailable, "read key file")
                            .about(path.display())
                            .because("the file vanished while it was read; start again")),
                    },
                }
            }
        }
    }

    /// Fresh keys that live in memory only, for tests and throwaway servers.
    ///
    /// Errors: `Internal` when the system has no random source.
    pub fn generate() -> Result<Self> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|source| {
            Error::new(ErrorKind::Internal, "generate signing key").caused_by(source.to_string())
        })?;
        let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
        let secrets = [Secret32::random()?, Secret32::random()?, Secret32::random()?];
        Self::assemble(pkcs8, secrets).ok_or_else(|| Error::new(ErrorKind::Internal, "generate signing key"))
    }

    /// `None` when `pkcs8` is not an Ed25519 key pair.
    fn assemble(pkcs8: Zeroizing<Vec<u8>>, secrets: [Secret32; 3]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).ok()?;
        let ed25519_public = <[u8; 32]>::try_from(pair.public_key().as_ref()).ok()?;
        let kid = blake3::hash(&ed25519_public).to_hex().chars().take(16).collect();
        let [cursor_key, link_key, node_secret] = secrets;
        Some(Self { kid, ed25519_pkcs8: pkcs8, ed25519_public, cursor_key, link_key, node_secret })
    }

    /// Names the token key: 16 hex characters that follow from its public half.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Seals page cursors.
    pub fn cursor_key(&self) -> &[u8; 32] {
        self.cursor_key.as_bytes()
    }

    /// Signs links that work without a credential.
    pub fn link_key(&self) -> &[u8; 32] {
        self.link_key.as_bytes()
    }

    /// What the roles of this installation show each other: `uspn_` and 43 characters of base64url.
    pub fn node_credential(&self) -> SecretText {
        SecretText::new(format!("{NODE_CREDENTIAL_PREFIX}{}", self.node_secret.encode()))
    }

    /// Whether `presented` is this installation's node credential. Takes the same time for every wrong one.
    pub fn is_node_credential(&self, presented: &SecretText) -> bool {
        presented
            .expose()
            .strip_prefix(NODE_CREDENTIAL_PREFIX)
            .and_then(Secret32::decode)
            .is_some_and(|secret| equal_in_constant_time(secret.as_bytes(), self.node_secret.as_bytes()))
    }

    pub(crate) fn ed25519_pkcs8(&self) -> &[u8] {
        &self.ed25519_pkcs8
    }

    pub(crate) fn ed25519_public(&self) -> &[u8; 32] {
        &self.ed25519_public
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_distinct_and_none_is_printed() {
        let keys = SigningKeys::generate().unwrap();
        let secrets = [&keys.cursor_key, &keys.link_key, &keys.node_secret];
        let printed = format!("{keys:?} {:?}", keys.node_credential());
        for (index, secret) in secrets.iter().enumerate() {
            assert!(!printed.contains(&secret.encode()));
            assert!(secrets.iter().skip(index + 1).all(|other| other.as_bytes() != secret.as_bytes()));
        }
        assert!(printed.contains(keys.kid()));
        assert_eq!(keys.kid().len(), 16);
    }

    #[test]
    fn only_the_own_node_credential_is_accepted() {
        let keys = SigningKeys::generate().unwrap();
        assert!(keys.is_node_credential(&keys.node_credential()));
        let other = SigningKeys::generate().unwrap().node_credential();
        let bare = keys.node_secret.encode();
        for text in ["", "uspn_", other.expose(), &bare, &format!("usp_{bare}"), &format!("uspn_{bare}A")] {
            assert!(!keys.is_node_credential(&SecretText::new(text)), "{text}");
        }
    }
}
