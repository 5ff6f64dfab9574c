//! Digests: of chunks (keyed BLAKE3, internal) and of whole files (the algorithms that clients know).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, ErrorKind, Result};

/// BLAKE3 of a chunk's plain bytes, keyed per dedup domain. 32 bytes, printed as 64 hex characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn parse(text: &str) -> Result<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|source| {
            Error::new(ErrorKind::InvalidInput, "read digest")
                .because("a digest has 64 hex characters")
                .caused_by(source)
        })?;
        Ok(Self(bytes))
    }

    fn as_str(&self) -> String {
        hex::encode(self.0)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}

checked_text!(Digest);

/// The secret that keys the digests of one dedup domain, so that a digest proves nothing in another.
#[derive(Clone, PartialEq, Eq)]
pub struct DomainKey([u8; 32]);

impl DomainKey {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for DomainKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DomainKey(secret)")
    }
}

words! {
    /// A digest of whole content that clients may send or ask for.
    pub enum DigestAlgorithm {
        Sha256 = "sha256",
        Sha512 = "sha512",
        Blake3 = "blake3",
        Md5 = "md5",
        Crc32c = "crc32c",
    }
}

impl DigestAlgorithm {
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
            Self::Crc32c => 4,
        }
    }

    /// The name in `Repr-Digest` and `Content-Digest` (RFC 9530), with usp's `blake3` beside the registered ones.
    pub fn http_name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
            Self::Blake3 => "blake3",
            Self::Md5 => "md5",
            Self::Crc32c => "crc32c",
        }
    }
}

/// One digest of whole content. Invariant: as many bytes as its algorithm makes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContentDigest {
    algorithm: DigestAlgorithm,
    bytes: Vec<u8>,
}

impl ContentDigest {
    pub fn new(algorithm: DigestAlgorithm, bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() == algorithm.size_bytes() {
            Ok(Self { algorithm, bytes })
        } else {
            Err(Error::new(ErrorKind::InvalidInput, "read digest").because(format!(
                "a {algorithm} digest has {} bytes, not {}",
                algorithm.size_bytes(),
                bytes.len()
            )))
        }
    }

    pub fn from_hex(algorithm: DigestAlgorithm, text: &str) -> Result<Self> {
        let bytes = hex::decode(text).map_err(|source| {
            Error::new(ErrorKind::InvalidInput, "read digest")
                .because("a digest in hex is expected")
                .caused_by(source)
        })?;
        Self::new(algorithm, bytes)
    }

    pub fn from_base64(algorithm: DigestAlgorithm, text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text).map_err(|source| {
            Error::new(ErrorKind::InvalidInput, "read digest")
                .because("a digest in base64 is expected")
                .caused_by(source)
        })?;
        Self::new(algorithm, bytes)
    }

    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }
}

/// The digests known of one content, as algorithm → lowercase hex.
pub type ContentDigests = BTreeMap<DigestAlgorithm, String>;
