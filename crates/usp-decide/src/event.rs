//! What an event says. The state of a file or run after the change is the one that is handed in.

use usp_model::{
    EventBody, File, FileChange, FileEvent, FileState, Run, RunChange, RunEvent, Upload, UploadChange,
    UploadEvent, UploadShape,
};

/// What is said of a file whose state became the one that it has.
pub fn of_file(file: &File) -> EventBody {
    let change = match file.state {
        FileState::Uploading | FileState::Stored => FileChange::Stored,
        FileState::Processing => FileChange::Processing,
        FileState::Ready => FileChange::Ready,
        FileState::Failed => FileChange::Failed,
        FileState::Quarantined => FileChange::Quarantined,
        FileState::Rejected => FileChange::Rejected,
    };
    EventBody::File(file_event(file, change))
}

/// What is said of a file that is there no more.
pub fn of_deleted(file: &File) -> EventBody {
    EventBody::File(file_event(file, FileChange::Deleted))
}

fn file_event(file: &File, change: FileChange) -> FileEvent {
    FileEvent {
        change,
        version: file.version,
        size_bytes: file.size_bytes,
        media_type: file.media_type.clone(),
        state: file.state,
        released: file.released,
    }
}

/// What is said of a new version: that it is stored, and what it is from now on.
pub fn of_version(file: &File) -> [EventBody; 2] {
    let stored = File { state: FileState::Stored, ..file.clone() };
    [EventBody::File(file_event(&stored, FileChange::Stored)), of_file(file)]
}

/// What is said of a run, with the step that failed if one did. `trace` is that of the request that asked for it.
pub fn of_run(run: &Run, change: RunChange, trace: Option<&str>) -> EventBody {
    let failed_step = run.steps.iter().find(|step| step.error.is_some());
    EventBody::Run(RunEvent {
        change,
        run_id: run.id,
        rule: run.rule.clone(),
        rule_version: run.rule_version,
        version: run.version,
        state: run.state,
        attempt: run.attempt,
        step: failed_step.map(|step| step.name.clone()),
        error: run.error.clone(),
        next_attempt_at: run.next_attempt_at,
        trace: trace.map(str::to_owned),
    })
}

/// What is said of an upload. Nothing of a part: the upload that it is joined to has events.
pub fn of_upload(upload: &Upload, change: UploadChange) -> Option<EventBody> {
    if upload.shape == UploadShape::Part {
        return None;
    }
    Some(EventBody::Upload(UploadEvent {
        change,
        upload_id: upload.id,
        size_bytes: upload.size_bytes,
        received_bytes: upload.received_bytes,
    }))
}
