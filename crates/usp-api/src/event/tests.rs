use usp_model::{
    BucketName, FileChange, FileId, FileKey, FileState, MediaType, RuleName, RunId, RunState, StepState,
    Timestamp, UploadId,
};

use super::*;

fn shown(body: EventBody) -> Value {
    let (bucket, key) = (BucketName::parse("default").unwrap(), FileKey::parse("a/b.csv").unwrap());
    let file_id = FileId::from_bytes([1; 32]);
    Value::Object(event_json(&Event { seq: 1, at: Timestamp::from_unix_ms(0), bucket, file_id, key, body }))
}

fn upload(change: UploadChange, size_bytes: Option<u64>) -> EventBody {
    let upload_id = UploadId::from_bytes([2; 32]);
    EventBody::Upload(UploadEvent { change, upload_id, size_bytes, received_bytes: 5 })
}

fn run(change: RunChange) -> RunEvent {
    RunEvent {
        change,
        run_id: RunId::from_bytes([3; 32]),
        rule: RuleName::parse("profile").unwrap(),
        rule_version: 2,
        version: 3,
        state: RunState::Running,
        attempt: 4,
        step: None,
        error: None,
        next_attempt_at: None,
        trace: None,
    }
}

#[test]
fn uploads_show_what_was_received_and_the_version_that_they_became() {
    let id = UploadId::from_bytes([2; 32]);
    let open = json!({"upload_id": id, "key": "a/b.csv", "size": null, "received": 5});
    for change in [UploadChange::Created, UploadChange::Progress, UploadChange::Expired] {
        assert_eq!(shown(upload(change, None)), open);
    }
    let completed = json!({"upload_id": id, "key": "a/b.csv", "size": 5, "received": 5, "version": 7});
    assert_eq!(shown(upload(UploadChange::Completed { version: 7 }, Some(5))), completed);
}

#[test]
fn files_show_their_state_and_whether_they_are_released() {
    let file = EventBody::File(FileEvent {
        change: FileChange::Ready,
        version: 1,
        size_bytes: 9,
        media_type: MediaType::parse("text/csv").unwrap(),
        state: FileState::Ready,
        released: true,
    });
    let expected = json!({
        "key": "a/b.csv", "version": 1, "size": 9, "state": "ready", "media_type": "text/csv", "released": true,
    });
    assert_eq!(shown(file), expected);
}

#[test]
fn runs_show_what_failed_only_where_something_did() {
    let id = RunId::from_bytes([3; 32]);
    let plain = json!({
        "run_id": id, "key": "a/b.csv", "rule": "profile", "rule_version": 2, "version": 3, "state": "running",
        "attempt": 4,
    });
    assert_eq!(shown(EventBody::Run(run(RunChange::Started))), plain);
    let failed = RunEvent {
        step: Some("sniff".to_owned()),
        error: Some("it broke".to_owned()),
        next_attempt_at: Some(Timestamp::from_unix_ms(1_500)),
        trace: Some("00-1-2-01".to_owned()),
        ..run(RunChange::Retrying)
    };
    let mut expected = plain;
    expected["step"] = json!("sniff");
    expected["error"] = json!("it broke");
    expected["next_attempt_at"] = json!("1970-01-01T00:00:01.500Z");
    expected["traceparent"] = json!("00-1-2-01");
    assert_eq!(shown(EventBody::Run(failed)), expected);
}

#[test]
fn progress_of_a_run_shows_its_steps() {
    let step = Step {
        name: "sniff".to_owned(),
        uses: "sniff".to_owned(),
        state: StepState::Running,
        attempt: 4,
        percent: 40,
        started_at: Some(Timestamp::from_unix_ms(0)),
        ended_at: None,
        error: None,
    };
    let expected = json!({
        "run_id": RunId::from_bytes([3; 32]), "key": "a/b.csv", "rule": "profile", "state": "running", "attempt": 4,
        "steps": [{
            "name": "sniff", "state": "running", "attempt": 4, "percent": 40,
            "started_at": "1970-01-01T00:00:00.000Z", "ended_at": null, "error": null,
        }],
    });
    assert_eq!(shown(EventBody::Run(run(RunChange::Progress(vec![step])))), expected);
}
