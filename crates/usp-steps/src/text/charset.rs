//! Which charset bytes are in, and whether they are text at all.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// A charset that has been decided on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charset {
    pub encoding: &'static Encoding,
}

impl Charset {
    pub(crate) fn of(encoding: &'static Encoding) -> Self {
        Self { encoding }
    }

    /// Decides from bytes that are not all ASCII. UTF-8 is recognised by its form; whatever else needs statistics.
    pub(crate) fn guess(bytes: &[u8]) -> Self {
        if is_utf8_so_far(bytes) {
            return Self::of(UTF_8);
        }
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(bytes, false);
        let guessed = detector.guess(None, Utf8Detection::Deny);
        // Mostly well-formed UTF-8 with some damage stays UTF-8: a wrong charset would garble all of it.
        if damaged_share(bytes) < 0.05 { Self::of(UTF_8) } else { Self::of(guessed) }
    }
}

/// The encoding that a byte order mark names.
pub(crate) fn bom_of(head: &[u8]) -> Option<&'static Encoding> {
    // FF FE 00 00 would be UTF-32, which nobody decodes; its NUL bytes make it binary.
    if head.starts_with(&[0xff, 0xfe, 0, 0]) {
        return None;
    }
    Encoding::for_bom(head).map(|(encoding, _)| encoding)
}

/// UTF-16 without a mark: in most scripts' everyday text one of the two bytes of a unit is often zero.
pub(crate) fn utf16_of(head: &[u8]) -> Option<&'static Encoding> {
    const SAMPLE_BYTES_MAX: usize = 4 << 10;
    let (units, _) = head.get(..SAMPLE_BYTES_MAX).unwrap_or(head).as_chunks::<2>();
    let zeros = |high: bool| units.iter().filter(|[a, b]| if high { *a == 0 } else { *b == 0 }).count();
    let (big, little) = (zeros(true), zeros(false));
    let many = units.len() * 2 / 5;
    let few = units.len() / 20;
    if units.len() < 2 {
        None
    } else if little > many && big <= few {
        Some(UTF_16LE)
    } else if big > many && little <= few {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Whether bytes can be shown as text in some charset: no NUL and hardly a control character.
pub(crate) fn is_text(head: &[u8]) -> bool {
    if bom_of(head).is_some() || utf16_of(head).is_some() {
        return true;
    }
    let is_control = |byte: &&u8| (**byte < 0x20 && !b"\t\n\r\x0c\x08\x1b".contains(byte)) || **byte == 0x7f;
    !head.contains(&0) && head.iter().filter(is_control).count() * 64 <= head.len()
}

/// Whether the bytes are UTF-8, leaving aside a last character that the head may have cut.
pub(crate) fn is_utf8_so_far(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

/// The share of malformed sequences among all that are not ASCII.
fn damaged_share(bytes: &[u8]) -> f64 {
    let (mut good, mut bad) = (0_u64, 0_u64);
    for piece in bytes.utf8_chunks() {
        good += piece.valid().chars().filter(|c| !c.is_ascii()).count() as u64;
        bad += u64::from(!piece.invalid().is_empty());
    }
    bad as f64 / (good + bad).max(1) as f64
}
