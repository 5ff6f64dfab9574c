//! What a content is, decided from its first bytes; what the client said and the file's name only break ties.

use file_format::FileFormat;
use usp_model::{FileKey, MediaType};

/// The media type that rules and serving rely on.
///
/// Shape: `head` holds up to the first 8 KiB. Bytes with a signature are what the signature says. Text is what its
/// markup says, else what the name or the client says as long as that is a kind of text, else plain text or JSON.
pub(crate) fn media_type_of(head: &[u8], declared: Option<&MediaType>, key: &FileKey) -> MediaType {
    if head.is_empty() {
        return named_text(key).or_else(|| declared_text(declared)).unwrap_or_else(MediaType::octet_stream);
    }
    if let Some(text) = leading_text(head) {
        return markup(&text).or_else(|| named_text(key)).or_else(|| declared_text(declared)).unwrap_or_else(
            || media_type(if looks_like_json(&text) { "application/json" } else { "text/plain" }),
        );
    }
    match FileFormat::from_bytes(head) {
        FileFormat::ArbitraryBinaryData => MediaType::octet_stream(),
        format => media_type(format.media_type()),
    }
}

/// The head as text in lower case, or `None` for bytes that are none.
fn leading_text(head: &[u8]) -> Option<String> {
    let utf16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    if utf16 {
        let is_little = head.starts_with(&[0xff, 0xfe]);
        let units = head.chunks_exact(2).map(|pair| match pair {
            [a, b] if is_little => u16::from_le_bytes([*a, *b]),
            [a, b] => u16::from_be_bytes([*a, *b]),
            _ => 0,
        });
        return Some(
            char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect::<String>().to_lowercase(),
        );
    }
    let is_control = |b: &u8| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b)) || *b == 0x7f;
    if head.iter().any(is_control) {
        return None;
    }
    match std::str::from_utf8(head) {
        Ok(text) => Some(text.to_lowercase()),
        // The head may end inside a character.
        Err(error) if error.error_len().is_none() => {
            Some(String::from_utf8_lossy(head.get(..error.valid_up_to()).unwrap_or_default()).to_lowercase())
        }
        // An 8-bit text has no control characters and hardly any unknown signature; a signature wins.
        Err(_) if FileFormat::from_bytes(head) == FileFormat::ArbitraryBinaryData && mostly_ascii(head) => {
            Some(String::from_utf8_lossy(head).to_lowercase())
        }
        Err(_) => None,
    }
}

fn mostly_ascii(head: &[u8]) -> bool {
    head.iter().filter(|b| b.is_ascii()).count() * 4 >= head.len() * 3
}

/// Kinds of text that a browser would run: what the bytes say beats every name.
fn markup(text: &str) -> Option<MediaType> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let is_html = ["<!doctype html", "<html", "<head", "<body", "<script", "<iframe"]
        .iter()
        .any(|tag| start.starts_with(tag));
    if is_html {
        Some(media_type("text/html"))
    } else if start.starts_with("<svg")
        || (start.starts_with("<?xml") || start.starts_with("<!--")) && start.contains("<svg")
    {
        Some(media_type("image/svg+xml"))
    } else if start.starts_with("<?xml") {
        Some(media_type(if start.contains("<html") { "application/xhtml+xml" } else { "application/xml" }))
    } else if start.starts_with("{\\rtf") {
        Some(media_type("application/rtf"))
    } else if start.starts_with("%pdf-") {
        Some(media_type("application/pdf"))
    } else {
        None
    }
}

fn named_text(key: &FileKey) -> Option<MediaType> {
    let extension = key.extension()?;
    let known = match extension.as_str() {
        "csv" => "text/csv",
        "tsv" | "tab" => "text/tab-separated-values",
        "json" | "geojson" => "application/json",
        "ndjson" | "jsonl" => "application/x-ndjson",
        "txt" | "log" | "text" => "text/plain",
        "md" | "markdown" => "text/markdown",
        "yaml" | "yml" => "application/yaml",
        other => mime_guess::from_ext(other).first_raw()?,
    };
    Some(media_type(known)).filter(is_text)
}

fn declared_text(declared: Option<&MediaType>) -> Option<MediaType> {
    declared.filter(|media_type| is_text(media_type)).cloned()
}

fn is_text(media_type: &MediaType) -> bool {
    let name = media_type.as_str();
    name.starts_with("text/")
        || name.ends_with("+json")
        || name.ends_with("+xml")
        || matches!(
            name,
            "application/json"
                | "application/x-ndjson"
                | "application/xml"
                | "application/yaml"
                | "application/toml"
                | "application/javascript"
                | "application/sql"
                | "application/x-sh"
        )
}

fn looks_like_json(text: &str) -> bool {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let mut next = start.chars().filter(|c| !c.is_whitespace());
    match (next.next(), next.next()) {
        (Some('{'), Some('"' | '}')) => true,
        (Some('['), Some(c)) => matches!(c, '{' | '[' | ']' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n'),
        _ => false,
    }
}

fn media_type(name: &str) -> MediaType {
    MediaType::parse(name).unwrap_or_else(|_| MediaType::octet_stream())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(head: &[u8], declared: Option<&str>, key: &str) -> String {
        let declared = declared.map(|text| MediaType::parse(text).unwrap());
        media_type_of(head, declared.as_ref(), &FileKey::parse(key).unwrap()).to_string()
    }

    #[test]
    fn bytes_with_a_signature_are_what_they_are_whatever_the_name_says() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";
        assert_eq!(seen(png, Some("text/csv"), "a.csv"), "image/png");
        assert_eq!(seen(b"%PDF-1.7\n1 0 obj", None, "a.txt"), "application/pdf");
        assert_eq!(seen(&[0, 1, 2, 3, 255], Some("text/plain"), "a.txt"), "application/octet-stream");
    }

    #[test]
    fn text_is_what_the_name_or_the_client_says_as_long_as_that_is_text() {
        assert_eq!(seen(b"a,b\n1,2\n", None, "x.csv"), "text/csv");
        assert_eq!(seen(b"a,b\n1,2\n", Some("text/csv"), "x"), "text/csv");
        assert_eq!(seen(b"a,b\n1,2\n", Some("image/png"), "x.png"), "text/plain");
        assert_eq!(seen(b"{\"a\":1}", None, "x"), "application/json");
        assert_eq!(seen(b"{\"a\":1}\n{\"a\":2}\n", None, "x.ndjson"), "application/x-ndjson");
        assert_eq!(seen("h\u{e4}\u{df}lich".as_bytes(), None, "x"), "text/plain");
        assert_eq!(seen(b"caf\xe9 au lait, quatre\n", None, "x.csv"), "text/csv");
        assert_eq!(seen(b"", None, "empty.csv"), "text/csv");
        assert_eq!(seen(b"", None, "empty"), "application/octet-stream");
    }

    #[test]
    fn markup_that_a_browser_would_run_never_passes_as_something_harmless() {
        assert_eq!(seen(b"  <!DOCTYPE HTML><p>", Some("text/plain"), "a.txt"), "text/html");
        assert_eq!(seen(b"<script>1</script>", Some("text/csv"), "a.csv"), "text/html");
        assert_eq!(seen(b"<?xml version='1.0'?><svg onload='1'>", None, "a.txt"), "image/svg+xml");
        assert_eq!(seen(b"\xff\xfe<\0h\0t\0m\0l\0>\0", None, "a.txt"), "text/html");
    }
}
