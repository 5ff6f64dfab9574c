//! Containers whose directory may lie beyond the head, so that only their beginning can be asked.

use super::Kind;

/// Entries that are looked at.
const ENTRY_COUNT_MAX: usize = 64;
const LOCAL_HEADER_BYTES: usize = 30;

const OFFICE: [(&[u8], &str); 3] = [
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
];

const ZIP_ENTRY: &[u8] = b"PK\x03\x04";
const ZIP_EMPTY: &[u8] = b"PK\x05\x06";
const COMPOUND_FILE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
const EBML: &[u8] = b"\x1a\x45\xdf\xa3";

/// What a container is, told from its head. The extension decides among those that begin alike.
pub(super) fn of(head: &[u8], extension: Option<&str>) -> Option<(String, Kind)> {
    let (media_type, kind) = if head.starts_with(ZIP_ENTRY) {
        return Some(of_zip(head));
    } else if head.starts_with(ZIP_EMPTY) {
        ("application/zip", Kind::Archive)
    } else if head.starts_with(COMPOUND_FILE) {
        let media_type = match extension {
            Some("doc") => "application/msword",
            Some("xls") => "application/vnd.ms-excel",
            Some("ppt") => "application/vnd.ms-powerpoint",
            Some("msg") => "application/vnd.ms-outlook",
            _ => "application/x-ole-storage",
        };
        (media_type, Kind::Document)
    } else if head.starts_with(EBML) {
        let start = head.get(..64).unwrap_or(head);
        let is_webm = start.windows(4).any(|four| four == b"webm");
        (if is_webm { "video/webm" } else { "video/x-matroska" }, Kind::Video)
    } else {
        return None;
    };
    Some((media_type.to_owned(), kind))
}

/// Told from the names of the first entries: office documents, OpenDocument, EPUB, JAR and APK; otherwise plain ZIP.
fn of_zip(head: &[u8]) -> (String, Kind) {
    let entries = entries(head);
    if let Some((name, content)) = entries.first()
        && *name == b"mimetype"
        && let Ok(media_type) = std::str::from_utf8(content)
        && let Ok(media_type) = usp_model::MediaType::parse(media_type)
    {
        return (media_type.as_str().to_owned(), Kind::Document);
    }
    for (prefix, media_type) in OFFICE {
        if entries.iter().any(|(name, _)| name.starts_with(prefix)) {
            return (media_type.to_owned(), Kind::Document);
        }
    }
    let has = |wanted: &[u8]| entries.iter().any(|(name, _)| *name == wanted);
    let media_type = if has(b"AndroidManifest.xml") {
        "application/vnd.android.package-archive"
    } else if has(b"META-INF/MANIFEST.MF") {
        "application/java-archive"
    } else {
        "application/zip"
    };
    (media_type.to_owned(), Kind::Archive)
}

/// Names and stored bytes of the entries in sight, found through their local headers.
fn entries(head: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    let mut rest = head;
    while found.len() < ENTRY_COUNT_MAX {
        let Some(start) = rest.windows(4).position(|four| four == ZIP_ENTRY) else { break };
        let Some(entry) = rest.get(start..) else { break };
        let Some((header, behind)) = entry.split_at_checked(LOCAL_HEADER_BYTES) else { break };
        let size_bytes = u32_at(header, 18);
        let name_bytes = usize::from(u16_at(header, 26));
        let extra_bytes = usize::from(u16_at(header, 28));
        let Some((name, behind)) = behind.split_at_checked(name_bytes) else { break };
        let content = behind.get(extra_bytes..).unwrap_or_default();
        let size_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX).min(content.len());
        let (content, behind) = content.split_at(size_bytes);
        found.push((name, content));
        rest = behind;
    }
    found
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |two| u16::from_le_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}
