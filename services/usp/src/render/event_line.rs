//! One line per event: when, which file, what happened.

use serde_json::{Map, Value};
use usp_client::types::Event;
use usp_model::EventKind;

use super::size;
use crate::output::shown;

/// `10:00:00.123Z  orders.csv  run tables: profile 42%, attempt 2`.
pub(crate) fn event_line(event: &Event, file: &str) -> String {
    let time = event.time.to_string();
    // The day is the reader's own; `--json` has all of it.
    let time = time.split_once('T').map_or(time.as_str(), |(_, clock)| clock);
    format!("{time}  {file}  {}", shown(&what_happened(event)))
}

fn what_happened(event: &Event) -> String {
    let told = &event.details;
    let Some(kind) = event.kind() else {
        return event.type_name.clone();
    };
    match kind {
        EventKind::UploadCreated => format!("upload begins{}", of_size(told)),
        EventKind::UploadProgress => format!("upload {}", received(told)),
        EventKind::UploadCompleted => "upload complete".to_owned(),
        EventKind::UploadExpired => "upload expired".to_owned(),
        EventKind::UploadTerminated => "upload terminated".to_owned(),
        EventKind::FileStored => format!("stored, version {}{}", number(told, "version"), of_size(told)),
        EventKind::FileProcessing => "processing".to_owned(),
        EventKind::FileReady => "ready".to_owned(),
        EventKind::FileFailed => format!("failed{}", error(told)),
        EventKind::FileQuarantined => format!("quarantined{}", error(told)),
        EventKind::FileRejected => format!("rejected{}", error(told)),
        EventKind::FileDeleted => "deleted".to_owned(),
        EventKind::RunQueued => format!("{}: queued", run(told)),
        EventKind::RunStarted => format!("{}: started{}", run(told), attempt(told)),
        EventKind::RunProgress => format!("{}: {}", run(told), progress(told)),
        EventKind::RunRetrying => {
            format!("{}: will be tried again{}{}", run(told), attempt(told), failure(told))
        }
        EventKind::RunSucceeded => format!("{}: succeeded{}", run(told), attempt(told)),
        EventKind::RunDead => format!("{}: dead{}{}", run(told), attempt(told), failure(told)),
        EventKind::RunCancelled => format!("{}: cancelled", run(told)),
    }
}

fn run(told: &Map<String, Value>) -> String {
    format!("run {}", text(told, "rule").unwrap_or("?"))
}

fn attempt(told: &Map<String, Value>) -> String {
    match told.get("attempt").and_then(Value::as_u64) {
        None | Some(0) => String::new(),
        Some(attempt) => format!(", attempt {attempt}"),
    }
}

/// Which step failed, and why.
fn failure(told: &Map<String, Value>) -> String {
    let step = text(told, "step").map(|step| format!(", step {step}")).unwrap_or_default();
    format!("{step}{}", error(told))
}

fn error(told: &Map<String, Value>) -> String {
    text(told, "error").map(|error| format!(": {error}")).unwrap_or_default()
}

/// Every step that has begun, or the whole event's own figures.
fn progress(told: &Map<String, Value>) -> String {
    let steps = told.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let steps: Vec<String> = steps.iter().filter_map(Value::as_object).filter_map(step).collect();
    if !steps.is_empty() {
        return steps.join(" · ");
    }
    let name = text(told, "step").map(|step| format!("{step} ")).unwrap_or_default();
    format!("{name}{}%{}{}", number(told, "percent"), attempt(told), error(told))
}

fn step(step: &Map<String, Value>) -> Option<String> {
    let name = text(step, "name")?;
    let line = match text(step, "state")? {
        "pending" => return None,
        "running" => format!("{name} {}%", number(step, "percent")),
        state => format!("{name} {state}"),
    };
    // The first attempt is what everyone expects.
    let attempt = step.get("attempt").and_then(Value::as_u64).filter(|attempt| *attempt > 1);
    let attempt = attempt.map(|attempt| format!(", attempt {attempt}")).unwrap_or_default();
    Some(format!("{line}{attempt}{}", error(step)))
}

fn received(told: &Map<String, Value>) -> String {
    let received = told.get("received").and_then(Value::as_u64).unwrap_or_default();
    match told.get("size").and_then(Value::as_u64) {
        Some(whole) if whole > 0 => {
            format!("{}% of {}", u128::from(received) * 100 / u128::from(whole), size(whole))
        }
        _ => size(received),
    }
}

fn of_size(told: &Map<String, Value>) -> String {
    told.get("size").and_then(Value::as_u64).map(|bytes| format!(", {}", size(bytes))).unwrap_or_default()
}

fn number(told: &Map<String, Value>, name: &str) -> u64 {
    told.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn text<'a>(told: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    told.get(name)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(kind: &str, told: Value) -> String {
        let event = json!({
            "specversion": "1.0", "id": "7", "source": "urn:usp", "type": kind, "subject": "f",
            "time": "2026-11-22T10:00:00.123Z", "data": told,
        });
        event_line(&serde_json::from_value(event).unwrap(), "orders.csv")
    }

    #[test]
    fn each_event_says_when_which_file_and_what() {
        let table = [
            ("usp.file.stored", json!({"version": 2, "size": 2048}), "stored, version 2, 2.00 KiB"),
            ("usp.file.ready", json!({}), "ready"),
            ("usp.upload.progress", json!({"received": 512, "size": 2048}), "upload 25% of 2.00 KiB"),
            ("usp.run.started", json!({"rule": "tables", "attempt": 2}), "run tables: started, attempt 2"),
            (
                "usp.run.dead",
                json!({"rule": "tables", "attempt": 5, "step": "profile", "error": "not a table"}),
                "run tables: dead, attempt 5, step profile: not a table",
            ),
            ("usp.of.tomorrow", json!({}), "usp.of.tomorrow"),
        ];
        for (kind, told, expected) in table {
            assert_eq!(line(kind, told), format!("10:00:00.123Z  orders.csv  {expected}"));
        }
    }

    #[test]
    fn progress_shows_each_step_that_has_begun() {
        let told = json!({"rule": "tables", "steps": [
            {"name": "sniff", "state": "succeeded", "attempt": 1, "percent": 100},
            {"name": "profile", "state": "running", "attempt": 2, "percent": 42, "error": "out of luck"},
            {"name": "validate", "state": "pending", "attempt": 0, "percent": 0},
        ]});
        let expected = "run tables: sniff succeeded · profile 42%, attempt 2: out of luck";
        assert!(line("usp.run.progress", told).ends_with(expected));
    }

    #[test]
    fn every_kind_of_event_is_told_in_words() {
        for kind in EventKind::ALL {
            let line = line(kind.as_str(), json!({"rule": "r"}));
            assert!(!line.contains("usp."), "{line}");
        }
    }

    #[test]
    fn an_error_cannot_begin_a_line() {
        let line = line("usp.file.failed", json!({"error": "a\n10:00 other.csv ready"}));
        assert!(line.ends_with("failed: a\\u{a}10:00 other.csv ready"));
    }
}
