//! How an upload becomes durable while it arrives: checkpoints, each a part that is synced and committed to the session.
//!
//! 1. What was cut so far is taken off the ingest.
//! 2. Its packs are synced and it is committed to its session, in a task of its own, while the next bytes arrive.
//! 3. Before the next checkpoint, and before anything is answered, that task has ended well: a session never has more
//!    than two checkpoints at risk, and its offsets are committed in order.

use tokio::task::JoinHandle;
use usp_catalog::records::UploadProgress;
use usp_content::{Batch, Ingest};
use usp_model::{Act, Error, ErrorKind, Result, Upload, UploadId, UploadShape};

use super::Uploads;

/// How far an upload has come. Dropped, the commit that is under way goes on to its end.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    position: Position,
    /// A part waits for the others, and is not shown by itself.
    is_part: bool,
    committing: Option<JoinHandle<Result<Upload>>>,
}

/// Who sees a checkpoint besides the caller: nobody, or who follows events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShowTo {
    Nobody,
    Followers,
}

/// A session that goes from one offset to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) id: UploadId,
    pub(super) offset: u64,
    pub(super) received_bytes: u64,
}

/// In bytes of content.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// What the session has, or is about to have.
    offset: u64,
    /// Where the last whole chunk ends; what follows is the tail.
    boundary: u64,
}

impl Checkpoints {
    /// Of a session that has these bytes, the last `tail_bytes` of which are in no chunk yet.
    pub(super) fn of(upload: &Upload, tail_bytes: u64) -> Self {
        let (offset, is_part) = (upload.received_bytes, upload.shape == UploadShape::Part);
        let position = Position { offset, boundary: offset.saturating_sub(tail_bytes) };
        Self { position, is_part, committing: None }
    }

    /// Begins to commit everything received so far; with `ShowTo::Followers` it is shown to them once it is durable.
    ///
    /// Errors: of the one before too; then the upload has to stop.
    pub(super) async fn begin(
        &mut self,
        uploads: &Uploads,
        act: &Act,
        id: UploadId,
        ingest: &mut Ingest,
        show_to: ShowTo,
    ) -> Result<()> {
        let batch = ingest.checkpoint().await;
        // Even if nothing follows: whoever goes on with the session must find it at rest.
        self.settle().await?;
        let batch = batch?;
        let Position { offset, boundary } = self.position;
        let boundary = boundary + batch.size_bytes;
        let received_bytes = boundary + batch.resume.tail.len() as u64;
        self.position = Position { offset: received_bytes, boundary };
        let (uploads, act, is_part) = (uploads.clone(), act.clone(), self.is_part);
        self.committing = Some(tokio::spawn(async move {
            let moved = Moved { id, offset, received_bytes };
            let upload = uploads.commit_progress(&act, moved, batch).await?;
            if show_to == ShowTo::Followers && !is_part {
                uploads.progress.send_upload(&upload, uploads.core.now());
            }
            Ok(upload)
        }));
        Ok(())
    }

    /// Waits for the checkpoint that is under way; `None` without one.
    pub(super) async fn settle(&mut self) -> Result<Option<Upload>> {
        let Some(committing) = self.committing.take() else { return Ok(None) };
        let committed = committing.await;
        committed
            .unwrap_or_else(|source| {
                Err(Error::new(ErrorKind::Internal, "commit to upload").caused_by(source))
            })
            .map(Some)
    }
}

impl Uploads {
    pub(super) async fn commit_progress(&self, act: &Act, moved: Moved, batch: Batch) -> Result<Upload> {
        let Moved { id, offset, received_bytes } = moved;
        if !usp_rt::is_planted("commit-without-sync") {
            self.content.sync(&batch.dirty).await?;
        }
        let act = self.core.redated(act);
        let progress = UploadProgress {
            id,
            offset,
            received_bytes,
            chunks: batch.chunks,
            redo: batch.redo,
            resume: batch.resume,
            stored: batch.stored,
            idle_max: self.core.config.upload_idle_max,
        };
        let upload = self.facts.append_upload(act, progress).await?;
        // The packs were pinned until the rows that name them stand.
        drop(batch.pins);
        Ok(upload)
    }
}
