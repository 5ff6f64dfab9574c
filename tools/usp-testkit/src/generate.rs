//! Contents that are the same on every machine and in every run.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// A stream of numbers without a pattern that a compressor or chunker could use (splitmix64).
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }
}

/// Bytes that do not shrink.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&numbers.draw().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The columns of [`csv`] with the type that a profile should find.
pub const CSV_COLUMNS: [(&str, &str); 8] = [
    ("order_id", "integer"),
    ("ordered_at", "datetime"),
    ("customer", "string"),
    ("country", "string"),
    ("quantity", "integer"),
    ("unit_price", "float"),
    ("paid", "boolean"),
    ("note", "string"),
];

/// A table of orders: a header, then `rows` lines of about 90 bytes. No field holds a line break, so that lines and
/// rows are the same.
pub fn csv(seed: u64, rows: u64) -> String {
    const COUNTRIES: [&str; 6] = ["DE", "FR", "JP", "BR", "US", "IN"];
    const NOTES: [&str; 5] =
        ["", "leave at the door", "\"fragile, handle with care\"", "gift", "\"says \"\"hi\"\"\""];
    let mut numbers = Numbers::new(seed);
    let mut text = CSV_COLUMNS.map(|(name, _)| name).join(",");
    text.push('\n');
    for row in 0..rows {
        let mut pick = |end: u64| numbers.below(end);
        let country = choose(&COUNTRIES, pick(6));
        let note = choose(&NOTES, pick(5));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{},2026-{:02}-{:02}T{:02}:{:02}:{:02}Z,Customer {:05},{country},{},{}.{:02},{},{note}",
            1_000_000 + row,
            1 + pick(12),
            1 + pick(28),
            pick(24),
            pick(60),
            pick(60),
            pick(20_000),
            1 + pick(99),
            1 + pick(500),
            1 + pick(99),
            if pick(4) == 0 { "false" } else { "true" },
        );
    }
    text
}

/// Events, one JSON object per line.
pub fn ndjson(seed: u64, lines: u64) -> String {
    const KINDS: [&str; 4] = ["click", "view", "buy", "leave"];
    let mut numbers = Numbers::new(seed);
    let mut text = String::new();
    for line in 0..lines {
        let kind = choose(&KINDS, numbers.below(4));
        let (user, price) = (numbers.below(1_000), numbers.below(10_000));
        let _ = writeln!(
            text,
            r#"{{"seq":{line},"kind":"{kind}","user":{{"id":{user},"tags":["a","b"]}},"price":{price}.5,"ok":true}}"#
        );
    }
    text
}

/// The text with one more line in its middle.
pub fn with_line_inserted(text: &str, line: &str) -> String {
    let half = text.len() / 2;
    let at = text.get(half..).and_then(|rest| rest.find('\n')).map_or(text.len(), |end| half + end + 1);
    let (before, after) = text.split_at(at);
    format!("{before}{line}\n{after}")
}

fn choose<'a>(from: &[&'a str], index: u64) -> &'a str {
    usize::try_from(index).ok().and_then(|index| from.get(index)).copied().unwrap_or_default()
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The value of `Repr-Digest` (RFC 9530) for SHA-256.
pub fn sha256_header(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        assert_eq!(bytes(1, 1_001), bytes(1, 1_001));
        assert_ne!(bytes(1, 1_001), bytes(2, 1_001));
        assert_eq!(csv(1, 10), csv(1, 10));
    }

    #[test]
    fn a_table_has_one_line_per_row_and_a_header() {
        let text = csv(3, 1_000);
        assert_eq!(text.lines().count(), 1_001);
        assert!(text.len() > 60_000, "{}", text.len());
    }

    #[test]
    fn an_inserted_line_stands_whole_in_the_middle() {
        let text = csv(3, 100);
        let longer = with_line_inserted(&text, "here");
        assert_eq!(longer.len(), text.len() + 5);
        let place = longer.lines().position(|line| line == "here").unwrap();
        assert!((40..60).contains(&place), "{place}");
    }
}
