//! Events: what happened to a file, in order.

use serde_json::Value;

use crate::{BucketName, FileId, Timestamp};

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
    pub kind: EventKind,
    pub bucket: BucketName,
    pub file_id: FileId,
    pub data: Value,
}
