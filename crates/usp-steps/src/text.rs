//! Turns content of any charset into UTF-8, piece by piece.

pub(crate) mod charset;

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use crate::bounds::PIECE_BYTES;
use crate::source::Source;
use crate::{Progress, StepError};
use charset::Charset;

/// No charset of `encoding_rs` makes more than three bytes of UTF-8 from one of its own, save for what the decoder
/// holds back between pieces.
const TEXT_BYTES_MAX: usize = PIECE_BYTES * 3 + 64;
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Hands out the content as UTF-8, in pieces of whole characters.
///
/// While all bytes are ASCII nothing is decided: the first piece with another byte is what the charset is told by.
/// Malformed sequences become U+FFFD and are counted.
pub(crate) struct TextReader<'a> {
    source: Source<'a>,
    charset: Option<Charset>,
    has_bom: bool,
    decoder: Decoder,
    text: Vec<u8>,
    filled: usize,
    held: bool,
    raw_bytes: u64,
    tally: Tally,
}

/// How the charset of content is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadAs {
    /// From its bytes, in the end by statistics.
    Guessed,
    /// UTF-16 if its first bytes show that, UTF-8 otherwise, whatever that makes of its bytes: JSON has no other
    /// charsets (RFC 8259, section 8.1), so that other bytes are damage.
    Unicode,
    /// Somebody said so, whatever the bytes look like.
    Declared(&'static Encoding),
}

/// What was met on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Malformed sequences that became U+FFFD.
    pub replaced: u64,
    /// Where in the content the first of them began.
    pub first_replaced_at: Option<u64>,
    pub nul_bytes: u64,
}

impl<'a> TextReader<'a> {
    pub(crate) fn open(mut source: Source<'a>, reading: ReadAs) -> Result<Self, StepError> {
        let head = source.head()?;
        let bom = charset::bom_of(head);
        let evident = || bom.or_else(|| charset::utf16_of(head));
        let charset = match reading {
            ReadAs::Guessed => evident(),
            ReadAs::Unicode => evident().or(Some(UTF_8)),
            ReadAs::Declared(encoding) => Some(encoding),
        };
        let charset = charset.map(Charset::of);
        let encoding = charset.map_or(UTF_8, |charset| charset.encoding);
        Ok(Self {
            source,
            charset,
            has_bom: bom == Some(encoding),
            decoder: encoding.new_decoder_with_bom_removal(),
            text: vec![0; TEXT_BYTES_MAX],
            filled: 0,
            held: false,
            raw_bytes: 0,
            tally: Tally::default(),
        })
    }

    /// The first piece, which `next` will hand out again. Only for use before the first `next`.
    pub(crate) fn head(&mut self) -> Result<&[u8], StepError> {
        if !self.held {
            self.decode_piece()?;
            self.held = true;
        }
        Ok(self.piece())
    }

    /// The next piece, empty only at the end.
    pub(crate) fn next(&mut self) -> Result<&[u8], StepError> {
        if !self.held {
            self.decode_piece()?;
        }
        self.held = false;
        Ok(self.piece())
    }

    /// The piece that `next` handed out last.
    pub(crate) fn piece(&self) -> &[u8] {
        self.text.get(..self.filled).unwrap_or_default()
    }

    /// Whether nothing follows the piece handed out last.
    pub(crate) fn has_ended(&self) -> bool {
        self.source.has_ended()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn has_bom(&self) -> bool {
        self.has_bom
    }

    /// The charset in lower case, as web standards name it. Pure ASCII counts as UTF-8.
    pub(crate) fn charset_name(&self) -> String {
        self.charset.map_or(UTF_8, |charset| charset.encoding).name().to_ascii_lowercase()
    }

    fn decode_piece(&mut self) -> Result<(), StepError> {
        self.filled = 0;
        // A piece may decode to nothing: a lone BOM, or half of a character.
        loop {
            let piece = self.source.next()?;
            let is_end = piece.is_empty();
            if self.charset.is_none() && !piece.is_ascii() {
                let charset = Charset::guess(piece);
                self.charset = Some(charset);
                if charset.encoding != UTF_8 {
                    self.decoder = charset.encoding.new_decoder_without_bom_handling();
                }
            }
            let mut sink =
                Sink { text: &mut self.text, filled: 0, raw_at: self.raw_bytes, tally: &mut self.tally };
            sink.decode(&mut self.decoder, piece, is_end);
            self.filled = sink.filled;
            self.raw_bytes += piece.len() as u64;
            self.tally.nul_bytes += self.piece().iter().filter(|&&byte| byte == 0).count() as u64;
            if is_end {
                // A decoder must not be fed after its last piece; a second end decodes nothing with a fresh one.
                self.decoder = UTF_8.new_decoder_without_bom_handling();
                return Ok(());
            }
            if self.filled > 0 {
                return Ok(());
            }
        }
    }
}

/// The first piece of a text, decoded.
#[derive(Debug, Clone)]
pub(crate) struct TextHead {
    pub text: Vec<u8>,
    pub charset: String,
    pub has_bom: bool,
}

impl TextHead {
    /// `head` is at most one piece; a last character that it cuts is left out unless it is the whole content.
    pub(crate) fn decode(mut head: &[u8], is_whole: bool) -> Self {
        let content: &mut dyn std::io::Read = &mut head;
        let empty = Self { text: Vec::new(), charset: "utf-8".to_owned(), has_bom: false };
        let Ok(mut reader) = TextReader::open(Source::new(content, &Unwatched), ReadAs::Guessed) else {
            return empty;
        };
        let mut text = reader.next().map(<[u8]>::to_vec).unwrap_or_default();
        if is_whole {
            text.extend_from_slice(reader.next().unwrap_or_default());
        }
        Self { text, charset: reader.charset_name(), has_bom: reader.has_bom() }
    }
}

/// For bytes at hand, whose reading needs no watching.
struct Unwatched;

impl Progress for Unwatched {
    fn bytes_read(&self, _total: u64) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Where one piece of raw bytes is decoded to.
struct Sink<'a> {
    text: &'a mut Vec<u8>,
    filled: usize,
    raw_at: u64,
    tally: &'a mut Tally,
}

impl Sink<'_> {
    fn decode(&mut self, decoder: &mut Decoder, mut raw: &[u8], is_end: bool) {
        loop {
            let room = self.text.get_mut(self.filled..).unwrap_or_default();
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(raw, room, is_end);
            self.filled += written;
            self.raw_at += read as u64;
            raw = raw.get(read..).unwrap_or_default();
            match result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => self.text.resize(self.text.len() + PIECE_BYTES, 0),
                DecoderResult::Malformed(bad, behind) => {
                    self.tally.replaced += 1;
                    let at = self.raw_at.saturating_sub(u64::from(bad) + u64::from(behind));
                    self.tally.first_replaced_at.get_or_insert(at);
                    self.push_replacement();
                }
            }
        }
    }

    fn push_replacement(&mut self) {
        if self.text.len() < self.filled + REPLACEMENT.len() {
            self.text.resize(self.filled + PIECE_BYTES, 0);
        }
        if let Some(room) = self.text.get_mut(self.filled..self.filled + REPLACEMENT.len()) {
            room.copy_from_slice(REPLACEMENT);
            self.filled += REPLACEMENT.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn read_all(mut content: &[u8]) -> (String, String, Tally) {
        let mut reader = TextReader::open(Source::new(&mut content, &Unwatched), ReadAs::Guessed).unwrap();
        let mut out = Vec::new();
        loop {
            let piece = reader.next().unwrap();
            if piece.is_empty() {
                break;
            }
            out.extend_from_slice(piece);
        }
        (String::from_utf8(out).unwrap(), reader.charset_name(), reader.tally())
    }

    fn utf16(text: &str, little: bool, bom: bool) -> Vec<u8> {
        let units = bom.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(|unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    }

    #[test]
    fn each_charset_becomes_the_same_text() {
        let text = "id;name\n1;Grüße aus Köln, schöne Straße\n2;Äpfel und Öl für die Küche\n";
        let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let with_bom = ["\u{feff}".as_bytes(), text.as_bytes()].concat();
        for (content, name) in [
            (text.as_bytes().to_vec(), "utf-8"),
            (with_bom, "utf-8"),
            (utf16(text, true, true), "utf-16le"),
            (utf16(text, false, true), "utf-16be"),
            (utf16(text, true, false), "utf-16le"),
            (utf16(text, false, false), "utf-16be"),
            (latin, "windows-1252"),
        ] {
            let (out, charset, tally) = read_all(&content);
            assert_eq!((out.as_str(), charset.as_str(), tally.replaced), (text, name, 0));
        }
    }

    #[test]
    fn latin_1_is_told_by_the_first_piece_that_is_not_ascii() {
        let mut content = b"plain,ascii\n".repeat(60_000);
        content.extend_from_slice(b"caf\xe9,bar\nd\xe9j\xe0 vu,entr\xe9e\n");
        let (out, charset, tally) = read_all(&content);
        assert_eq!((charset.as_str(), tally.replaced), ("windows-1252", 0));
        assert!(out.ends_with("café,bar\ndéjà vu,entrée\n"));
    }

    #[test]
    fn malformed_utf_8_is_replaced_counted_and_located() {
        let mut content = "é".repeat(10).into_bytes();
        content.extend_from_slice(&b"x".repeat(PIECE_BYTES));
        let at = content.len() as u64;
        content.extend_from_slice(b"\xff\xc3");
        let (out, _, tally) = read_all(&content);
        assert_eq!((tally.replaced, tally.first_replaced_at), (2, Some(at)));
        assert!(out.ends_with("x\u{fffd}\u{fffd}"));
    }

    #[test]
    fn a_character_cut_by_a_piece_boundary_stays_whole() {
        let text = format!("{}é{}", "x".repeat(PIECE_BYTES - 1), "日本語".repeat(100_000));
        let (out, _, tally) = read_all(text.as_bytes());
        assert!(out == text);
        assert_eq!(tally.replaced, 0);
    }

    #[test]
    fn bytes_that_are_all_malformed_fit_the_buffer() {
        let content = [b"\xc3\xa9".repeat(PIECE_BYTES / 2), vec![0xff; PIECE_BYTES * 2]].concat();
        let (_, _, tally) = read_all(&content);
        assert_eq!(tally.replaced, 2 * PIECE_BYTES as u64);
    }
}
