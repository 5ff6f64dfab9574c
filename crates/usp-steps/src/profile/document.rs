//! The profile of a JSON document, and of JSON lines.

use serde_json::{Value, json};

use super::add_encoding;
use crate::StepError;
use crate::bounds::PROBLEM_COUNT_MAX;
use crate::json::{Fault, Parser, Paths};
use crate::report::{counted, fit};
use crate::text::TextReader;

pub(super) fn json(mut text: TextReader<'_>) -> Result<Value, StepError> {
    let (mut parser, mut paths) = (Parser::new(), Paths::new());
    let mut fault = None;
    // Reading stops at the first fault: what follows it cannot be placed.
    while fault.is_none() {
        let piece = text.next()?;
        if piece.is_empty() {
            fault = parser.finish(&mut paths).err();
            break;
        }
        fault = parser.feed(piece, &mut paths).err();
    }
    let error = match fault {
        Some(fault) => Some(json!({"line": fault.line, "column": fault.column, "reason": fault.reason})),
        None => malformed(&text).map(|reason| json!({"line": null, "column": null, "reason": reason})),
    };
    let mut report = base("json", &paths);
    if let Some(members) = report.as_object_mut() {
        members.insert("valid".to_owned(), json!(error.is_none()));
        members.insert("root".to_owned(), paths.root());
        members.extend(error.map(|error| ("error".to_owned(), error)));
    }
    add_encoding(&mut report, &text);
    Ok(fit(report, "paths"))
}

/// Each line is a text of its own; what stands before the fault of a bad line is part of the profile.
pub(super) fn ndjson(mut text: TextReader<'_>) -> Result<Value, StepError> {
    let mut lines = Lines::default();
    loop {
        let piece = text.next()?;
        if piece.is_empty() {
            break;
        }
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            lines.feed(part);
            if part.ends_with(b"\n") {
                lines.end();
            }
        }
    }
    if lines.has_open {
        lines.end();
    }
    let malformed = malformed(&text);
    let problem_count = lines.bad_count + u64::from(malformed.is_some());
    if let Some(reason) = malformed
        && lines.listed.len() < PROBLEM_COUNT_MAX
    {
        lines.listed.push(json!({"line": null, "column": null, "reason": reason}));
    }
    let mut report = base("ndjson", &lines.paths);
    if let Some(members) = report.as_object_mut() {
        members.insert("valid".to_owned(), json!(problem_count == 0));
        members.insert("lines".to_owned(), json!(lines.count));
        members.insert("blank_lines".to_owned(), json!(lines.blank_count));
        members.insert("valid_lines".to_owned(), json!(lines.count - lines.blank_count - lines.bad_count));
        members.insert("problems".to_owned(), Value::Array(lines.listed));
        members.insert("problem_count".to_owned(), json!(problem_count));
    }
    add_encoding(&mut report, &text);
    Ok(fit(report, "paths"))
}

#[derive(Default)]
struct Lines {
    parser: Parser,
    paths: Paths,
    fault: Option<Fault>,
    /// Something of the current line was read.
    has_open: bool,
    count: u64,
    blank_count: u64,
    bad_count: u64,
    listed: Vec<Value>,
}

impl Lines {
    fn feed(&mut self, part: &[u8]) {
        self.has_open = true;
        if self.fault.is_none() {
            let line = part.strip_suffix(b"\n").unwrap_or(part);
            self.fault = self.parser.feed(line, &mut self.paths).err();
        }
    }

    fn end(&mut self) {
        self.count += 1;
        self.has_open = false;
        let fault = self.fault.take();
        if fault.is_none() && self.parser.is_blank() {
            self.blank_count += 1;
        } else if let Some(fault) = fault.or_else(|| self.parser.finish(&mut self.paths).err()) {
            self.bad_count += 1;
            if self.listed.len() < PROBLEM_COUNT_MAX {
                self.listed.push(json!({"line": self.count, "column": fault.column, "reason": fault.reason}));
            }
        }
        self.parser.reset();
        self.paths.reset();
    }
}

fn base(kind: &str, paths: &Paths) -> Value {
    json!({
        "kind": kind,
        "depth_max": paths.depth_max(),
        "values": paths.totals(),
        "paths": paths.entries(),
        "values_beyond_paths": paths.beyond(),
        "truncated": paths.beyond() > 0,
    })
}

/// JSON must be well-formed in its charset too.
fn malformed(text: &TextReader<'_>) -> Option<String> {
    let tally = text.tally();
    let at = tally.first_replaced_at?;
    let count = counted(tally.replaced, "byte sequence is", "byte sequences are");
    Some(format!("{count} not {}, the first at byte {at}", text.charset_name()))
}
