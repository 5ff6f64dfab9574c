//! Bytes for a session, in any number of requests.

use bytes::Bytes;
use futures::StreamExt;
use usp_api::{AppendUpload, ByteStream, Caller, NewFile};
use usp_catalog::records::UploadRecord;
use usp_content::{Ingest, IngestSettings};
use usp_model::{Act, Bucket, Error, ErrorKind, Result, Upload, UploadId, UploadShape, UploadState};

use super::Uploads;
use super::checkpoint::{Checkpoints, ShowTo};
use super::checks::{check_announced, check_size, size_limit};
use crate::core::run_to_end;

/// What arrives for a session.
struct Arriving {
    act: Act,
    id: UploadId,
    /// What the session can still take.
    size_bytes_max: u64,
}

impl Uploads {
    /// Appends in a task of its own: a caller that goes away ends the stream, and what arrived until then counts.
    pub(crate) async fn append(
        &self,
        caller: &Caller,
        act: Act,
        append: AppendUpload,
        content: ByteStream,
    ) -> Result<Upload> {
        let content = self.disk.watched(content)?;
        let turn = self.turn(caller, append.id).await?;
        let record = self.for_caller(caller, &append.id).await?;
        check_append(&record.upload, append.offset)?;
        let bucket = self.buckets.record(&record.upload.bucket).await?;
        let file_size_bytes_max = size_limit(&bucket.bucket.policy);
        let mut size_bytes = record.upload.size_bytes;
        if let Some(announced) = append.size_bytes {
            size_bytes = self.announce_size(caller, &act, &record, &bucket.bucket, announced).await?;
        }
        let size_bytes_max = size_bytes.unwrap_or(file_size_bytes_max);
        let mut checkpoints = Checkpoints::of(&record.upload, record.resume.tail.len() as u64);
        let mut ingest = self.content.ingest(IngestSettings {
            key: record.domain_key,
            compression: bucket.bucket.policy.compression,
            digests: Vec::new(),
            resume: record.resume,
        });
        let arriving = Arriving {
            act: act.traced(record.terms.trace),
            id: append.id,
            size_bytes_max: size_bytes_max.saturating_sub(append.offset),
        };
        let uploads = self.clone();
        run_to_end("append to upload", async move {
            let _turn = turn;
            let ended = uploads.drain(&arriving, &mut ingest, &mut checkpoints, content).await;
            let Arriving { act, id, .. } = &arriving;
            let kept = checkpoints.begin(&uploads, act, *id, &mut ingest, ShowTo::Nobody).await;
            let settled = checkpoints.settle().await;
            // What ended it first says more than what could not be kept after that.
            ended?;
            kept?;
            settled?.ok_or_else(|| Error::new(ErrorKind::Internal, "append to upload"))
        })
        .await
    }

    /// Sets the size of an upload that was opened without one.
    async fn announce_size(
        &self,
        caller: &Caller,
        act: &Act,
        record: &UploadRecord,
        bucket: &Bucket,
        size_bytes: u64,
    ) -> Result<Option<u64>> {
        check_size(size_bytes, size_limit(&bucket.policy))?;
        let upload = &record.upload;
        let at = NewFile::at(upload.bucket.clone(), upload.key.clone());
        let file = NewFile { size_bytes: Some(size_bytes), ..at };
        self.check_early(caller, &file, bucket).await?;
        let act = act.clone().traced(record.terms.trace.clone());
        Ok(self.facts.announce_upload_size(act, &upload.id, size_bytes).await?.size_bytes)
    }

    async fn drain(
        &self,
        arriving: &Arriving,
        ingest: &mut Ingest,
        checkpoints: &mut Checkpoints,
        mut content: ByteStream,
    ) -> Result<()> {
        // The piece that completes the upload waits for the end of the content: with more behind it, what is sent is not
        // what was announced, and must not become a file.
        let mut last: Option<Bytes> = None;
        let ended = loop {
            let piece = match content.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok(piece)) => piece,
            };
            let held = last.as_ref().map_or(0, Bytes::len) as u64;
            let received = ingest.received_bytes() + held + piece.len() as u64;
            check_announced(received, arriving.size_bytes_max)?;
            if received == arriving.size_bytes_max && held == 0 {
                last = Some(piece);
                continue;
            }
            ingest.push(piece).await?;
            if ingest.uncommitted_bytes() >= self.core.config.checkpoint_bytes {
                checkpoints.begin(self, &arriving.act, arriving.id, ingest, ShowTo::Followers).await?;
            }
        };
        if let Some(last) = last {
            ingest.push(last).await?;
        }
        ended
    }
}

/// Errors: `Conflict` unless the upload takes bytes; `PreconditionFailed` at another offset.
fn check_append(upload: &Upload, offset: u64) -> Result<()> {
    if upload.state != UploadState::Open {
        return Err(completed());
    }
    if upload.received_bytes != offset {
        return Err(Error::new(ErrorKind::PreconditionFailed, "append to upload").because(format!(
            "the upload has received {} bytes; go on from there, not from {offset}",
            upload.received_bytes
        )));
    }
    if let UploadShape::Joined(_) = upload.shape {
        return Err(Error::new(ErrorKind::Conflict, "append to upload")
            .because("the upload was joined of parts and takes no bytes of its own"));
    }
    Ok(())
}

pub(super) fn completed() -> Error {
    Error::new(ErrorKind::Conflict, "append to upload").because("the upload is completed already")
}
