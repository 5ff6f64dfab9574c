//! JSON Schema, over a document or over each line of NDJSON.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Value, json};

use super::{Findings, Place};
use crate::StepError;
use crate::bounds::{
    SCHEMA_ALL_ERRORS_VALUE_COUNT_MAX, SCHEMA_BYTES_MAX, SCHEMA_DOCUMENT_BYTES_MAX, SCHEMA_LINE_BYTES_MAX,
    SCHEMA_VALUE_COUNT_MAX,
};
use crate::json::{Fault, Parser, Sink};
use crate::parameters::Parameters;
use crate::report::{cut, grouped, json_bytes};
use crate::text::TextReader;

#[derive(Debug)]
pub(super) struct Schema {
    validator: Validator,
}

impl Schema {
    /// References to other documents are refused, patterns run in linear time, and `format` is checked.
    pub(super) fn from_parameters(parameters: &mut Parameters<'_>) -> Option<Self> {
        let schema = parameters.take("schema")?;
        if !schema.is_object() && !schema.is_boolean() || json_bytes(schema) > SCHEMA_BYTES_MAX {
            parameters.violate("schema", "a JSON Schema of at most 256 KiB is expected, as an object");
            return None;
        }
        let built = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true)
            .build(schema);
        match built {
            Ok(validator) => Some(Self { validator }),
            Err(error) => {
                parameters.violate_below(
                    "schema",
                    error.instance_path().as_str(),
                    cut(error.to_string().as_bytes()),
                );
                None
            }
        }
    }

    pub(super) fn check_document<'a>(
        &self,
        mut text: TextReader<'a>,
        findings: &mut Findings,
    ) -> Result<TextReader<'a>, StepError> {
        let mut document = Vec::new();
        loop {
            let piece = text.next()?;
            if piece.is_empty() {
                break;
            }
            if document.len() + piece.len() > SCHEMA_DOCUMENT_BYTES_MAX {
                let reason =
                    "the document is larger than 64 MiB, more than a schema is checked against; use NDJSON";
                return Err(StepError::Permanent(reason.to_owned()));
            }
            document.extend_from_slice(piece);
        }
        findings.rows = 1;
        let before = findings.error_count();
        self.check(&document, Place::default(), findings);
        findings.invalid_rows = u64::from(findings.error_count() > before);
        Ok(text)
    }

    pub(super) fn check_lines<'a>(
        &self,
        mut text: TextReader<'a>,
        findings: &mut Findings,
    ) -> Result<TextReader<'a>, StepError> {
        let mut line = Line::default();
        loop {
            let piece = text.next()?;
            if piece.is_empty() {
                break;
            }
            for part in piece.split_inclusive(|&byte| byte == b'\n') {
                line.push(part);
                if part.ends_with(b"\n") {
                    self.check_line(&mut line, findings);
                }
            }
        }
        self.check_line(&mut line, findings);
        Ok(text)
    }

    fn check_line(&self, line: &mut Line, findings: &mut Findings) {
        line.number += 1;
        // A line that is too long was not looked at whole: blanks may stand before the rest.
        if line.is_cut || !line.text.trim_ascii().is_empty() {
            findings.rows += 1;
            let place = Place { row: Some(findings.rows), line: Some(line.number), column: None };
            let before = findings.error_count();
            if line.is_cut {
                findings.add(place, || ("the line is longer than 16 MiB".to_owned(), Value::Null));
            } else {
                self.check(&line.text, place, findings);
            }
            findings.invalid_rows += u64::from(findings.error_count() > before);
        }
        line.text.clear();
        line.is_cut = false;
    }

    /// One JSON text, whole in memory.
    fn check(&self, text: &[u8], place: Place<'_>, findings: &mut Findings) {
        let value_count = match count_values(text) {
            Ok(count) if count <= SCHEMA_VALUE_COUNT_MAX => count,
            Ok(count) => {
                let reason = format!("{} values are more than a schema is checked against", grouped(count));
                findings.add(place, || (reason, Value::Null));
                return;
            }
            Err(reason) => {
                findings.add(place, || (reason, Value::Null));
                return;
            }
        };
        let value: Value = match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(error) => {
                findings.add(place, || (format!("not usable JSON: {error}"), Value::Null));
                return;
            }
        };
        if value_count > SCHEMA_ALL_ERRORS_VALUE_COUNT_MAX {
            if let Err(error) = self.validator.validate(&value) {
                add(&error, place, findings);
            }
        } else {
            for error in self.validator.iter_errors(&value) {
                add(&error, place, findings);
            }
        }
    }
}

/// The line that is being put together from pieces.
#[derive(Debug, Default)]
struct Line {
    text: Vec<u8>,
    is_cut: bool,
    number: u64,
}

impl Line {
    fn push(&mut self, part: &[u8]) {
        if self.text.len() + part.len() > SCHEMA_LINE_BYTES_MAX {
            self.is_cut = true;
        } else {
            self.text.extend_from_slice(part);
        }
    }
}

/// The message leaves the instance out, which may be a whole document; a scalar is told beside it.
fn add(error: &ValidationError<'_>, place: Place<'_>, findings: &mut Findings) {
    let value = match error.instance().as_ref() {
        Value::String(text) => json!(cut(text.as_bytes())),
        Value::Array(_) | Value::Object(_) => Value::Null,
        scalar => scalar.clone(),
    };
    let pointer = error.instance_path().as_str();
    let place = Place { column: Some(pointer), ..place };
    findings.add(place, || (error.masked().to_string(), value));
}

#[derive(Debug, Default)]
struct Count(u64);

impl Sink for Count {
    fn begin_object(&mut self) {
        self.0 += 1;
    }
    fn begin_array(&mut self) {
        self.0 += 1;
    }
    fn text(&mut self, _chars: u64) {
        self.0 += 1;
    }
    fn number(&mut self, _value: Option<f64>) {
        self.0 += 1;
    }
    fn boolean(&mut self) {
        self.0 += 1;
    }
    fn null(&mut self) {
        self.0 += 1;
    }
}

/// Checks the grammar and counts, before anything is built that is larger than the text.
fn count_values(text: &[u8]) -> Result<u64, String> {
    let (mut parser, mut count) = (Parser::new(), Count::default());
    let parsed = parser.feed(text, &mut count).and_then(|()| parser.finish(&mut count));
    let told =
        |fault: Fault| format!("not JSON: line {}, column {}: {}", fault.line, fault.column, fault.reason);
    parsed.map(|()| count.0).map_err(told)
}
