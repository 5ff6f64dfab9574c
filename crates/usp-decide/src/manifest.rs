//! How long a content lives: its manifest counts who refers to it.
//!
//! A version, a copy, a restored version and an open upload each hold one reference. What shares a content takes one more
//! and touches no chunk, whatever the size; the last one to let go takes the manifest along, and collection finds its
//! chunks. A manifest that is appended to has one reference only: an open upload's.

use usp_model::{Error, ErrorKind, ManifestId, Result};

/// What is left when one who refers lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// So many still refer to it.
    Kept { refs: u32 },
    /// Nobody does: the manifest goes with its segments.
    Gone,
}

/// Lets go of one reference.
pub fn release(refs: u32) -> Released {
    match refs.saturating_sub(1) {
        0 => Released::Gone,
        refs => Released::Kept { refs },
    }
}

/// Takes one more reference to a content that stands. Errors: `NotFound` when it does not, or its last reference went.
pub fn share(manifest: ManifestId, refs: Option<u32>) -> Result<u32> {
    match refs {
        Some(refs @ 1..) => refs.checked_add(1).ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "share content")
                .about(manifest)
                .because("too many share it already")
        }),
        Some(0) | None => Err(Error::new(ErrorKind::NotFound, "share content")
            .about(manifest)
            .because("the content was deleted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_let_go_takes_the_content_along() {
        let table = [
            (0, Released::Gone),
            (1, Released::Gone),
            (2, Released::Kept { refs: 1 }),
            (9, Released::Kept { refs: 8 }),
        ];
        for (refs, expected) in table {
            assert_eq!(release(refs), expected, "{refs}");
        }
    }

    #[test]
    fn only_what_stands_is_shared() {
        assert_eq!(share(ManifestId(1), Some(1)).unwrap(), 2);
        assert_eq!(share(ManifestId(1), None).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(share(ManifestId(1), Some(0)).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(share(ManifestId(1), Some(u32::MAX)).unwrap_err().kind(), ErrorKind::Conflict);
    }
}
