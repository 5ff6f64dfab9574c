//! `sniff`: what a file is, told from its first 256 KiB.

mod container;
mod form;

use std::collections::BTreeMap;
use std::io::Cursor;

use file_format::{FileFormat, Kind as FormatKind};
use serde_json::{Value, json};
use usp_model::Result;

use crate::bounds::LANGUAGE_BYTES_MAX;
use crate::parameters::Parameters;
use crate::source::Source;
use crate::text::{TextHead, charset};
use crate::{FileFacts, Progress, Step, StepError, StepOutput};

pub(crate) const OCTET_STREAM: &str = "application/octet-stream";
pub(crate) const CSV: &str = "text/csv";
pub(crate) const TSV: &str = "text/tab-separated-values";
pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";
pub(crate) const PLAIN: &str = "text/plain";

#[derive(Debug)]
pub(crate) struct Sniff;

impl Sniff {
    pub(crate) fn from_parameters(with: &BTreeMap<String, Value>) -> Result<Self> {
        Parameters::new(with).finish("sniff")?;
        Ok(Self)
    }
}

impl Step for Sniff {
    fn run(
        &self,
        file: &FileFacts,
        content: &mut dyn std::io::Read,
        progress: &dyn Progress,
    ) -> std::result::Result<StepOutput, StepError> {
        let mut source = Source::new(content, progress);
        let head = source.head()?.to_vec();
        let extension = file.extension();
        let sniffed = Sniffed::of(&head, source.has_ended(), extension.as_deref());
        Ok(StepOutput::of(sniffed.report(extension.as_deref())))
    }
}

/// The coarse sort of a file, for people and for icons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Image,
    Audio,
    Video,
    Archive,
    Document,
    Binary,
    Empty,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Archive => "archive",
            Self::Document => "document",
            Self::Binary => "binary",
            Self::Empty => "empty",
        }
    }
}

/// What the head of a file says about it.
#[derive(Debug, Clone)]
pub(crate) struct Sniffed {
    pub media_type: String,
    pub kind: Kind,
    /// Of text only.
    pub text: Option<TextHead>,
}

impl Sniffed {
    /// Shape: `extension` is in lower case, without its dot; it decides only between types that the bytes allow.
    pub(crate) fn of(head: &[u8], is_whole: bool, extension: Option<&str>) -> Self {
        if head.is_empty() {
            return Self { media_type: OCTET_STREAM.to_owned(), kind: Kind::Empty, text: None };
        }
        let format = FileFormat::from_reader(Cursor::new(head)).unwrap_or_default();
        if charset::is_text(head) {
            let text = TextHead::decode(head, is_whole);
            return Self::of_text(text, is_whole, format, extension);
        }
        let (media_type, kind) = match format {
            FileFormat::ArbitraryBinaryData | FileFormat::PlainText | FileFormat::Empty | FileFormat::Zip => {
                container::of(head, extension).unwrap_or_else(|| (OCTET_STREAM.to_owned(), Kind::Binary))
            }
            format => (format.media_type().to_owned(), kind_of(format)),
        };
        Self { media_type, kind, text: None }
    }

    /// Text is never an image or a program only because its first letters are a signature (`BM`, `MZ`).
    fn of_text(text: TextHead, is_whole: bool, format: FileFormat, extension: Option<&str>) -> Self {
        let signed = format.media_type();
        let is_textual =
            ["text/rtf", "application/rtf", "application/pdf", "application/postscript"].contains(&signed);
        if is_textual {
            return Self { media_type: signed.to_owned(), kind: Kind::Document, text: Some(text) };
        }
        let media_type = form::of(&text.text, is_whole, signed, extension);
        let kind = if media_type == "image/svg+xml" { Kind::Image } else { Kind::Text };
        Self { media_type, kind, text: Some(text) }
    }

    fn report(&self, extension: Option<&str>) -> Value {
        let language = self.text.as_ref().and_then(|text| language_of(&text.text));
        json!({
            "media_type": self.media_type,
            "kind": self.kind.as_str(),
            "charset": self.text.as_ref().map(|text| &text.charset),
            "bom": self.text.as_ref().is_some_and(|text| text.has_bom),
            "language": language.as_ref().map(|(code, _)| code),
            "language_confidence": language.as_ref().map(|(_, confidence)| confidence),
            "extension_matches": extension.and_then(|extension| form::extension_matches(extension, &self.media_type)),
        })
    }
}

fn kind_of(format: FileFormat) -> Kind {
    match format.kind() {
        FormatKind::Image => Kind::Image,
        FormatKind::Audio => Kind::Audio,
        FormatKind::Video => Kind::Video,
        FormatKind::Archive | FormatKind::Compressed | FormatKind::Package | FormatKind::Disk => {
            Kind::Archive
        }
        FormatKind::Document
        | FormatKind::Ebook
        | FormatKind::Presentation
        | FormatKind::Spreadsheet
        | FormatKind::Diagram
        | FormatKind::Formula => Kind::Document,
        _ => Kind::Binary,
    }
}

/// The ISO 639-3 code of the language and how sure that is, if it is sure enough to be told.
pub(crate) fn language_of(text: &[u8]) -> Option<(String, f64)> {
    const LETTER_COUNT_MIN: usize = 20;
    let text = String::from_utf8_lossy(text.get(..LANGUAGE_BYTES_MAX).unwrap_or(text));
    if text.chars().filter(|c| c.is_alphabetic()).count() < LETTER_COUNT_MIN {
        return None;
    }
    let found = whatlang::detect(&text).filter(whatlang::Info::is_reliable)?;
    Some((found.lang().code().to_owned(), (found.confidence() * 1_000.0).round() / 1_000.0))
}
