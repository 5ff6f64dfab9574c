//! Events as schema versions 1 to 7 wrote them: one a row, as the JSON object that doors showed. Their keys were added when
//! the schema was brought up to date.

use serde_json::Value;
use usp_model::{
    EventBody, EventKind, FileChange, FileEvent, FileKey, FileState, MediaType, Result, RuleName, RunChange,
    RunEvent, RunId, RunState, Timestamp, UploadChange, UploadEvent, UploadId,
};

use super::{corrupt, member};

/// Errors: `Corrupt`.
pub(super) fn decode(kind: EventKind, body: &[u8]) -> Result<(FileKey, Vec<EventBody>)> {
    let object: Value =
        serde_json::from_slice(body).map_err(|source| corrupt("it is no JSON").caused_by(source))?;
    let key = member(&object, "key", FileKey::parse)?;
    let body = match kind {
        EventKind::UploadCreated => upload(&object, UploadChange::Created)?,
        EventKind::UploadProgress => upload(&object, UploadChange::Progress)?,
        EventKind::UploadCompleted => {
            upload(&object, UploadChange::Completed { version: count(&object, "version") })?
        }
        EventKind::UploadExpired => upload(&object, UploadChange::Expired)?,
        EventKind::UploadTerminated => upload(&object, UploadChange::Terminated)?,
        EventKind::FileStored => file(&object, FileChange::Stored)?,
        EventKind::FileProcessing => file(&object, FileChange::Processing)?,
        EventKind::FileReady => file(&object, FileChange::Ready)?,
        EventKind::FileFailed => file(&object, FileChange::Failed)?,
        EventKind::FileQuarantined => file(&object, FileChange::Quarantined)?,
        EventKind::FileRejected => file(&object, FileChange::Rejected)?,
        EventKind::FileDeleted => file(&object, FileChange::Deleted)?,
        EventKind::RunQueued => run(&object, RunChange::Queued)?,
        EventKind::RunStarted => run(&object, RunChange::Started)?,
        EventKind::RunProgress => return Err(corrupt("progress is not kept")),
        EventKind::RunRetrying => run(&object, RunChange::Retrying)?,
        EventKind::RunSucceeded => run(&object, RunChange::Succeeded)?,
        EventKind::RunDead => run(&object, RunChange::Dead)?,
        EventKind::RunCancelled => run(&object, RunChange::Cancelled)?,
    };
    Ok((key, vec![body]))
}

fn upload(object: &Value, change: UploadChange) -> Result<EventBody> {
    Ok(EventBody::Upload(UploadEvent {
        change,
        upload_id: member(object, "upload_id", UploadId::parse)?,
        size_bytes: object.get("size").and_then(Value::as_u64),
        received_bytes: object.get("received").and_then(Value::as_u64).unwrap_or_default(),
    }))
}

fn file(object: &Value, change: FileChange) -> Result<EventBody> {
    Ok(EventBody::File(FileEvent {
        change,
        version: count(object, "version"),
        size_bytes: object.get("size").and_then(Value::as_u64).unwrap_or_default(),
        media_type: member(object, "media_type", MediaType::parse)?,
        state: member(object, "state", FileState::parse)?,
        released: object.get("released").and_then(Value::as_bool).unwrap_or_default(),
    }))
}

fn run(object: &Value, change: RunChange) -> Result<EventBody> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    Ok(EventBody::Run(RunEvent {
        change,
        run_id: member(object, "run_id", RunId::parse)?,
        rule: member(object, "rule", RuleName::parse)?,
        rule_version: count(object, "rule_version"),
        version: count(object, "version"),
        state: member(object, "state", RunState::parse)?,
        attempt: count(object, "attempt"),
        step: text("step").map(str::to_owned),
        error: text("error").map(str::to_owned),
        next_attempt_at: text("next_attempt_at").and_then(|at| Timestamp::parse(at).ok()),
        trace: text("traceparent").map(str::to_owned),
    }))
}

fn count(object: &Value, name: &str) -> u32 {
    object.get(name).and_then(Value::as_u64).and_then(|value| u32::try_from(value).ok()).unwrap_or_default()
}
