//! What doors show of an event.

use serde_json::{Map, Value, json};
use usp_model::{Event, EventBody, FileEvent, RunChange, RunEvent, Step, UploadChange, UploadEvent};

/// The `data` of an event as every door shows it, without what the door's envelope says: number, time, type, bucket, file.
///
/// Shape: the members are listed by kind in docs/EVENTS.md; `traceparent` stands among them, for doors that show it
/// elsewhere to take out.
pub fn event_json(event: &Event) -> Map<String, Value> {
    let mut data = match &event.body {
        EventBody::Upload(upload) => upload_json(upload),
        EventBody::File(file) => file_json(file),
        EventBody::Run(run) => run_json(run),
    };
    data.insert("key".to_owned(), json!(event.key));
    data
}

fn upload_json(upload: &UploadEvent) -> Map<String, Value> {
    let mut data = object([
        ("upload_id", json!(upload.upload_id)),
        ("size", json!(upload.size_bytes)),
        ("received", json!(upload.received_bytes)),
    ]);
    if let UploadChange::Completed { version } = upload.change {
        data.insert("version".to_owned(), json!(version));
    }
    data
}

fn file_json(file: &FileEvent) -> Map<String, Value> {
    object([
        ("version", json!(file.version)),
        ("size", json!(file.size_bytes)),
        ("state", json!(file.state)),
        ("media_type", json!(file.media_type)),
        ("released", json!(file.released)),
    ])
}

fn run_json(run: &RunEvent) -> Map<String, Value> {
    let mut data = object([
        ("run_id", json!(run.run_id)),
        ("rule", json!(run.rule)),
        ("state", json!(run.state)),
        ("attempt", json!(run.attempt)),
    ]);
    if let RunChange::Progress(steps) = &run.change {
        data.insert("steps".to_owned(), steps.iter().map(step_json).collect());
        return data;
    }
    data.insert("rule_version".to_owned(), json!(run.rule_version));
    data.insert("version".to_owned(), json!(run.version));
    let optional = [
        ("traceparent", run.trace.as_ref().map(|trace| json!(trace))),
        ("step", run.step.as_ref().map(|step| json!(step))),
        ("error", run.error.as_ref().map(|error| json!(error))),
        ("next_attempt_at", run.next_attempt_at.map(|at| json!(at))),
    ];
    data.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    data
}

fn step_json(step: &Step) -> Value {
    json!({
        "name": step.name, "state": step.state, "attempt": step.attempt, "percent": step.percent,
        "started_at": step.started_at, "ended_at": step.ended_at, "error": step.error,
    })
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests;
