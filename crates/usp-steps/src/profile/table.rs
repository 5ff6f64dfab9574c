//! The profile of a delimited table.

use serde_json::{Value, json};
use usp_model::limits::REPORT_BYTES_MAX;

use super::add_encoding;
use super::column::{Column, SketchSizes};
use crate::StepError;
use crate::bounds::{COLUMN_COUNT_MAX, PROBLEM_COUNT_MAX};
use crate::report::{counted, cut, fit, json_bytes};
use crate::table::dialect::{self, Hints};
use crate::table::{Dialect, Record, Records};
use crate::text::TextReader;

/// Problems by row, the first of them in words.
#[derive(Debug, Default)]
struct Problems {
    listed: Vec<Value>,
    count: u64,
    ragged_rows: u64,
}

impl Problems {
    fn add(&mut self, row: Option<u64>, line: Option<u64>, reason: impl FnOnce() -> String) {
        self.count += 1;
        if self.listed.len() < PROBLEM_COUNT_MAX {
            self.listed.push(json!({"row": row, "line": line, "reason": reason()}));
        }
    }

    /// `row` is absent for the header.
    fn check(&mut self, row: Option<u64>, record: &Record, columns: usize) {
        for reason in record.faults.reasons() {
            self.add(row, Some(record.line), || reason.to_owned());
        }
        if record.field_count != columns {
            self.ragged_rows += 1;
            self.add(row, Some(record.line), || ragged(record.field_count, columns));
        }
    }
}

/// `has 3 fields, not 4`.
pub(crate) fn ragged(found: usize, expected: usize) -> String {
    format!("the row has {}, not {expected}", counted(found as u64, "field", "fields"))
}

pub(super) fn profile(mut text: TextReader<'_>, kind: &str, hints: Hints) -> Result<Value, StepError> {
    let head = text.head()?.to_vec();
    let dialect = dialect::detect(&head, text.has_ended(), hints);
    drop(head);
    let mut records = Records::new(text, dialect.delimiter, dialect.quote);
    let mut columns: Vec<Column> = Vec::new();
    let mut column_count = 0;
    let mut rows = 0_u64;
    let mut problems = Problems::default();
    let mut is_first = true;
    while let Some(record) = records.next()? {
        if std::mem::take(&mut is_first) {
            column_count = record.field_count;
            columns = columns_of(record, dialect.has_header);
            name_problems(&columns_names(record, dialect.has_header), column_count, &mut problems);
            if dialect.has_header {
                problems.check(None, record, column_count);
                continue;
            }
        }
        rows += 1;
        if record.field_count != column_count || record.faults != crate::table::Faults::default() {
            problems.check(Some(rows), record, column_count);
        }
        for (column, field) in columns.iter_mut().zip(record.fields()) {
            column.add(field);
        }
    }
    let table = Table { kind, dialect, rows, columns, column_count, problems };
    Ok(table.report(&records))
}

fn columns_names(record: &Record, has_header: bool) -> Vec<String> {
    if has_header { record.fields().map(|field| cut(field.trim_ascii())).collect() } else { Vec::new() }
}

fn columns_of(record: &Record, has_header: bool) -> Vec<Column> {
    let sizes = SketchSizes::for_columns(record.field_count.min(COLUMN_COUNT_MAX));
    let name = |index: usize, field: &[u8]| {
        if has_header { cut(field.trim_ascii()) } else { format!("column_{}", index + 1) }
    };
    record.fields().enumerate().map(|(index, field)| Column::new(name(index, field), sizes)).collect()
}

fn name_problems(names: &[String], column_count: usize, problems: &mut Problems) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            problems.add(None, None, || format!("column {} has no name", index + 1));
        } else if !seen.insert(name) {
            problems.add(None, None, || format!("column name '{}' occurs more than once", name));
        }
    }
    if column_count > COLUMN_COUNT_MAX {
        problems.add(None, None, || {
            let columns = counted(column_count as u64, "column", "columns");
            format!("there are {columns}; only the first 2,000 are profiled")
        });
    }
}

/// Everything that the pass has found.
struct Table<'a> {
    kind: &'a str,
    dialect: Dialect,
    rows: u64,
    columns: Vec<Column>,
    column_count: usize,
    problems: Problems,
}

impl Table<'_> {
    fn report(mut self, records: &Records<'_>) -> Value {
        let tally = records.text().tally();
        if tally.replaced > 0 {
            let at = tally.first_replaced_at.unwrap_or_default();
            let count = counted(tally.replaced, "byte sequence is", "byte sequences are");
            let charset = records.text().charset_name();
            self.problems.add(None, None, || format!("{count} not {charset}, the first at byte {at}"));
        }
        if tally.nul_bytes > 0 {
            let count = counted(tally.nul_bytes, "NUL character", "NUL characters");
            self.problems.add(None, None, || format!("the table contains {count}"));
        }
        let mut report = json!({
            "kind": self.kind,
            "dialect": {
                "delimiter": char::from(self.dialect.delimiter).to_string(),
                "quote": char::from(self.dialect.quote).to_string(),
                "line_ending": self.dialect.line_ending.as_str(),
                "has_header": self.dialect.has_header,
            },
            "rows": self.rows,
            "column_count": self.column_count,
            "columns": self.columns.iter().map(Column::report).collect::<Vec<Value>>(),
            "ragged_rows": self.problems.ragged_rows,
            "blank_lines": records.blank_lines(),
            "problems": self.problems.listed,
            "problem_count": self.problems.count,
            "truncated": false,
        });
        add_encoding(&mut report, records.text());
        shorten_tops(&mut report);
        fit(report, "columns")
    }
}

/// A wide table first loses its most frequent values, then its last columns.
fn shorten_tops(report: &mut Value) {
    for kept in [3, 0] {
        if json_bytes(report) <= REPORT_BYTES_MAX {
            return;
        }
        for column in report.get_mut("columns").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(top) = column.get_mut("top").and_then(Value::as_array_mut) {
                top.truncate(kept);
            }
        }
        if let Some(members) = report.as_object_mut() {
            members.insert("truncated".to_owned(), Value::Bool(true));
        }
    }
}
