//! Which delimiter and quote a table uses, told from its head.

use crate::bounds::{DIALECT_BYTES_MAX, DIALECT_ROW_COUNT_MAX};
use crate::table::RecordParser;
use crate::table::header;

/// In order of preference where two explain the head equally well: whoever chose a rare delimiter did so because
/// commas occur in the values.
const DELIMITERS: [u8; 4] = [b'\t', b';', b'|', b','];
/// Consistency is compared in steps, so that one ragged row does not decide.
const STEPS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub delimiter: u8,
    pub quote: u8,
    pub line_ending: LineEnding,
    pub has_header: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnding {
    None,
    Lf,
    CrLf,
    Cr,
    Mixed,
}

impl LineEnding {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lf => "lf",
            Self::CrLf => "crlf",
            Self::Cr => "cr",
            Self::Mixed => "mixed",
        }
    }

    pub(crate) fn of(text: &[u8]) -> Self {
        // A CR at the cut end of the head may be half of a CRLF.
        let text = text.strip_suffix(b"\r").filter(|rest| rest.contains(&b'\n')).unwrap_or(text);
        let (mut lf, mut crlf, mut cr) = (0_u64, 0_u64, 0_u64);
        let mut before = 0;
        for &byte in text {
            match (before, byte) {
                (b'\r', b'\n') => {
                    crlf += 1;
                    cr -= 1;
                }
                (_, b'\n') => lf += 1,
                (_, b'\r') => cr += 1,
                _ => {}
            }
            before = byte;
        }
        match (lf, crlf, cr) {
            (0, 0, 0) => Self::None,
            (_, 0, 0) => Self::Lf,
            (0, _, 0) => Self::CrLf,
            (0, 0, _) => Self::Cr,
            _ => Self::Mixed,
        }
    }
}

/// What is known beforehand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hints {
    pub delimiter: Option<u8>,
    pub has_header: Option<bool>,
    pub is_tsv: bool,
}

/// How well a head is explained by one delimiter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Fit {
    pub delimiter: u8,
    pub rows: usize,
    /// Fields that most rows have.
    pub columns: usize,
    /// Rows with that many, of `rows`.
    pub consistent_rows: usize,
    pub first_row_agrees: bool,
}

impl Fit {
    fn rank(&self) -> (bool, bool, usize) {
        (self.columns > 1, self.first_row_agrees, self.consistent_rows * STEPS / self.rows.max(1))
    }
}

/// Tells the dialect from the first 64 KiB of decoded text.
pub(crate) fn detect(head: &[u8], is_whole: bool, hints: Hints) -> Dialect {
    let is_whole = is_whole && head.len() <= DIALECT_BYTES_MAX;
    let head = head.get(..DIALECT_BYTES_MAX).unwrap_or(head);
    let quote = quote_of(head);
    let delimiter = hints.delimiter.unwrap_or_else(|| {
        let fallback = if hints.is_tsv { b'\t' } else { b',' };
        if hints.is_tsv && fit(head, is_whole, b'\t', quote).columns > 1 {
            return b'\t';
        }
        best_fit(head, is_whole).filter(|fit| fit.columns > 1).map_or(fallback, |fit| fit.delimiter)
    });
    let rows = sample(head, is_whole, delimiter, quote);
    let has_header = hints.has_header.unwrap_or_else(|| header::is_header(&rows));
    Dialect { delimiter, quote, line_ending: LineEnding::of(head), has_header }
}

/// The delimiter that explains the head best.
pub(crate) fn best_fit(head: &[u8], is_whole: bool) -> Option<Fit> {
    let quote = quote_of(head);
    let fits = DELIMITERS.iter().map(|delimiter| fit(head, is_whole, *delimiter, quote));
    // `max_by_key` takes the last of equals, the preferred delimiter comes first.
    fits.rev().max_by_key(Fit::rank)
}

fn fit(head: &[u8], is_whole: bool, delimiter: u8, quote: u8) -> Fit {
    let counts: Vec<usize> = sample(head, is_whole, delimiter, quote).iter().map(Vec::len).collect();
    let agreeing = |columns: usize| counts.iter().filter(|count| **count == columns).count();
    let columns =
        counts.iter().copied().max_by_key(|columns| (agreeing(*columns), *columns)).unwrap_or_default();
    Fit {
        delimiter,
        rows: counts.len(),
        columns,
        consistent_rows: agreeing(columns),
        first_row_agrees: counts.first() == Some(&columns),
    }
}

/// The first records of the head. One that the head cuts is left out, unless there is no other.
pub(crate) fn sample(head: &[u8], is_whole: bool, delimiter: u8, quote: u8) -> Vec<Vec<Vec<u8>>> {
    let own = |record: &crate::table::Record| record.fields().map(<[u8]>::to_vec).collect();
    let mut parser = RecordParser::new(delimiter, quote);
    let mut rows = Vec::new();
    let mut rest = head;
    while !rest.is_empty() && rows.len() < DIALECT_ROW_COUNT_MAX {
        let (left, is_complete) = parser.feed(rest);
        if is_complete {
            rows.push(own(parser.record()));
        }
        rest = left;
    }
    if rest.is_empty() && (is_whole || rows.is_empty()) {
        rows.extend(parser.finish().map(own));
    }
    rows
}

/// A single quote counts only if it encloses fields and no double quote does.
fn quote_of(head: &[u8]) -> u8 {
    let encloses = |quote: u8| {
        let is_border =
            |byte: Option<&u8>| byte.is_none_or(|b| DELIMITERS.contains(b) || b"\r\n".contains(b));
        let mut opens = usize::from(head.first() == Some(&quote));
        let mut closes = usize::from(head.last() == Some(&quote));
        for pair in head.windows(2) {
            opens += usize::from(pair.last() == Some(&quote) && is_border(pair.first()));
            closes += usize::from(pair.first() == Some(&quote) && is_border(pair.last()));
        }
        opens.min(closes)
    };
    if encloses(b'"') == 0 && encloses(b'\'') >= 2 { b'\'' } else { b'"' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &str) -> (char, char, &'static str, bool) {
        let dialect = detect(head.as_bytes(), true, Hints::default());
        (dialect.delimiter.into(), dialect.quote.into(), dialect.line_ending.as_str(), dialect.has_header)
    }

    #[test]
    fn dialects_are_told_from_their_heads() {
        for (head, dialect) in [
            ("id,name\n1,Ann\n2,Bob\n", (',', '"', "lf", true)),
            ("id;name\r\n1;Ann\r\n2;Bob\r\n", (';', '"', "crlf", true)),
            ("id\tname\n1\tAnn, A.\n2\tBob\n", ('\t', '"', "lf", true)),
            ("id|name\r1|Ann\r2|Bob\r", ('|', '"', "cr", true)),
            ("a;b\n1,5;2,5\n3,5;4,5\n", (';', '"', "lf", true)),
            ("title,genres\nHeat,Crime|Drama\nBig,Comedy|Family|Fantasy\n", (',', '"', "lf", true)),
            ("\"last, first\",age\n\"Lovelace, Ada\",36\n\"Hopper, Grace\",85\n", (',', '"', "lf", true)),
            ("'id','name'\n'1','O, K'\n'2','B'\n", (',', '\'', "lf", true)),
            ("1,2,3\n4,5,6\n7,8,9\n", (',', '"', "lf", false)),
            ("Ann,36\nBob,85\n", (',', '"', "lf", false)),
            ("name\nAnn\nBob\n", (',', '"', "lf", true)),
            ("name,city\nAnn,Oslo\nBob,Rome\n", (',', '"', "lf", true)),
            ("id,name", (',', '"', "none", true)),
            ("a,b\n1,2\r\n3,4\n", (',', '"', "mixed", true)),
            ("", (',', '"', "none", false)),
        ] {
            assert_eq!(told(head), dialect, "{head:?}");
        }
    }

    #[test]
    fn a_record_that_the_head_cuts_does_not_count() {
        let rows = sample(b"a,b\n1,2\n3", false, b',', b'"');
        assert_eq!(rows.len(), 2);
    }
}
