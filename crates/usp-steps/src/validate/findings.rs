//! What was found wrong, in a bounded list, and the sentence that sums it up.

use serde_json::{Value, json};

use crate::report::{cut_to, fit, grouped};

/// A sentence stays one.
const REASON_CHARS_MAX: usize = 300;

#[derive(Debug)]
pub(super) struct Findings {
    errors_max: usize,
    errors: Vec<Value>,
    error_count: u64,
    /// What the first error says, with its place.
    first: Option<String>,
    pub rows: u64,
    pub invalid_rows: u64,
}

/// Where something is wrong. Rows count from 1 without the header, lines from 1 with it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    pub row: Option<u64>,
    pub line: Option<u64>,
    /// A column's name, or a JSON pointer.
    pub column: Option<&'a str>,
}

impl Findings {
    pub(super) fn new(errors_max: usize) -> Self {
        Self { errors_max, errors: Vec::new(), error_count: 0, first: None, rows: 0, invalid_rows: 0 }
    }

    pub(super) fn error_count(&self) -> u64 {
        self.error_count
    }

    /// Something wrong with the file as a whole.
    pub(super) fn add_whole(&mut self, reason: String) {
        self.add(Place::default(), || (reason, Value::Null));
    }

    /// `told` gives the reason and the value at fault; it is asked only while there is room in the list.
    pub(super) fn add(&mut self, place: Place<'_>, told: impl FnOnce() -> (String, Value)) {
        self.error_count += 1;
        if self.errors.len() >= self.errors_max {
            return;
        }
        let (reason, value) = told();
        let reason = cut_to(reason.as_bytes(), REASON_CHARS_MAX);
        let column = place.column.map(|column| cut_to(column.as_bytes(), REASON_CHARS_MAX));
        if self.first.is_none() {
            self.first = Some(sentence(place, column.as_deref(), &reason));
        }
        self.errors.push(json!({
            "row": place.row, "line": place.line, "column": column, "reason": reason, "value": value,
        }));
    }

    /// One sentence for a person; `None` if nothing is wrong.
    pub(super) fn summary(&self) -> Option<String> {
        let first = self.first.as_deref()?;
        if self.invalid_rows == 0 {
            return Some(first.to_owned());
        }
        let (noun, verb) =
            (if self.rows == 1 { "row" } else { "rows" }, if self.invalid_rows == 1 { "is" } else { "are" });
        Some(format!(
            "{} of {} {noun} {verb} invalid: {first}",
            grouped(self.invalid_rows),
            grouped(self.rows)
        ))
    }

    pub(super) fn into_report(self) -> Value {
        let report = json!({
            "valid": self.error_count == 0,
            "rows": self.rows,
            "invalid_rows": self.invalid_rows,
            "truncated": self.error_count > self.errors.len() as u64,
            "error_count": self.error_count,
            "errors": self.errors,
        });
        fit(report, "errors")
    }
}

fn sentence(place: Place<'_>, column: Option<&str>, reason: &str) -> String {
    let mut parts = Vec::new();
    parts.extend(place.row.map(|row| format!("row {}", grouped(row))));
    parts.extend(column.filter(|column| !column.is_empty()).map(|column| match column.starts_with('/') {
        true => format!("at {column}"),
        false => format!("column '{}'", usp_model::error::printable(column)),
    }));
    if parts.is_empty() { reason.to_owned() } else { format!("{}: {reason}", parts.join(", ")) }
}
