//! `validate`: whether a file keeps what was declared of it, and where it does not.

mod columns;
mod findings;
mod schema;

use std::collections::BTreeMap;
use std::io::Read;

use encoding_rs::Encoding;
use serde_json::Value;
use usp_model::Result;

use crate::bounds::{ERRORS_COUNT_DEFAULT, ERRORS_COUNT_MAX};
use crate::parameters::Parameters;
use crate::profile::Format;
use crate::report::counted;
use crate::source::Source;
use crate::text::{ReadAs, TextReader, charset};
use crate::{FileFacts, Progress, Step, StepError, StepOutput};
use columns::Columns;
use findings::{Findings, Place};
use schema::Schema;

const FORMATS: [(&str, Format); 4] =
    [("csv", Format::Csv), ("tsv", Format::Tsv), ("json", Format::Json), ("ndjson", Format::Ndjson)];

#[derive(Debug)]
pub(crate) struct Validate {
    encoding: Option<&'static Encoding>,
    check: Check,
    format: Option<Format>,
    errors_max: usize,
    fails: bool,
}

#[derive(Debug)]
enum Check {
    /// Only the encoding.
    Text,
    Columns(Columns),
    Schema(Box<Schema>),
}

impl Validate {
    /// Parameters: `encoding`, `columns` (with `strict_columns`, `header`, `delimiter`) or `schema`, `format`,
    /// `errors_max` (1 to 1,000), `on_invalid` (`fail` or `report`). At least one of the first three is needed.
    pub(crate) fn from_parameters(with: &BTreeMap<String, Value>) -> Result<Self> {
        let mut parameters = Parameters::new(with);
        let encoding = encoding_parameter(&mut parameters);
        let columns = Columns::from_parameters(&mut parameters);
        let schema = Schema::from_parameters(&mut parameters);
        let has_any = ["encoding", "columns", "schema"].iter().any(|name| with.contains_key(*name));
        if !has_any {
            parameters.violate("columns", "one of encoding, columns and schema is needed");
        }
        if with.contains_key("columns") && with.contains_key("schema") {
            parameters.violate("schema", "either columns or schema, not both");
        }
        let check = match (columns, schema) {
            (Some(columns), _) => Check::Columns(columns),
            (None, Some(schema)) => Check::Schema(Box::new(schema)),
            (None, None) => Check::Text,
        };
        let format = parameters.word("format", &FORMATS);
        let errors_max = parameters.count("errors_max", 1..=ERRORS_COUNT_MAX).unwrap_or(ERRORS_COUNT_DEFAULT);
        let fails = parameters.word("on_invalid", &[("fail", true), ("report", false)]).unwrap_or(true);
        parameters.finish("validate")?;
        let errors_max = usize::try_from(errors_max).unwrap_or(usize::MAX);
        Ok(Self { encoding, check, format, errors_max, fails })
    }

    fn find(&self, file: &FileFacts, mut source: Source<'_>) -> std::result::Result<Findings, StepError> {
        let mut findings = Findings::new(self.errors_max);
        let format = match (self.format, &self.check) {
            (Some(format), _) => Some(format),
            (None, Check::Text) => Some(Format::Text),
            (None, Check::Columns(_) | Check::Schema(_)) => Format::of(file, &mut source)?,
        };
        if let Some(encoding) = self.encoding
            && let Some(bom) = charset::bom_of(source.head()?)
            && bom != encoding
        {
            let reason = format!("the byte order mark says {}, not {}", bom.name(), encoding.name());
            findings.add_whole(reason);
            return Ok(findings);
        }
        let reading = match (self.encoding, &self.check) {
            (Some(encoding), _) => ReadAs::Declared(encoding),
            (None, Check::Schema(_)) => ReadAs::Unicode,
            (None, Check::Text | Check::Columns(_)) => ReadAs::Guessed,
        };
        let text = TextReader::open(source, reading)?;
        let text = match (&self.check, format) {
            (Check::Text, _) => drain(text)?,
            (Check::Columns(columns), Some(Format::Csv | Format::Tsv | Format::Text)) => {
                columns.check(text, format == Some(Format::Tsv), &mut findings)?
            }
            (Check::Schema(schema), Some(Format::Json | Format::Text)) => {
                schema.check_document(text, &mut findings)?
            }
            (Check::Schema(schema), Some(Format::Ndjson)) => schema.check_lines(text, &mut findings)?,
            (check, _) => {
                findings.add_whole(format!(
                    "the file is {}, not {}",
                    named(&file.media_type),
                    check.expects()
                ));
                text
            }
        };
        let tally = text.tally();
        let must_be_sound = self.encoding.is_some() || matches!(self.check, Check::Schema(_));
        if let Some(at) = tally.first_replaced_at.filter(|_| must_be_sound) {
            let count = counted(tally.replaced, "byte sequence is", "byte sequences are");
            findings.add_whole(format!("{count} not {}, the first at byte {at}", text.charset_name()));
        }
        Ok(findings)
    }
}

impl Check {
    fn expects(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Columns(_) => "a table",
            Self::Schema(_) => "JSON",
        }
    }
}

impl Step for Validate {
    fn run(
        &self,
        file: &FileFacts,
        content: &mut dyn Read,
        progress: &dyn Progress,
    ) -> std::result::Result<StepOutput, StepError> {
        let findings = self.find(file, Source::new(content, progress))?;
        match findings.summary() {
            Some(reason) if self.fails => Err(StepError::Invalid { reason, report: findings.into_report() }),
            _ => Ok(StepOutput::of(findings.into_report())),
        }
    }
}

fn drain(mut text: TextReader<'_>) -> std::result::Result<TextReader<'_>, StepError> {
    while !text.next()?.is_empty() {}
    Ok(text)
}

fn named(media_type: &str) -> String {
    match media_type {
        "" => "of an unknown type".to_owned(),
        known => usp_model::error::printable(known),
    }
}

fn encoding_parameter(parameters: &mut Parameters<'_>) -> Option<&'static Encoding> {
    let label = parameters.text("encoding")?;
    let found = Encoding::for_label_no_replacement(label.as_bytes());
    if found.is_none() {
        parameters.violate("encoding", "the name of a charset is expected, such as utf-8 or windows-1252");
    }
    found
}
