//! Which kind of text a text is: JSON, a table, markup, or plain.

use super::{CSV, JSON, NDJSON, PLAIN, TSV};
use crate::json::{Parser, Sink};
use crate::table::dialect::{Fit, best_fit};

/// Types that a browser runs. Bytes must look like it themselves; no extension makes a text one of them.
const ACTIVE: [&str; 6] = [
    "text/html",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/xml",
    "application/xml",
    "multipart/related",
];

/// `signed` is what the signature says; `text` is the decoded head.
pub(super) fn of(text: &[u8], is_whole: bool, signed: &str, extension: Option<&str>) -> String {
    let start = text.trim_ascii_start();
    if let Some(markup) = markup_of(start) {
        return markup.to_owned();
    }
    if let Some(json) = json_of(start, is_whole, extension) {
        return json.to_owned();
    }
    let named = extension.and_then(media_type_of);
    if let Some(table) = table_of(text, is_whole, named) {
        return table.to_owned();
    }
    if let Some(named) = named.filter(|named| may_be_text(named)) {
        return named.to_owned();
    }
    let is_known = signed.starts_with("text/") && signed != PLAIN && !ACTIVE.contains(&signed);
    if is_known { signed.to_owned() } else { PLAIN.to_owned() }
}

/// What the extension stands for, whatever the bytes.
fn media_type_of(extension: &str) -> Option<&'static str> {
    match extension {
        "csv" => Some(CSV),
        "tsv" | "tab" => Some(TSV),
        "json" => Some(JSON),
        "ndjson" | "jsonl" | "ldjson" => Some(NDJSON),
        "md" | "markdown" => Some("text/markdown"),
        "yaml" | "yml" => Some("application/yaml"),
        "toml" => Some("application/toml"),
        "txt" | "text" | "log" => Some(PLAIN),
        _ => mime_guess::from_ext(extension).first_raw(),
    }
}

/// Whether the extension and the bytes agree; `None` for an extension that stands for nothing known.
pub(super) fn extension_matches(extension: &str, media_type: &str) -> Option<bool> {
    let named = media_type_of(extension)?;
    // `xml` and `text/xml`, `x-python` and `python` are the same; so are all names of one extension.
    let essence =
        |name: &str| name.rsplit('/').next().unwrap_or_default().trim_start_matches("x-").to_owned();
    let guesses = mime_guess::from_ext(extension);
    Some(
        essence(named) == essence(media_type)
            || guesses.iter_raw().any(|guess| guess == media_type)
            || (named == PLAIN && media_type.starts_with("text/")),
    )
}

fn may_be_text(named: &str) -> bool {
    const TEXTUAL: [&str; 9] = [
        "application/javascript",
        "application/json5",
        "application/sql",
        "application/toml",
        "application/x-sh",
        "application/x-sql",
        "application/x-tex",
        "application/x-yaml",
        "application/yaml",
    ];
    // A table or JSON would have been recognised as such, save for a table of one column.
    (named.starts_with("text/") || TEXTUAL.contains(&named)) && !ACTIVE.contains(&named) && named != TSV
}

fn markup_of(start: &[u8]) -> Option<&'static str> {
    const WINDOW_BYTES: usize = 1 << 10;
    if !start.starts_with(b"<") {
        return None;
    }
    let window = start.get(..WINDOW_BYTES).unwrap_or(start).to_ascii_lowercase();
    let has = |tag: &[u8]| window.windows(tag.len()).any(|part| part == tag);
    if has(b"<!doctype html") || has(b"<html") || window.starts_with(b"<head") || window.starts_with(b"<body")
    {
        Some("text/html")
    } else if has(b"<svg") {
        Some("image/svg+xml")
    } else if has(b"<script") {
        Some("text/html")
    } else if window.starts_with(b"<?xml") {
        Some("text/xml")
    } else {
        None
    }
}

struct Nothing;
impl Sink for Nothing {}

/// JSON, if it begins with an object or array and holds as far as the head goes. A scalar alone is plain text, unless
/// the extension says otherwise.
fn json_of(start: &[u8], is_whole: bool, extension: Option<&str>) -> Option<&'static str> {
    let named = extension.and_then(media_type_of).filter(|named| [JSON, NDJSON].contains(named));
    if !start.starts_with(b"{") && !start.starts_with(b"[") && named.is_none() {
        return None;
    }
    // Damaged JSON is still meant as JSON if both its first character and its extension say so.
    let meant = named.filter(|_| start.starts_with(b"{") || start.starts_with(b"["));
    let (first, after) = first_value(start);
    match first {
        FirstValue::Broken => meant,
        FirstValue::Open if is_whole => meant,
        // `[1,2` at the end of a head may go on as anything; the extension may know.
        FirstValue::Open => Some(named.unwrap_or(JSON)),
        FirstValue::Complete if after.is_empty() => Some(named.unwrap_or(JSON)),
        FirstValue::Complete => match first_value(after).0 {
            FirstValue::Broken => meant,
            FirstValue::Open if is_whole => meant,
            _ => Some(NDJSON),
        },
    }
}

enum FirstValue {
    Complete,
    /// The text ends inside it.
    Open,
    Broken,
}

/// Reads one value, line by line, so that what follows on another line is told from what follows it.
fn first_value(text: &[u8]) -> (FirstValue, &[u8]) {
    let mut parser = Parser::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        if parser.feed(line, &mut Nothing).is_err() {
            return (FirstValue::Broken, behind);
        }
        rest = behind;
        if parser.is_done() || (rest.is_empty() && parser.finish(&mut Nothing).is_ok()) {
            return (FirstValue::Complete, rest.trim_ascii_start());
        }
    }
    (FirstValue::Open, rest)
}

/// CSV or TSV, if the rows agree. How much they must agree depends on what the extension says.
fn table_of(text: &[u8], is_whole: bool, named: Option<&str>) -> Option<&'static str> {
    let fit = best_fit(text, is_whole)?;
    let of_delimiter = if fit.delimiter == b'\t' && fit.columns > 1 { TSV } else { CSV };
    match named {
        Some(CSV) => Some(CSV),
        Some(TSV) => Some(TSV),
        // Plain text that is a table beyond doubt is called one; a source or a letter never is.
        Some(PLAIN) if is_beyond_doubt(&fit) && !is_prose(text, &fit) => Some(of_delimiter),
        Some(named) if may_be_text(named) => None,
        _ => (is_plausible(&fit) && !is_prose(text, &fit)).then_some(of_delimiter),
    }
}

fn is_plausible(fit: &Fit) -> bool {
    fit.columns > 1 && fit.rows > 1 && fit.first_row_agrees && fit.consistent_rows * 20 >= fit.rows * 19
}

fn is_beyond_doubt(fit: &Fit) -> bool {
    is_plausible(fit) && fit.columns > 2 && fit.rows > 2 && fit.consistent_rows == fit.rows
}

/// Writers put a blank behind a comma; tables rarely do.
fn is_prose(text: &[u8], fit: &Fit) -> bool {
    let pairs = text.windows(2).filter(|pair| pair.first() == Some(&fit.delimiter));
    let (all, blank) = pairs.fold((0_usize, 0_usize), |(all, blank), pair| {
        (all + 1, blank + usize::from(pair.last() == Some(&b' ')))
    });
    fit.delimiter != b'\t' && blank * 2 > all
}
