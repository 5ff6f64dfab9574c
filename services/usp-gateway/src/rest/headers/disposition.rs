//! `Content-Disposition`: how a browser treats content, after RFC 6266 and RFC 8187.

use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use usp_model::MediaType;
use usp_model::error::is_bidi_control;

/// Longer names are cut, so that no file system refuses them.
const FILE_NAME_BYTES_MAX: usize = 255;

/// Types that a browser may show at once: none of them can carry a script. All others are downloads, because user
/// content shares its origin with the API.
const INLINE: [&str; 9] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "audio/mpeg",
    "text/plain",
];

/// `attr-char` of RFC 8187 stays as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header for a content of a type that was decided from its bytes.
///
/// Shape: a quoted ASCII name, and a `filename*` beside it when the name holds more than that.
pub(crate) fn content_disposition(media_type: &MediaType, file_name: &str) -> HeaderValue {
    let kind = if INLINE.contains(&media_type.as_str()) { "inline" } else { "attachment" };
    let name = cut(&file_name.chars().map(harmless).collect::<String>()).to_owned();
    let plain: String = name.chars().map(quotable).collect();
    let text = if plain == name {
        format!("{kind}; filename=\"{plain}\"")
    } else {
        format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, ESCAPED))
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// Nothing that ends a line, walks a path or reorders text.
fn harmless(c: char) -> char {
    if c.is_control() || is_bidi_control(c) || c == '/' || c == '\\' { '_' } else { c }
}

/// What may stand between quotes without an escape. `%` may not: some browsers decode it there.
fn quotable(c: char) -> char {
    if (c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%')) || c == ' ' { c } else { '_' }
}

/// The longest allowed end that begins at a character: the extension is what counts.
fn cut(name: &str) -> &str {
    let mut start = name.len().saturating_sub(FILE_NAME_BYTES_MAX);
    while !name.is_char_boundary(start) {
        start += 1;
    }
    name.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(media_type: &str, name: &str) -> String {
        let value = content_disposition(&MediaType::parse(media_type).unwrap(), name);
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn only_types_without_scripts_are_shown() {
        for media_type in INLINE {
            assert_eq!(header(media_type, "a"), "inline; filename=\"a\"");
        }
        for media_type in ["text/html", "image/svg+xml", "text/xml", "application/pdf", "text/javascript"] {
            assert_eq!(header(media_type, "a"), "attachment; filename=\"a\"");
        }
    }

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let table = [
            ("a\r\nSet-Cookie: x=1", "attachment; filename=\"a__Set-Cookie: x=1\""),
            (
                "a\"; filename=\"b.exe",
                "attachment; filename=\"a_; filename=_b.exe\"; filename*=UTF-8''a%22%3B%20filename%3D%22b.exe",
            ),
            ("..\\..\\boot.ini", "attachment; filename=\".._.._boot.ini\""),
            ("a%22b", "attachment; filename=\"a_22b\"; filename*=UTF-8''a%2522b"),
            ("gpj\u{202e}.exe", "attachment; filename=\"gpj_.exe\""),
            ("ä 日.csv", "attachment; filename=\"_ _.csv\"; filename*=UTF-8''%C3%A4%20%E6%97%A5.csv"),
        ];
        for (name, expected) in table {
            assert_eq!(header("text/csv", name), expected, "{name:?}");
        }
    }

    #[test]
    fn long_names_lose_their_beginning() {
        let long = format!("{}.csv", "ä".repeat(300));
        let text = header("text/csv", &long);
        let (_, plain) = text.split_once("filename=\"").unwrap();
        let (plain, _) = plain.split_once('"').unwrap();
        assert!(plain.ends_with(".csv") && plain.len() <= FILE_NAME_BYTES_MAX, "{plain}");
    }
}
