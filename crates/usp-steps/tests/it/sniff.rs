use serde_json::{Value, json};

use crate::stand::report;

fn sniff(key: &str, content: &[u8]) -> Value {
    report("sniff", json!({}), key, content)
}

#[test]
fn media_types_are_told_from_bytes_and_only_then_from_the_extension() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    for (key, content, media_type, kind) in [
        ("a.csv", &b"id,name\n1,Ann\n2,Bob\n"[..], "text/csv", "text"),
        ("a", b"id,name\n1,Ann\n2,Bob\n", "text/csv", "text"),
        ("a", b"id\tname\n1\tAnn\n2\tBob\n", "text/tab-separated-values", "text"),
        ("one-column.csv", b"name\nAnn\nBob\n", "text/csv", "text"),
        ("a.json", b"{\"a\": [1, 2]}\n", "application/json", "text"),
        ("a", b"[1, 2]", "application/json", "text"),
        ("a", b"{\"a\": 1}\n{\"a\": 2}\n", "application/x-ndjson", "text"),
        ("a.jsonl", b"{\"a\": 1}\n", "application/x-ndjson", "text"),
        ("broken.json", b"{\"a\": 1,,}\n", "application/json", "text"),
        ("a.txt", b"Hello, world.\nHow are you?\n", "text/plain", "text"),
        ("letter", b"Dear Ann, hello\nyours, Bob\n", "text/plain", "text"),
        ("a.md", b"# Title\n\nSome text.\n", "text/markdown", "text"),
        ("a.css", b"a, b { x: y }\nc, d { x: y }\n", "text/css", "text"),
        ("a.txt", b"<!DOCTYPE html><html><body>x</body></html>", "text/html", "text"),
        ("a.html", b"just words\n", "text/plain", "text"),
        ("a.svg", b"just words\n", "text/plain", "text"),
        ("a", b"<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>", "image/svg+xml", "image"),
        ("a.csv", png, "image/png", "image"),
        ("BM", b"BMW,Audi\n1,2\n3,4\n", "text/csv", "text"),
        ("a.pdf", b"%PDF-1.7\n1 0 obj\n", "application/pdf", "document"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "application/msword", "document"),
        ("a.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "application/gzip", "archive"),
        ("a.bin", b"\0\x01\x02\x03\xff\xfe\xfd", "application/octet-stream", "binary"),
        ("a.csv", b"", "application/octet-stream", "empty"),
    ] {
        let report = sniff(key, content);
        assert_eq!(
            (&report["media_type"], &report["kind"]),
            (&json!(media_type), &json!(kind)),
            "{key}: {report}"
        );
    }
}

#[test]
fn office_documents_are_told_from_plain_zips() {
    let entry = |name: &str, content: &[u8]| {
        let mut bytes = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes.extend(content);
        bytes
    };
    let docx = [entry("[Content_Types].xml", b"<x/>"), entry("word/document.xml", b"<y/>")].concat();
    let media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    assert_eq!(sniff("a.zip", &docx)["media_type"], media_type);
    let epub = entry("mimetype", b"application/epub+zip");
    assert_eq!(sniff("a", &epub)["media_type"], "application/epub+zip");
    let zip = sniff("a.zip", &entry("notes.txt", b"hello"));
    assert_eq!((&zip["media_type"], &zip["kind"]), (&json!("application/zip"), &json!("archive")));
}

#[test]
fn charset_bom_and_language_are_told_of_text() {
    let german =
        "Der schnelle braune Fuchs springt über den faulen Hund, und alle Vögel schauen zu. ".repeat(4);
    let report = sniff("a.txt", german.as_bytes());
    assert_eq!(
        (&report["charset"], &report["bom"], &report["language"]),
        (&json!("utf-8"), &json!(false), &json!("deu"))
    );
    let utf16: Vec<u8> = format!("\u{feff}{german}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let report = sniff("a.txt", &utf16);
    assert_eq!(
        (&report["charset"], &report["bom"], &report["kind"]),
        (&json!("utf-16le"), &json!(true), &json!("text"))
    );
    let latin: Vec<u8> = german.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(sniff("a.txt", &latin)["charset"], "windows-1252");
    assert_eq!(sniff("a.bin", b"\0\0\0\x01")["charset"], Value::Null);
}

#[test]
fn the_extension_is_compared_with_the_bytes() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";
    assert_eq!(sniff("a.png", png)["extension_matches"], true);
    assert_eq!(sniff("a.csv", png)["extension_matches"], false);
    assert_eq!(sniff("dir.d/a", png)["extension_matches"], Value::Null);
    assert_eq!(sniff("a.csv", b"a,b\n1,2\n")["extension_matches"], true);
}
