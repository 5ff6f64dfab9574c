//! Answers as messages.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Timestamp as ProtoTimestamp, Value as ProtoValue};
use serde_json::{Map, Value};
use usp_api::{FileStatus, event_json};
use usp_model::{
    ContentDigests, DigestAlgorithm, Event, File, FileState, LabelKey, Run, RunState, Step, StepState,
    Timestamp,
};
use usp_proto::shared;

use super::MESSAGE_BYTES_MAX;

/// The part of a message that files or runs may fill.
pub(super) const ROOM_BYTES: usize = MESSAGE_BYTES_MAX - (64 << 10);

/// A message holds a file without its reports in any case; with them only if they are not too long.
pub(super) fn file(file: File) -> shared::File {
    let mut shown = with_reports(file);
    if shown.encoded_len() > ROOM_BYTES {
        shown.reports.clear();
    }
    shown
}

fn with_reports(file: File) -> shared::File {
    shared::File {
        id: file.id.to_string(),
        bucket: file.bucket.to_string(),
        key: file.key.to_string(),
        version: file.version,
        size_bytes: file.size_bytes,
        media_type: file.media_type.to_string(),
        declared_media_type: file.declared_media_type.map(|media| media.to_string()).unwrap_or_default(),
        etag: format!("\"{}\"", file.etag),
        digests: Some(digests(&file.digests)),
        state: file_state(file.state).into(),
        created_at: Some(timestamp(file.created_at)),
        updated_at: Some(timestamp(file.updated_at)),
        owner: file.owner,
        metadata: labels(file.metadata),
        labels: labels(file.labels),
        stored: Some(shared::StoredBytes {
            bytes: file.stored.bytes,
            chunks: file.stored.chunks,
            deduplicated_bytes: file.stored.deduplicated_bytes,
        }),
        reports: file.reports.into_iter().map(|(step, report)| (step, structure(report))).collect(),
        derived: file
            .derived
            .into_iter()
            .map(|derived| shared::DerivedFile { name: derived.name, file_id: derived.file_id.to_string() })
            .collect(),
        derived_from: file.derived_from.map(|id| id.to_string()).unwrap_or_default(),
        expires_at: file.expires_at.map(timestamp),
    }
}

/// As many runs as a message holds, the newest of them.
pub(super) fn file_status(status: FileStatus) -> shared::FileStatus {
    let mut shown = with_runs(status);
    while shown.encoded_len() > ROOM_BYTES && !shown.runs.is_empty() {
        shown.runs.truncate(shown.runs.len() / 2);
    }
    shown
}

fn with_runs(status: FileStatus) -> shared::FileStatus {
    shared::FileStatus {
        file_id: status.file_id.to_string(),
        state: file_state(status.state).into(),
        upload: Some(shared::UploadProgress {
            received_bytes: status.upload.received_bytes,
            size_bytes: status.upload.size_bytes,
        }),
        runs: status.runs.into_iter().map(run).collect(),
    }
}

pub(super) fn run(run: Run) -> shared::Run {
    shared::Run {
        id: run.id.to_string(),
        file_id: run.file_id.to_string(),
        bucket: run.bucket.to_string(),
        version: run.version,
        rule: run.rule.to_string(),
        rule_version: run.rule_version,
        state: run_state(run.state).into(),
        attempt: run.attempt,
        attempts_max: run.attempts_max,
        priority: run.priority,
        created_at: Some(timestamp(run.created_at)),
        started_at: run.started_at.map(timestamp),
        ended_at: run.ended_at.map(timestamp),
        next_attempt_at: run.next_attempt_at.map(timestamp),
        error: run.error.unwrap_or_default(),
        steps: run.steps.into_iter().map(step).collect(),
    }
}

fn step(step: Step) -> shared::Step {
    shared::Step {
        name: step.name,
        uses: step.uses,
        state: step_state(step.state).into(),
        attempt: step.attempt,
        percent: u32::from(step.percent),
        started_at: step.started_at.map(timestamp),
        ended_at: step.ended_at.map(timestamp),
        error: step.error.unwrap_or_default(),
    }
}

pub(super) fn event(event: Event) -> shared::Event {
    shared::Event {
        seq: event.seq,
        at: Some(timestamp(event.at)),
        r#type: event.kind().to_string(),
        bucket: event.bucket.to_string(),
        file_id: event.file_id.to_string(),
        data: Some(structure(Value::Object(event_json(&event)))),
    }
}

pub(super) fn timestamp(at: Timestamp) -> ProtoTimestamp {
    let ms = at.unix_ms();
    let nanos = i32::try_from(ms.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    ProtoTimestamp { seconds: ms.div_euclid(1000), nanos }
}

fn labels(labels: BTreeMap<LabelKey, String>) -> BTreeMap<String, String> {
    labels.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

fn digests(known: &ContentDigests) -> shared::Digests {
    let hex = |algorithm| known.get(&algorithm).cloned().unwrap_or_default();
    shared::Digests {
        sha256: hex(DigestAlgorithm::Sha256),
        sha512: hex(DigestAlgorithm::Sha512),
        blake3: hex(DigestAlgorithm::Blake3),
        md5: hex(DigestAlgorithm::Md5),
        crc32c: hex(DigestAlgorithm::Crc32c),
    }
}

/// A JSON object as `Struct`; any other value becomes its field `value`.
fn structure(value: Value) -> Struct {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    Struct { fields: fields.into_iter().map(|(key, value)| (key, proto_value(value))).collect() }
}

fn proto_value(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        // A `Value` has no integers: what lies beyond 2^53 loses its last digits, as in JavaScript.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(proto_value).collect() })
        }
        object @ Value::Object(_) => Kind::StructValue(structure(object)),
    };
    ProtoValue { kind: Some(kind) }
}

fn file_state(state: FileState) -> shared::FileState {
    match state {
        FileState::Uploading => shared::FileState::Uploading,
        FileState::Stored => shared::FileState::Stored,
        FileState::Processing => shared::FileState::Processing,
        FileState::Ready => shared::FileState::Ready,
        FileState::Failed => shared::FileState::Failed,
        FileState::Quarantined => shared::FileState::Quarantined,
        FileState::Rejected => shared::FileState::Rejected,
    }
}

fn run_state(state: RunState) -> shared::RunState {
    match state {
        RunState::Queued => shared::RunState::Queued,
        RunState::Running => shared::RunState::Running,
        RunState::Retrying => shared::RunState::Retrying,
        RunState::Succeeded => shared::RunState::Succeeded,
        RunState::Dead => shared::RunState::Dead,
        RunState::Cancelled => shared::RunState::Cancelled,
    }
}

fn step_state(state: StepState) -> shared::StepState {
    match state {
        StepState::Pending => shared::StepState::Pending,
        StepState::Running => shared::StepState::Running,
        StepState::Succeeded => shared::StepState::Succeeded,
        StepState::Failed => shared::StepState::Failed,
        StepState::Skipped => shared::StepState::Skipped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reports_keep_their_shape() {
        let shown = structure(json!({"rows": 3, "columns": [{"name": "a", "nulls": null}]}));
        assert_eq!(shown.fields["rows"].kind, Some(Kind::NumberValue(3.0)));
        let Some(Kind::ListValue(columns)) = &shown.fields["columns"].kind else {
            panic!("columns are a list");
        };
        assert_eq!(columns.values.len(), 1);
        assert_eq!(structure(json!(5)).fields["value"].kind, Some(Kind::NumberValue(5.0)));
    }

    #[test]
    fn times_keep_their_milliseconds() {
        let shown = timestamp(Timestamp::from_unix_ms(1_500));
        assert_eq!((shown.seconds, shown.nanos), (1, 500_000_000));
    }
}
