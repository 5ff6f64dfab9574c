//! Declared columns: which there must be, and what may stand in them.

use serde_json::{Value, json};
use usp_model::error::printable;

use super::{Findings, Place};
use crate::StepError;
use crate::bounds::COLUMN_COUNT_MAX;
use crate::parameters::Parameters;
use crate::profile::{delimiter_parameter, ragged};
use crate::report::cut;
use crate::scalar::{Kind, Scalar, is_null};
use crate::table::dialect::{self, Hints};
use crate::table::{Faults, Record, Records};
use crate::text::TextReader;

#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    is_strict: bool,
    has_header: bool,
    delimiter: Option<u8>,
}

#[derive(Debug)]
struct Column {
    name: String,
    kind: Kind,
    is_required: bool,
    is_nullable: bool,
    min: Option<Bound>,
    max: Option<Bound>,
}

/// A bound, comparable and as it was written.
#[derive(Debug)]
struct Bound {
    ordinal: f64,
    text: String,
}

impl Columns {
    pub(super) fn from_parameters(parameters: &mut Parameters<'_>) -> Option<Self> {
        let list = parameters.list("columns", COLUMN_COUNT_MAX);
        let is_strict = parameters.boolean("strict_columns").unwrap_or(false);
        let has_header = parameters.boolean("header").unwrap_or(true);
        let delimiter = delimiter_parameter(parameters);
        let mut columns: Vec<Column> = Vec::new();
        for (index, value) in list?.iter().enumerate() {
            let mut own = Parameters::nested(format!("{}/{index}", parameters.pointer("columns")), value);
            let column = Column::from_parameters(&mut own);
            if let Some(column) = column {
                if columns.iter().any(|other| other.name == column.name) {
                    own.violate("name", "each column once");
                }
                columns.push(column);
            }
            parameters.absorb(own.into_violations());
        }
        Some(Self { columns, is_strict, has_header, delimiter })
    }

    /// Reads the whole table. Shape: rows count from 1, without the header.
    pub(super) fn check<'a>(
        &self,
        mut text: TextReader<'a>,
        is_tsv: bool,
        findings: &mut Findings,
    ) -> Result<TextReader<'a>, StepError> {
        let head = text.head()?.to_vec();
        let hints = Hints { delimiter: self.delimiter, has_header: Some(self.has_header), is_tsv };
        let dialect = dialect::detect(&head, text.has_ended(), hints);
        let mut records = Records::new(text, dialect.delimiter, dialect.quote);
        let mut places: Vec<Option<usize>> = Vec::new();
        let mut field_count = 0;
        let mut is_first = true;
        while let Some(record) = records.next()? {
            if std::mem::take(&mut is_first) {
                field_count = record.field_count;
                places = self.places(record, findings);
                if self.has_header {
                    continue;
                }
            }
            findings.rows += 1;
            let before = findings.error_count();
            self.check_row(record, field_count, &places, findings);
            findings.invalid_rows += u64::from(findings.error_count() > before);
        }
        if is_first {
            findings.add_whole("the table is empty".to_owned());
        }
        Ok(records.into_text())
    }

    /// Where each declared column stands in the table, by its name or else by its position.
    fn places(&self, record: &Record, findings: &mut Findings) -> Vec<Option<usize>> {
        let names: Vec<String> = if self.has_header {
            record.fields().map(|field| String::from_utf8_lossy(field.trim_ascii()).into_owned()).collect()
        } else {
            let declared = self.columns.iter().map(|column| column.name.clone());
            declared.take(record.field_count).collect()
        };
        let place = |name: &str, reason: String, findings: &mut Findings| {
            findings.add(Place { column: Some(name), ..Place::default() }, || (reason, Value::Null));
        };
        for (index, name) in names.iter().enumerate() {
            let is_declared = self.columns.iter().any(|column| column.name == *name);
            if self.is_strict && !is_declared {
                place(name, "no such column is declared".to_owned(), findings);
            }
            if is_declared && names.iter().take(index).any(|other| other == name) {
                place(name, "the column occurs more than once".to_owned(), findings);
            }
        }
        if self.is_strict && !self.has_header && record.field_count > self.columns.len() {
            findings.add_whole(ragged(record.field_count, self.columns.len()));
        }
        let found: Vec<Option<usize>> =
            self.columns.iter().map(|column| names.iter().position(|name| *name == column.name)).collect();
        for (column, place_of) in self.columns.iter().zip(&found) {
            if column.is_required && place_of.is_none() {
                place(&column.name, "the column is missing".to_owned(), findings);
            }
        }
        found
    }

    fn check_row(
        &self,
        record: &Record,
        field_count: usize,
        places: &[Option<usize>],
        findings: &mut Findings,
    ) {
        let row = Place { row: Some(findings.rows), line: Some(record.line), column: None };
        if record.faults != Faults::default() {
            for reason in record.faults.reasons() {
                findings.add(row, || (reason.to_owned(), Value::Null));
            }
        }
        // Values of a ragged row may stand in the wrong columns: to check them would only add noise.
        if record.field_count != field_count {
            findings.add(row, || (ragged(record.field_count, field_count), Value::Null));
            return;
        }
        for (column, index) in self.columns.iter().zip(places) {
            let Some(field) = index.and_then(|index| record.field(index)) else { continue };
            if let Some(wrong) = column.wrong(field) {
                let place = Place { column: Some(&column.name), ..row };
                findings.add(place, || (column.reason(wrong, field), json!(cut(field))));
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    Missing,
    Kind,
    Below,
    Above,
}

impl Column {
    fn from_parameters(own: &mut Parameters<'_>) -> Option<Self> {
        let words: Vec<(&str, Kind)> = Kind::ALL.into_iter().map(|kind| (kind.as_str(), kind)).collect();
        let name = own.text("name");
        if name.is_none_or(str::is_empty) {
            own.violate("name", "a name is needed");
        }
        let kind = own.word("type", &words).unwrap_or(Kind::Text);
        let is_required = own.boolean("required").unwrap_or(true);
        let is_nullable = own.boolean("nullable").unwrap_or(true);
        let min = Bound::from_parameters(own, "min", kind);
        let max = Bound::from_parameters(own, "max", kind);
        if let (Some(min), Some(max)) = (&min, &max)
            && min.ordinal > max.ordinal
        {
            own.violate("max", "max is less than min");
        }
        Some(Self { name: name?.to_owned(), kind, is_required, is_nullable, min, max })
    }

    fn wrong(&self, field: &[u8]) -> Option<Wrong> {
        // `NA` is Namibia where strings are expected.
        let is_missing = if self.kind == Kind::Text { field.trim_ascii().is_empty() } else { is_null(field) };
        if is_missing {
            return (!self.is_nullable).then_some(Wrong::Missing);
        }
        let Some(value) = self.kind.read(field) else { return Some(Wrong::Kind) };
        let ordinal = ordinal(value)?;
        if self.min.as_ref().is_some_and(|min| ordinal < min.ordinal) {
            Some(Wrong::Below)
        } else if self.max.as_ref().is_some_and(|max| ordinal > max.ordinal) {
            Some(Wrong::Above)
        } else {
            None
        }
    }

    fn reason(&self, wrong: Wrong, field: &[u8]) -> String {
        let value = printable(&cut(field));
        let text = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.text.clone()).unwrap_or_default();
        match wrong {
            Wrong::Missing => "a value is missing".to_owned(),
            Wrong::Kind => format!("'{value}' is not {}", self.kind.with_article()),
            Wrong::Below => format!("{value} is less than {}", text(&self.min)),
            Wrong::Above => format!("{value} is greater than {}", text(&self.max)),
        }
    }
}

impl Bound {
    fn from_parameters(own: &mut Parameters<'_>, name: &str, kind: Kind) -> Option<Self> {
        let value = own.take(name)?;
        let bound = match kind {
            Kind::Integer | Kind::Float => {
                value.as_f64().map(|ordinal| Self { ordinal, text: value.to_string() })
            }
            Kind::Date | Kind::Datetime => value.as_str().and_then(|text| {
                let ordinal = kind.read(text.as_bytes()).and_then(ordinal)?;
                Some(Self { ordinal, text: text.to_owned() })
            }),
            Kind::Boolean | Kind::Text => {
                own.violate(name, format!("a {} has no bounds", kind.as_str()));
                return None;
            }
        };
        if bound.is_none() {
            own.violate(name, format!("{} is expected", kind.with_article()));
        }
        bound
    }
}

/// Where a value stands on the line of its type.
fn ordinal(value: Scalar) -> Option<f64> {
    match value {
        Scalar::Integer { value, .. } | Scalar::Float(value) => Some(value),
        Scalar::Date(days) => Some(days as f64),
        Scalar::Datetime(micros) => Some(micros as f64),
        Scalar::Null | Scalar::Boolean | Scalar::Text => None,
    }
}
