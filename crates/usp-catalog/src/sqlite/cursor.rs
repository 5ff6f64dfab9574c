//! Cursors: where the next page of a list begins, for this very query and no other.
//!
//! base64url of: format byte, 8 bytes that name the query (FNV-1a of its filters and order), the place.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use usp_model::{Error, ErrorKind};

const FORMAT: u8 = 1;

/// Names a query, so that a cursor of one list is refused by another. Not a secret and not a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of(query: &str) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        Self(query.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
    }

    pub(super) fn cursor_at(self, place: &[u8]) -> String {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.0.to_le_bytes());
        bytes.extend_from_slice(place);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place of a cursor that `cursor_at` made. Errors: `InvalidInput`.
    pub(super) fn place_of(self, cursor: &str) -> Result<Vec<u8>, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|source| refused().caused_by(source))?;
        let (&format, rest) = bytes.split_first().ok_or_else(refused)?;
        let (name, place) = rest.split_first_chunk::<8>().ok_or_else(refused)?;
        if format != FORMAT || u64::from_le_bytes(*name) != self.0 {
            return Err(refused());
        }
        Ok(place.to_vec())
    }
}

/// A cursor that this query did not give out.
pub(super) fn refused() -> Error {
    Error::new(ErrorKind::InvalidInput, "continue list").because(
        "the cursor belongs to another query; repeat the query that gave it, or begin without a cursor",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_query_only() {
        let (mine, other) = (Fingerprint::of("a"), Fingerprint::of("b"));
        let cursor = mine.cursor_at(b"place");
        assert_eq!(mine.place_of(&cursor).unwrap(), b"place");
        assert_eq!(other.place_of(&cursor).unwrap_err().kind(), ErrorKind::InvalidInput);
        for text in ["", "AQ", "!", "AQAAAAAAAAAA"] {
            assert_eq!(mine.place_of(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
