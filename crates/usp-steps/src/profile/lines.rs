//! The profile of a text.

use serde_json::{Value, json};

use super::add_encoding;
use crate::StepError;
use crate::json::chars_in;
use crate::sniff::language_of;
use crate::table::LineEnding;
use crate::text::TextReader;

/// Shape: words are runs of anything but ASCII blanks; lengths are in characters; a last line counts with or without
/// its ending.
pub(super) fn profile(mut text: TextReader<'_>) -> Result<Value, StepError> {
    let head = text.head()?;
    let line_ending = LineEnding::of(head);
    let language = language_of(head);
    let is_cr = line_ending == LineEnding::Cr;
    let mut counts = Counts { newline: if is_cr { b'\r' } else { b'\n' }, ..Counts::default() };
    loop {
        let piece = text.next()?;
        if piece.is_empty() {
            break;
        }
        counts.add(piece);
    }
    counts.end();
    let mut report = json!({
        "kind": "text",
        "lines": counts.lines,
        "words": counts.words,
        "characters": counts.chars,
        "longest_line": counts.longest_line,
        "blank_lines": counts.blank_lines,
        "line_ending": line_ending.as_str(),
        "language": language.as_ref().map(|(code, _)| code),
        "language_confidence": language.as_ref().map(|(_, confidence)| confidence),
    });
    add_encoding(&mut report, &text);
    Ok(report)
}

#[derive(Debug, Default)]
struct Counts {
    newline: u8,
    lines: u64,
    blank_lines: u64,
    words: u64,
    chars: u64,
    longest_line: u64,
    /// Characters of the current line, its CR aside.
    line_chars: u64,
    has_word: bool,
    is_in_word: bool,
    is_open: bool,
}

impl Counts {
    fn add(&mut self, piece: &[u8]) {
        self.chars += chars_in(piece);
        let newline = self.newline;
        for part in piece.split_inclusive(|&byte| byte == newline) {
            let is_whole = part.last() == Some(&newline);
            let line = if is_whole { part.split_last().map_or(part, |(_, line)| line) } else { part };
            self.line_chars += chars_in(line) - u64::from(line.ends_with(b"\r"));
            self.count_words(line);
            self.is_open = true;
            if is_whole {
                self.end();
            }
        }
    }

    fn count_words(&mut self, line: &[u8]) {
        for byte in line {
            let is_blank = byte.is_ascii_whitespace();
            if !is_blank && !self.is_in_word {
                self.words += 1;
                self.has_word = true;
            }
            self.is_in_word = !is_blank;
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.lines += 1;
            self.blank_lines += u64::from(!self.has_word);
            self.longest_line = self.longest_line.max(self.line_chars);
            (self.line_chars, self.has_word, self.is_in_word) = (0, false, false);
        }
    }
}
