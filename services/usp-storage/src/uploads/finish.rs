//! A session becomes a file.

use bytes::Bytes;
use futures::StreamExt;
use usp_api::{Caller, NewFile, PutOutcome};
use usp_auth::Permission;
use usp_catalog::records::{UploadRecord, UploadTerms};
use usp_content::IngestSettings;
use usp_model::{
    Act, ByteRange, ContentDigest, Error, ErrorKind, Result, Upload, UploadId, UploadShape, UploadState,
};

use super::append::completed;
use super::checks::check_digests;
use super::commit::Received;
use super::{HEAD_BYTES, Uploads};
use crate::core::run_to_end;

impl Uploads {
    /// To the end: a caller that goes away changes nothing.
    pub(crate) async fn finish_upload(
        &self,
        caller: &Caller,
        act: Act,
        id: UploadId,
        expected_digests: Vec<ContentDigest>,
    ) -> Result<PutOutcome> {
        let turn = self.turn(caller, id).await?;
        let (uploads, caller) = (self.clone(), caller.clone());
        run_to_end("finish upload", async move {
            let finished = uploads.finish_in_turn(&caller, act, id, expected_digests).await;
            drop(turn);
            finished
        })
        .await
    }

    async fn finish_in_turn(
        &self,
        caller: &Caller,
        act: Act,
        id: UploadId,
        expected_digests: Vec<ContentDigest>,
    ) -> Result<PutOutcome> {
        let record = self.for_caller(caller, &id).await?;
        let Upload { received_bytes, size_bytes, .. } = record.upload;
        if record.upload.state != UploadState::Open {
            return Err(completed());
        }
        if size_bytes.is_some_and(|size_bytes| size_bytes != received_bytes) {
            return Err(Error::new(ErrorKind::Conflict, "finish upload").because(format!(
                "{received_bytes} of {} bytes have arrived; send the rest first",
                size_bytes.unwrap_or_default()
            )));
        }
        if record.upload.shape == UploadShape::Part {
            return Err(Error::new(ErrorKind::Conflict, "finish upload")
                .because("the upload is a part and becomes no file by itself; join it with the others"));
        }
        let bucket = self.buckets.for_caller(caller, Permission::FileWrite, &record.upload.bucket).await?;
        let head = self.head_of(&record).await?;
        let ingest = self.content.ingest(IngestSettings {
            key: record.domain_key.clone(),
            compression: bucket.bucket.policy.compression,
            digests: Vec::new(),
            resume: record.resume,
        });
        let (batch, digests) = ingest.finish().await?;
        let UploadTerms { condition, expected_digests: announced, idempotency_key, rule, trace } =
            record.terms;
        check_digests(&announced, &digests)?;
        check_digests(&expected_digests, &digests)?;
        let upload = record.upload;
        let mut file = NewFile::at(upload.bucket, upload.key);
        file.declared_media_type = upload.declared_media_type;
        file.metadata = upload.metadata;
        file.labels = upload.labels;
        (file.condition, file.idempotency_key) = (condition, idempotency_key);
        (file.rule, file.trace) = (rule, trace);
        let received = Received {
            batch,
            size_bytes: received_bytes,
            digests,
            head,
            upload: Some(id),
            session: None,
            file_id: upload.file_id,
        };
        let act = act.traced(file.trace.clone());
        self.commit(caller, &act, file, &bucket, received).await
    }

    /// The first bytes of an open upload: from its chunks, and from the tail where those end.
    pub(super) async fn head_of(&self, record: &UploadRecord) -> Result<Vec<u8>> {
        let cut_bytes = record.upload.received_bytes.saturating_sub(record.resume.tail.len() as u64);
        let range = ByteRange::whole(cut_bytes.min(HEAD_BYTES));
        let mut head = Vec::new();
        let mut pieces = self.content.read(record.domain_key.clone(), record.manifest, range);
        while let Some(piece) = pieces.next().await {
            let piece: Bytes = piece?;
            head.extend_from_slice(&piece);
        }
        let missing = usize::try_from(HEAD_BYTES).unwrap_or(0).saturating_sub(head.len());
        head.extend(record.resume.tail.iter().take(missing));
        Ok(head)
    }
}
