//! `profile`: what a file contains, in one pass and fixed memory.

mod column;
mod document;
mod lines;
mod table;

pub(crate) use table::ragged;

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Value, json};
use usp_model::Result;

use crate::parameters::Parameters;
use crate::sniff::{self, Kind, Sniffed};
use crate::source::Source;
use crate::table::dialect::Hints;
use crate::text::{ReadAs, TextReader};
use crate::{FileFacts, Progress, Step, StepError, StepOutput};

/// The forms that have a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Tsv,
    Json,
    Ndjson,
    Text,
}

const FORMATS: [(&str, Format); 5] = [
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("json", Format::Json),
    ("ndjson", Format::Ndjson),
    ("text", Format::Text),
];

impl Format {
    /// What a media type promises; `None` leaves it to the bytes.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type.split(';').next().unwrap_or_default().trim() {
            sniff::CSV | "application/csv" => Some(Self::Csv),
            sniff::TSV => Some(Self::Tsv),
            sniff::JSON => Some(Self::Json),
            sniff::NDJSON | "application/jsonl" | "application/x-jsonlines" | "application/jsonlines" => {
                Some(Self::Ndjson)
            }
            other if other.starts_with("application/") && other.ends_with("+json") => Some(Self::Json),
            _ => None,
        }
    }

    /// How its charset is decided.
    pub(crate) fn reading(self) -> ReadAs {
        match self {
            Self::Json | Self::Ndjson => ReadAs::Unicode,
            Self::Csv | Self::Tsv | Self::Text => ReadAs::Guessed,
        }
    }

    /// The form of a file, its decided media type first, then its first bytes. `None`: no text.
    pub(crate) fn of(
        file: &FileFacts,
        source: &mut Source<'_>,
    ) -> std::result::Result<Option<Self>, StepError> {
        if let Some(format) = Self::of_media_type(&file.media_type) {
            return Ok(Some(format));
        }
        let head = source.head()?.to_vec();
        let sniffed = Sniffed::of(&head, source.has_ended(), file.extension().as_deref());
        // Nothing at all is a text of no lines.
        let is_text =
            sniffed.kind == Kind::Empty || (sniffed.text.is_some() && sniffed.kind != Kind::Document);
        Ok(Self::of_media_type(&sniffed.media_type).or(is_text.then_some(Self::Text)))
    }
}

#[derive(Debug)]
pub(crate) struct Profile {
    format: Option<Format>,
    hints: Hints,
}

impl Profile {
    /// Parameters: `format` (one of [`FORMATS`]), and for tables `delimiter` (one character) and `header` (true or
    /// false); whatever is absent is told from the bytes.
    pub(crate) fn from_parameters(with: &BTreeMap<String, Value>) -> Result<Self> {
        let mut parameters = Parameters::new(with);
        let format = parameters.word("format", &FORMATS);
        let hints = Hints {
            delimiter: delimiter_parameter(&mut parameters),
            has_header: parameters.boolean("header"),
            is_tsv: false,
        };
        parameters.finish("profile")?;
        Ok(Self { format, hints })
    }
}

/// One ASCII character that is neither a quote nor a line ending.
pub(crate) fn delimiter_parameter(parameters: &mut Parameters<'_>) -> Option<u8> {
    match parameters.text("delimiter")?.as_bytes() {
        [byte] if byte.is_ascii() && !b"\"'\r\n\0".contains(byte) => return Some(*byte),
        _ => parameters.violate("delimiter", "one ASCII character is expected, such as ',' or ';' or a tab"),
    }
    None
}

impl Step for Profile {
    fn run(
        &self,
        file: &FileFacts,
        content: &mut dyn Read,
        progress: &dyn Progress,
    ) -> std::result::Result<StepOutput, StepError> {
        let mut source = Source::new(content, progress);
        let format = match self.format {
            Some(format) => Some(format),
            None => Format::of(file, &mut source)?,
        };
        let Some(format) = format else { return Ok(StepOutput::of(unsupported(file))) };
        let text = TextReader::open(source, format.reading())?;
        let report = match format {
            Format::Csv => table::profile(text, "csv", self.hints)?,
            Format::Tsv => table::profile(text, "tsv", Hints { is_tsv: true, ..self.hints })?,
            Format::Json => document::json(text)?,
            Format::Ndjson => document::ndjson(text)?,
            Format::Text => lines::profile(text)?,
        };
        Ok(StepOutput::of(report))
    }
}

fn unsupported(file: &FileFacts) -> Value {
    json!({
        "kind": "unsupported",
        "media_type": crate::report::cut(file.media_type.as_bytes()),
        "reason": "profile knows tables, JSON and text; this is none of them",
    })
}

/// What every report says about the charset.
pub(crate) fn add_encoding(report: &mut Value, text: &TextReader<'_>) {
    if let Some(members) = report.as_object_mut() {
        members.insert("encoding".to_owned(), json!(text.charset_name()));
        members.insert("bom".to_owned(), json!(text.has_bom()));
        members.insert("replaced".to_owned(), json!(text.tally().replaced));
    }
}
