//! Events: what happened to a file, in order.
//!
//! An [`Event`] is typed from the transaction that writes it to the door that shows it. What a door shows is made at the
//! door; how an event is stored is docs/formats/event.md.

use crate::{
    BucketName, FileId, FileKey, FileState, MediaType, RuleName, RunId, RunState, Step, Timestamp, UploadId,
};

/// The place of an event in the log of one installation. Rises, never repeats; 0 marks events that are not kept.
pub type EventSeq = i64;

words! {
    /// The CloudEvents `type`.
    pub enum EventKind {
        UploadCreated = "usp.upload.created",
        UploadProgress = "usp.upload.progress",
        UploadCompleted = "usp.upload.completed",
        UploadExpired = "usp.upload.expired",
        UploadTerminated = "usp.upload.terminated",
        FileStored = "usp.file.stored",
        FileProcessing = "usp.file.processing",
        FileReady = "usp.file.ready",
        FileFailed = "usp.file.failed",
        FileQuarantined = "usp.file.quarantined",
        FileRejected = "usp.file.rejected",
        FileDeleted = "usp.file.deleted",
        RunQueued = "usp.run.queued",
        RunStarted = "usp.run.started",
        RunProgress = "usp.run.progress",
        RunRetrying = "usp.run.retrying",
        RunSucceeded = "usp.run.succeeded",
        RunDead = "usp.run.dead",
        RunCancelled = "usp.run.cancelled",
    }
}

impl EventKind {
    /// Whether the event is written with the change it reports. Progress is only shown live.
    pub fn is_kept(self) -> bool {
        !matches!(self, Self::UploadProgress | Self::RunProgress)
    }
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    pub seq: EventSeq,
    pub at: Timestamp,
    pub bucket: BucketName,
    /// For an upload that is no file yet: its preliminary id.
    pub file_id: FileId,
    /// The key at the time of the event.
    pub key: FileKey,
    pub body: EventBody,
}

impl Event {
    pub fn kind(&self) -> EventKind {
        self.body.kind()
    }
}

/// What happened. Its [`kind`](Self::kind) follows from it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum EventBody {
    Upload(UploadEvent),
    File(FileEvent),
    Run(RunEvent),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UploadEvent {
    pub change: UploadChange,
    pub upload_id: UploadId,
    pub size_bytes: Option<u64>,
    pub received_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum UploadChange {
    Created,
    Progress,
    /// It became this version of the file.
    Completed {
        version: u32,
    },
    Expired,
    Terminated,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileEvent {
    pub change: FileChange,
    pub version: u32,
    pub size_bytes: u64,
    pub media_type: MediaType,
    /// The state after the change; of a deleted file the last one.
    pub state: FileState,
    /// Whether readers without processing rights may know of it.
    pub released: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FileChange {
    Stored,
    Processing,
    Ready,
    Failed,
    Quarantined,
    Rejected,
    Deleted,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunEvent {
    pub change: RunChange,
    pub run_id: RunId,
    pub rule: RuleName,
    pub rule_version: u32,
    /// The version of the file that is processed.
    pub version: u32,
    pub state: RunState,
    pub attempt: u32,
    /// The step that failed.
    pub step: Option<String>,
    pub error: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    /// The W3C trace context of the request that asked for the run.
    pub trace: Option<String>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum RunChange {
    Queued,
    Started,
    /// With every step as it stands.
    Progress(Vec<Step>),
    Retrying,
    Succeeded,
    Dead,
    Cancelled,
}

impl EventBody {
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Upload(upload) => match upload.change {
                UploadChange::Created => EventKind::UploadCreated,
                UploadChange::Progress => EventKind::UploadProgress,
                UploadChange::Completed { .. } => EventKind::UploadCompleted,
                UploadChange::Expired => EventKind::UploadExpired,
                UploadChange::Terminated => EventKind::UploadTerminated,
            },
            Self::File(file) => match file.change {
                FileChange::Stored => EventKind::FileStored,
                FileChange::Processing => EventKind::FileProcessing,
                FileChange::Ready => EventKind::FileReady,
                FileChange::Failed => EventKind::FileFailed,
                FileChange::Quarantined => EventKind::FileQuarantined,
                FileChange::Rejected => EventKind::FileRejected,
                FileChange::Deleted => EventKind::FileDeleted,
            },
            Self::Run(run) => match run.change {
                RunChange::Queued => EventKind::RunQueued,
                RunChange::Started => EventKind::RunStarted,
                RunChange::Progress(_) => EventKind::RunProgress,
                RunChange::Retrying => EventKind::RunRetrying,
                RunChange::Succeeded => EventKind::RunSucceeded,
                RunChange::Dead => EventKind::RunDead,
                RunChange::Cancelled => EventKind::RunCancelled,
            },
        }
    }
}
