//! Ids. Outside: 32 random bytes, unguessable, printed as 43 characters of base64url.
//! Inside: integers that name rows and packs and are never reused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Error, ErrorKind, Result};

macro_rules! random_id {
    ($(#[$meta:meta])* $name:ident, $action:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// A fresh id from the operating system's random source.
            ///
            /// Errors: `Internal` when the system has no random source.
            pub fn random() -> Result<Self> {
                random_bytes().map(Self)
            }

            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Reads the 43-character form. Errors: `NotFound`, so that a malformed id and an absent one look alike.
            pub fn parse(text: &str) -> Result<Self> {
                URL_SAFE_NO_PAD
                    .decode(text)
                    .ok()
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| {
                        Error::new(ErrorKind::NotFound, $action).because(concat!(
                            "no such id: a ", stringify!($name), " has 43 characters of base64url"
                        ))
                    })
            }

            fn as_str(&self) -> String {
                URL_SAFE_NO_PAD.encode(self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        checked_text!($name);
    };
}

random_id!(
    /// Names a file for its whole life, across versions.
    FileId,
    "find file"
);
random_id!(
    /// Names one resumable append session.
    UploadId,
    "find upload"
);
random_id!(
    /// Names one rule applied to one version.
    RunId,
    "find run"
);

/// The public half of an API key: 16 hex characters, safe to log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKeyId(String);

impl ApiKeyId {
    pub const CHARS: usize = 16;

    pub fn random() -> Result<Self> {
        let bytes = random_bytes()?;
        let text = hex::encode(bytes.get(..Self::CHARS / 2).unwrap_or_default());
        Ok(Self(text))
    }

    pub fn parse(text: &str) -> Result<Self> {
        if text.len() == Self::CHARS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(ErrorKind::NotFound, "find API key").because("no such API key"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

checked_text!(ApiKeyId);

macro_rules! row_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// A chunk row. Manifests speak of chunks by this number.
    ChunkId
);
row_id!(
    /// A manifest row: the ordered chunks of a version or of an open upload.
    ManifestId
);
row_id!(
    /// A pack. Never reused, also not after the pack is gone.
    PackId
);
row_id!(
    /// A dedup domain: chunks are shared within one and never across two.
    DomainId
);

fn random_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|source| {
        Error::new(ErrorKind::Internal, "draw random bytes").caused_by(source.to_string())
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_print_43_characters_and_read_back() {
        let id = FileId::random().unwrap();
        assert_eq!(id.to_string().len(), 43);
        assert_eq!(FileId::parse(&id.to_string()).unwrap(), id);
        assert_ne!(id, FileId::random().unwrap());
    }

    #[test]
    fn a_malformed_id_is_not_found() {
        for text in ["", "short", "../../../etc/passwd", &"A".repeat(44), &"=".repeat(43)] {
            assert_eq!(FileId::parse(text).unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
}
