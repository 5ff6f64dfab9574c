//! Splits a delimited text into records, in bounded memory whatever the text.
//!
//! The rules are those of RFC 4180, read the way spreadsheets do: a quote opens a field only as its first character,
//! a doubled quote inside is one, text behind the closing quote belongs to the field, a line ends with LF, CRLF or CR,
//! and empty lines are not records. What is longer than its bound is cut and marked, and reading goes on.

use crate::StepError;
use crate::bounds::{COLUMN_COUNT_MAX, FIELD_BYTES_MAX, RECORD_BYTES_MAX};
use crate::text::TextReader;

/// One record. Valid until the next is read.
#[derive(Debug, Default)]
pub(crate) struct Record {
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Where the open field began in `text`.
    start: usize,
    /// All fields, also those that were not kept.
    pub field_count: usize,
    /// The line it begins on, from 1.
    pub line: u64,
    pub faults: Faults,
}

/// What was wrong with the form of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub text_after_quote: bool,
    pub open_quote: bool,
    pub is_cut: bool,
}

impl Faults {
    /// In words, for the row that has them.
    pub(crate) fn reasons(self) -> impl Iterator<Item = &'static str> {
        [
            (self.open_quote, "a quote is opened and never closed"),
            (self.text_after_quote, "text follows a closing quote"),
            (self.is_cut, "a field is longer than 1 MiB, or the row than 4 MiB; a quote may be left open"),
        ]
        .into_iter()
        .filter_map(|(is_met, reason)| is_met.then_some(reason))
    }
}

impl Record {
    /// The fields that were kept: the first 2,000.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let field = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            field
        })
    }

    pub(crate) fn field(&self, index: usize) -> Option<&[u8]> {
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..*self.ends.get(index)?)
    }

    fn begin(&mut self, line: u64) {
        self.text.clear();
        self.ends.clear();
        self.start = 0;
        self.field_count = 0;
        self.line = line;
        self.faults = Faults::default();
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = if self.field_count >= COLUMN_COUNT_MAX {
            0
        } else {
            let of_field = FIELD_BYTES_MAX.saturating_sub(self.text.len() - self.start);
            of_field.min(RECORD_BYTES_MAX.saturating_sub(self.text.len()))
        };
        if let Some(kept) = bytes.get(..room) {
            self.faults.is_cut |= kept.len() < bytes.len() && self.field_count < COLUMN_COUNT_MAX;
            self.text.extend_from_slice(kept);
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn end_field(&mut self) {
        if self.field_count < COLUMN_COUNT_MAX {
            self.ends.push(self.text.len());
            self.start = self.text.len();
        }
        self.field_count += 1;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first character of a record.
    Between,
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote inside a quoted field: the end of it, or the first of two.
    QuoteSeen,
}

/// Takes text in pieces of any size and says when a record is complete.
#[derive(Debug)]
pub(crate) struct RecordParser {
    delimiter: u8,
    quote: u8,
    state: State,
    line: u64,
    /// The last byte was CR, so that a LF belongs to it.
    after_cr: bool,
    blank_lines: u64,
    record: Record,
}

impl RecordParser {
    pub(crate) fn new(delimiter: u8, quote: u8) -> Self {
        Self {
            delimiter,
            quote,
            state: State::Between,
            line: 1,
            after_cr: false,
            blank_lines: 0,
            record: Record::default(),
        }
    }

    /// Takes text up to the end of a record; returns what is left of it, and whether `record` is complete.
    pub(crate) fn feed<'t>(&mut self, mut text: &'t [u8]) -> (&'t [u8], bool) {
        while let Some((byte, after)) = text.split_first() {
            match self.state {
                State::Between => text = self.between(*byte, text, after),
                State::FieldStart if *byte == self.quote => {
                    self.state = State::Quoted;
                    text = after;
                }
                State::FieldStart | State::Plain => {
                    let (run, rest) = split_before(text, |b| b == self.delimiter || b == b'\n' || b == b'\r');
                    self.record.push(run);
                    self.state = State::Plain;
                    let Some((byte, after)) = rest.split_first() else { return (rest, false) };
                    text = after;
                    if self.end_field(*byte) {
                        return (text, true);
                    }
                }
                State::Quoted => {
                    let (run, rest) = split_before(text, |b| b == self.quote);
                    self.record.push(run);
                    self.line += run.iter().filter(|&&b| b == b'\n').count() as u64;
                    text = rest.get(1..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.state = State::QuoteSeen;
                    }
                }
                State::QuoteSeen => {
                    let ends = *byte == self.delimiter || *byte == b'\n' || *byte == b'\r';
                    if ends {
                        text = after;
                        if self.end_field(*byte) {
                            return (text, true);
                        }
                    } else if *byte == self.quote {
                        self.record.push(&[*byte]);
                        self.state = State::Quoted;
                        text = after;
                    } else {
                        self.record.faults.text_after_quote = true;
                        self.state = State::Plain;
                    }
                }
            }
        }
        (text, false)
    }

    /// The record that the text ends in without a line ending, if any.
    pub(crate) fn finish(&mut self) -> Option<&Record> {
        match self.state {
            State::Between => return None,
            State::Quoted => self.record.faults.open_quote = true,
            State::FieldStart | State::Plain | State::QuoteSeen => {}
        }
        self.record.end_field();
        self.state = State::Between;
        Some(&self.record)
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    fn between<'t>(&mut self, byte: u8, text: &'t [u8], after: &'t [u8]) -> &'t [u8] {
        if byte == b'\n' && std::mem::take(&mut self.after_cr) {
            return after;
        }
        self.after_cr = byte == b'\r';
        if byte == b'\n' || byte == b'\r' {
            self.line += 1;
            self.blank_lines += 1;
            return after;
        }
        self.record.begin(self.line);
        self.state = State::FieldStart;
        text
    }

    /// Ends a field at a delimiter or line ending; returns whether the record ended with it.
    fn end_field(&mut self, byte: u8) -> bool {
        self.record.end_field();
        if byte == self.delimiter {
            self.state = State::FieldStart;
            return false;
        }
        self.after_cr = byte == b'\r';
        self.line += 1;
        self.state = State::Between;
        true
    }
}

fn split_before(text: &[u8], stops: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| stops(byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// The records of a whole content.
pub(crate) struct Records<'a> {
    text: TextReader<'a>,
    /// How much of the current piece has been parsed.
    parsed: usize,
    parser: RecordParser,
    has_finished: bool,
}

impl<'a> Records<'a> {
    /// `text` may have been looked at, but must not have been advanced.
    pub(crate) fn new(text: TextReader<'a>, delimiter: u8, quote: u8) -> Self {
        Self { text, parsed: usize::MAX, parser: RecordParser::new(delimiter, quote), has_finished: false }
    }

    pub(crate) fn next(&mut self) -> Result<Option<&Record>, StepError> {
        loop {
            if let Some(rest) = self.text.piece().get(self.parsed..).filter(|rest| !rest.is_empty()) {
                let length = rest.len();
                let (rest, is_complete) = self.parser.feed(rest);
                self.parsed += length - rest.len();
                if is_complete {
                    return Ok(Some(self.parser.record()));
                }
            }
            if self.has_finished {
                return Ok(None);
            }
            self.parsed = 0;
            if self.text.next()?.is_empty() {
                self.has_finished = true;
                return Ok(self.parser.finish());
            }
        }
    }

    pub(crate) fn text(&self) -> &TextReader<'a> {
        &self.text
    }

    pub(crate) fn into_text(self) -> TextReader<'a> {
        self.text
    }

    pub(crate) fn blank_lines(&self) -> u64 {
        self.parser.blank_lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &[u8], piece_bytes: usize) -> Vec<Vec<Vec<u8>>> {
        let mut parser = RecordParser::new(b',', b'"');
        let mut records = Vec::new();
        let own = |record: &Record| record.fields().map(<[u8]>::to_vec).collect();
        for mut piece in text.chunks(piece_bytes) {
            while !piece.is_empty() {
                let (rest, is_complete) = parser.feed(piece);
                if is_complete {
                    records.push(own(parser.record()));
                }
                piece = rest;
            }
        }
        records.extend(parser.finish().map(own));
        records
    }

    fn by_csv_crate(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        reader.byte_records().map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect()
    }

    proptest! {
        #[test]
        fn records_equal_those_of_the_csv_crate(text in "[a,\"\n\r ]{0,60}", piece_bytes in 1..20_usize) {
            let text = text.as_bytes();
            prop_assert_eq!(split(text, piece_bytes), by_csv_crate(text));
        }
    }

    #[test]
    fn lines_are_counted_through_quotes_and_all_endings() {
        let mut parser = RecordParser::new(b',', b'"');
        let mut lines = Vec::new();
        let mut text: &[u8] = b"a\r\n\"b\n\nb\"\n\nc\rd\n";
        while !text.is_empty() {
            let (rest, is_complete) = parser.feed(text);
            if is_complete {
                lines.push(parser.record().line);
            }
            text = rest;
        }
        assert_eq!(lines, [1, 2, 6, 7]);
        assert_eq!(parser.blank_lines, 1);
    }

    #[test]
    fn an_open_quote_over_many_megabytes_keeps_a_bounded_field() {
        let mut parser = RecordParser::new(b',', b'"');
        parser.feed(b"a,\"");
        for _ in 0..64 {
            assert!(!parser.feed(&[b'x'; 1 << 20]).1);
        }
        let record = parser.finish().unwrap();
        assert_eq!((record.field_count, record.text.len()), (2, FIELD_BYTES_MAX + 1));
        assert!(record.faults.open_quote && record.faults.is_cut);
    }

    #[test]
    fn fields_beyond_the_bound_are_counted_but_not_kept() {
        let mut parser = RecordParser::new(b',', b'"');
        let text = [b",".repeat(1_000_000), b"\n".to_vec()].concat();
        assert!(parser.feed(&text).1);
        assert_eq!((parser.record().field_count, parser.record().ends.len()), (1_000_001, COLUMN_COUNT_MAX));
    }
}
