//! A push parser for JSON texts (RFC 8259).
//!
//! It takes UTF-8 in pieces of any size, checks every byte of the grammar and reports values as they end. Its memory
//! is one bit of nesting per level and one key or number. As in most parsers that build strings, an escaped surrogate
//! must have its partner.

use crate::bounds::{JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, JSON_NUMBER_BYTES_MAX};
use crate::scalar::number;

/// Told what the text contains, in its order.
pub(crate) trait Sink {
    fn begin_object(&mut self) {}
    fn begin_array(&mut self) {}
    /// An object or array ended.
    fn end(&mut self) {}
    /// The key of the value that follows, unescaped, its first KiB.
    fn key(&mut self, _key: &[u8]) {}
    fn text(&mut self, _chars: u64) {}
    /// `None` if it is too large for a double.
    fn number(&mut self, _value: Option<f64>) {}
    fn boolean(&mut self) {}
    fn null(&mut self) {}
}

/// Why a text is not JSON, and where: line and byte of the line, both from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub line: u64,
    pub column: u64,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    /// Behind `[`.
    ValueOrEnd,
    /// Behind `{`.
    KeyOrEnd,
    /// Behind a comma in an object.
    Key,
    Colon,
    /// Behind a value inside an object or array.
    CommaOrEnd,
    /// Behind the outermost value.
    Done,
    Text(Escape),
    Number,
    Literal(&'static [u8]),
}

/// Where inside a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    /// Behind a backslash.
    Slash,
    /// So many digits of `\u` are missing; their value so far.
    Hex(u8, u32),
    /// Behind a high surrogate: `\`, then `u`, must follow.
    PairSlash,
    PairU,
    /// So many digits of the low surrogate are missing.
    PairHex(u8, u32),
}

#[derive(Debug)]
pub(crate) struct Parser {
    state: State,
    /// Whether each open level is an object.
    nesting: Vec<bool>,
    is_key: bool,
    /// The key or number that is being read.
    scratch: Vec<u8>,
    chars: u64,
    high_surrogate: u32,
    line: u64,
    line_start: u64,
    taken: u64,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Value,
            nesting: Vec::new(),
            is_key: false,
            scratch: Vec::new(),
            chars: 0,
            high_surrogate: 0,
            line: 1,
            line_start: 0,
            taken: 0,
        }
    }

    /// Ready for another text, which may be NDJSON's next line.
    pub(crate) fn reset(&mut self) {
        self.state = State::Value;
        self.nesting.clear();
        (self.line, self.line_start, self.taken) = (1, 0, 0);
    }

    /// Whether the outermost value is complete.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether nothing but blanks was met so far.
    pub(crate) fn is_blank(&self) -> bool {
        self.state == State::Value && self.nesting.is_empty()
    }

    pub(crate) fn feed(&mut self, text: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.len();
            let step = match self.state {
                State::Text(Escape::No) => self.in_text(rest, sink),
                State::Text(escape) => self.in_escape(escape, rest),
                State::Number => self.in_number(rest, sink),
                State::Literal(word) => self.in_literal(word, rest, sink),
                _ => self.between(rest, sink),
            };
            rest = step.map_err(|reason| self.fault(reason))?;
            self.taken += (length - rest.len()) as u64;
        }
        Ok(())
    }

    /// The text ends here.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) -> Result<(), Fault> {
        if self.state == State::Number && self.nesting.is_empty() {
            self.end_number(sink).map_err(|reason| self.fault(reason))?;
        }
        if self.is_done() {
            return Ok(());
        }
        Err(self.fault(if self.is_blank() { "the text is empty" } else { "the text ends inside a value" }))
    }

    fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault { line: self.line, column: self.taken - self.line_start + 1, reason: reason.into() }
    }

    /// Blanks and the marks between values; begins a value.
    fn between<'t>(&mut self, text: &'t [u8], sink: &mut impl Sink) -> Result<&'t [u8], &'static str> {
        let Some((byte, after)) = text.split_first() else { return Ok(text) };
        match (byte, self.state) {
            (b' ' | b'\t' | b'\r', _) => {}
            (b'\n', _) => {
                self.line += 1;
                self.line_start = self.taken + 1;
            }
            (b'"', State::Key | State::KeyOrEnd) => self.begin_text(true),
            (b':', State::Colon) => self.state = State::Value,
            (b',', State::CommaOrEnd) => {
                self.state = if self.nesting.last() == Some(&true) { State::Key } else { State::Value };
            }
            (b'}', State::KeyOrEnd | State::CommaOrEnd) => self.end_level(true, sink)?,
            (b']', State::ValueOrEnd | State::CommaOrEnd) => self.end_level(false, sink)?,
            (_, State::Value | State::ValueOrEnd) => return self.begin_value(*byte, text, after, sink),
            (_, State::Key | State::KeyOrEnd) => return Err("a key in double quotes is expected"),
            (_, State::Colon) => return Err("a colon is expected"),
            (_, State::Done) => return Err("nothing may follow the value"),
            _ => return Err("a comma or the end of the object or array is expected"),
        }
        Ok(after)
    }

    fn begin_value<'t>(
        &mut self,
        byte: u8,
        text: &'t [u8],
        after: &'t [u8],
        sink: &mut impl Sink,
    ) -> Result<&'t [u8], &'static str> {
        match byte {
            b'{' | b'[' => {
                if self.nesting.len() >= JSON_DEPTH_MAX {
                    return Err("the value is nested deeper than 1,000 levels");
                }
                let is_object = byte == b'{';
                self.nesting.push(is_object);
                self.state = if is_object { State::KeyOrEnd } else { State::ValueOrEnd };
                if is_object { sink.begin_object() } else { sink.begin_array() }
            }
            b'"' => self.begin_text(false),
            b'-' | b'0'..=b'9' => {
                self.scratch.clear();
                self.state = State::Number;
                return Ok(text);
            }
            b't' => self.state = State::Literal(b"rue"),
            b'f' => self.state = State::Literal(b"alse"),
            b'n' => self.state = State::Literal(b"ull"),
            _ => return Err("a value is expected"),
        }
        Ok(after)
    }

    fn end_level(&mut self, is_object: bool, sink: &mut impl Sink) -> Result<(), &'static str> {
        if self.nesting.pop() != Some(is_object) {
            return Err("the bracket does not match the one that is open");
        }
        sink.end();
        self.after_value();
        Ok(())
    }

    fn after_value(&mut self) {
        self.state = if self.nesting.is_empty() { State::Done } else { State::CommaOrEnd };
    }

    fn begin_text(&mut self, is_key: bool) {
        self.is_key = is_key;
        self.chars = 0;
        self.scratch.clear();
        self.state = State::Text(Escape::No);
    }

    fn in_text<'t>(&mut self, text: &'t [u8], sink: &mut impl Sink) -> Result<&'t [u8], &'static str> {
        let end = text.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(text.len());
        let (run, rest) = text.split_at(end);
        self.chars += chars_in(run);
        self.keep(run);
        match rest.split_first() {
            None => {}
            Some((b'"', after)) => {
                if self.is_key {
                    sink.key(&self.scratch);
                    self.state = State::Colon;
                } else {
                    sink.text(self.chars);
                    self.after_value();
                }
                return Ok(after);
            }
            Some((b'\\', after)) => {
                self.state = State::Text(Escape::Slash);
                return Ok(after);
            }
            Some(_) => {
                self.taken += run.len() as u64;
                return Err("a control character inside a string must be escaped");
            }
        }
        Ok(rest)
    }

    fn in_escape<'t>(&mut self, escape: Escape, text: &'t [u8]) -> Result<&'t [u8], &'static str> {
        let Some((byte, after)) = text.split_first() else { return Ok(text) };
        let next = match escape {
            Escape::No => Escape::No,
            Escape::Slash if *byte == b'u' => Escape::Hex(4, 0),
            Escape::Slash => {
                let plain = unescaped(*byte).ok_or("there is no such escape")?;
                self.chars += 1;
                self.keep(&[plain]);
                Escape::No
            }
            Escape::Hex(missing, value) => {
                let value = value << 4 | hex_digit(*byte)?;
                match (missing, value) {
                    (1, 0xd800..=0xdbff) => {
                        self.high_surrogate = value;
                        Escape::PairSlash
                    }
                    (1, _) => self.keep_char(value)?,
                    _ => Escape::Hex(missing - 1, value),
                }
            }
            Escape::PairSlash if *byte == b'\\' => Escape::PairU,
            Escape::PairU if *byte == b'u' => Escape::PairHex(4, 0),
            Escape::PairSlash | Escape::PairU => return Err(LONE_SURROGATE),
            Escape::PairHex(missing, value) => {
                let value = value << 4 | hex_digit(*byte)?;
                match (missing, value) {
                    (1, 0xdc00..=0xdfff) => {
                        self.keep_char(0x1_0000 + ((self.high_surrogate - 0xd800) << 10) + (value - 0xdc00))?
                    }
                    (1, _) => return Err(LONE_SURROGATE),
                    _ => Escape::PairHex(missing - 1, value),
                }
            }
        };
        self.state = State::Text(next);
        Ok(after)
    }

    fn keep_char(&mut self, value: u32) -> Result<Escape, &'static str> {
        let c = char::from_u32(value).ok_or(LONE_SURROGATE)?;
        self.chars += 1;
        self.keep(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(Escape::No)
    }

    /// Keys are needed as text; of other strings only the length is.
    fn keep(&mut self, bytes: &[u8]) {
        if self.is_key {
            let room = JSON_KEY_BYTES_MAX.saturating_sub(self.scratch.len());
            self.scratch.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    fn in_number<'t>(&mut self, text: &'t [u8], sink: &mut impl Sink) -> Result<&'t [u8], &'static str> {
        let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let end = text.iter().position(|b| !is_part(b)).unwrap_or(text.len());
        let (run, rest) = text.split_at(end);
        if self.scratch.len() + run.len() > JSON_NUMBER_BYTES_MAX {
            return Err("the number is longer than 1,024 characters");
        }
        self.scratch.extend_from_slice(run);
        if !rest.is_empty() {
            self.end_number(sink)?;
        }
        Ok(rest)
    }

    fn end_number(&mut self, sink: &mut impl Sink) -> Result<(), &'static str> {
        if !is_number(&self.scratch) {
            return Err("that is not a number in JSON's form");
        }
        sink.number(number(&self.scratch).map(|number| number.value));
        self.after_value();
        Ok(())
    }

    fn in_literal<'t>(
        &mut self,
        word: &'static [u8],
        text: &'t [u8],
        sink: &mut impl Sink,
    ) -> Result<&'t [u8], &'static str> {
        match (word, text) {
            ([expected, missing @ ..], [byte, after @ ..]) if expected == byte => {
                self.state = State::Literal(missing);
                if missing.is_empty() {
                    // `true` and `false` end alike; `null` does not.
                    if *expected == b'l' {
                        sink.null()
                    } else {
                        sink.boolean()
                    }
                    self.after_value();
                }
                Ok(after)
            }
            _ => Err("only true, false and null may stand without quotes"),
        }
    }
}

const LONE_SURROGATE: &str = "an escaped surrogate must have its partner";

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with(b"0")) {
        return false;
    }
    rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..] => {
            !power.is_empty() && digits(power) == power.len()
        }
        _ => false,
    }
}

fn unescaped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

fn hex_digit(byte: u8) -> Result<u32, &'static str> {
    char::from(byte).to_digit(16).ok_or("four hexadecimal digits are expected")
}

/// Characters that begin in these bytes of UTF-8.
pub(crate) fn chars_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Nothing;
    impl Sink for Nothing {}

    fn parse(text: &[u8], piece_bytes: usize) -> Result<(), Fault> {
        let mut parser = Parser::new();
        for piece in text.chunks(piece_bytes) {
            parser.feed(piece, &mut Nothing)?;
        }
        parser.finish(&mut Nothing)
    }

    /// Reads with serde_json into a type that keeps all of the grammar but no range of numbers.
    fn serde_says(text: &[u8]) -> bool {
        serde_json::from_slice::<serde_json::Value>(text).is_ok()
    }

    fn json_like() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\"a\""),
            Just("\"\\u00e9\\n\""),
            Just("\"\\ud83d\\ude00\""),
            Just("\"\\ud83d\""),
            Just("1"),
            Just("-0"),
            Just("01"),
            Just("1.5e3"),
            Just("1."),
            Just("true"),
            Just("nul"),
            Just("null"),
            Just(" "),
            Just("\n"),
            Just("\"\\x\""),
            Just("é"),
        ];
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn texts_are_json_exactly_when_serde_json_says_so(text in json_like(), piece_bytes in 1..9_usize) {
            prop_assert_eq!(parse(text.as_bytes(), piece_bytes).is_ok(), serde_says(text.as_bytes()), "{}", text);
        }

        #[test]
        fn random_bytes_never_disagree_or_panic(bytes in "[\\[\\]{}\",:0-9a-fn\\\\u. -]{0,24}", n in 1..5_usize) {
            prop_assert_eq!(parse(bytes.as_bytes(), n).is_ok(), serde_says(bytes.as_bytes()), "{}", bytes);
        }
    }

    #[test]
    fn faults_name_their_place() {
        for (text, line, column, reason) in [
            ("{\"a\": 1,\n \"b\" 2}", 2, 6, "a colon is expected"),
            ("[1, 2", 1, 6, "the text ends inside a value"),
            ("", 1, 1, "the text is empty"),
            ("[1]x", 1, 4, "nothing may follow the value"),
            ("[1}", 1, 3, "the bracket does not match the one that is open"),
            ("\"a\tb\"", 1, 3, "a control character inside a string must be escaped"),
        ] {
            let fault = parse(text.as_bytes(), 3).unwrap_err();
            assert_eq!((fault.line, fault.column, fault.reason.as_str()), (line, column, reason), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        let fault = parse("[".repeat(100_000).as_bytes(), 4_096).unwrap_err();
        assert_eq!(fault.reason, "the value is nested deeper than 1,000 levels");
        let text = [vec![b'['; JSON_DEPTH_MAX], vec![b']'; JSON_DEPTH_MAX]].concat();
        assert_eq!(parse(&text, 7), Ok(()));
    }
}
