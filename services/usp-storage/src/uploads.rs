//! Resumable upload sessions: bytes arrive in any number of requests, the file appears when it is finished. Several may
//! bring parts of one file at the same time (`join`).

use bytes::Bytes;
use futures::StreamExt;
use usp_api::{AppendUpload, ByteStream, Caller, NewFile, PutOutcome};
use usp_auth::Permission;
use usp_catalog::records::{NewUpload, UploadRecord, UploadTerms};
use usp_content::{Ingest, IngestSettings};
use usp_model::{
    Act, ByteRange, ContentDigest, DigestAlgorithm, DomainId, Error, ErrorKind, FileId, Result, Upload,
    UploadId, UploadShape, UploadState,
};

use crate::progress::{Progress, Tell};
use crate::put::{Received, check_digests, check_new_file, check_size, failed_task, size_limit};
use crate::storage::Storage;

mod join;

/// Enough to tell what a content is.
const HEAD_BYTES: u64 = 8 * 1024;

impl Storage {
    pub(crate) async fn open_upload(&self, caller: &Caller, file: NewFile) -> Result<Upload> {
        let bucket = self.bucket_for(caller, Permission::FileWrite, &file.bucket).await?;
        check_new_file(&file, &bucket.bucket.policy)?;
        self.check_early(caller, &file, &bucket.bucket).await?;
        if let Some(rule) = &file.rule {
            self.rule_book().get(rule)?;
        }
        refuse_unresumable(&file.expected_digests)?;
        let act = self.act(caller).traced(file.trace.clone());
        self.catalog.create_upload(act, self.new_upload(caller, file, bucket.domain, false)?).await
    }

    fn new_upload(
        &self,
        caller: &Caller,
        file: NewFile,
        domain: DomainId,
        is_part: bool,
    ) -> Result<NewUpload> {
        let now = self.now();
        let terms = UploadTerms {
            condition: file.condition,
            expected_digests: file.expected_digests,
            idempotency_key: file.idempotency_key,
            rule: file.rule,
            trace: file.trace,
        };
        Ok(NewUpload {
            id: UploadId::random()?,
            file_id: FileId::random()?,
            bucket: file.bucket,
            domain,
            key: file.key,
            size_bytes: file.size_bytes,
            declared_media_type: file.declared_media_type,
            metadata: file.metadata,
            labels: file.labels,
            terms,
            is_part,
            owner: caller.principal.name.clone(),
            expires_at: now.plus_ms(self.idle_ms(is_part)),
            is_announced: true,
        })
    }

    /// Appends in a task of its own: a caller that goes away ends the stream, and what arrived until then counts.
    pub(crate) async fn append_content(
        &self,
        caller: &Caller,
        append: AppendUpload,
        content: ByteStream,
    ) -> Result<Upload> {
        let turn = self.turn(caller, append.id).await?;
        let record = self.upload_for(caller, &append.id).await?;
        if record.upload.state != UploadState::Open {
            return Err(completed());
        }
        if record.upload.received_bytes != append.offset {
            return Err(Error::new(ErrorKind::PreconditionFailed, "append to upload").because(format!(
                "the upload has received {} bytes; go on from there, not from {}",
                record.upload.received_bytes, append.offset
            )));
        }
        if let UploadShape::Joined(_) = record.upload.shape {
            return Err(Error::new(ErrorKind::Conflict, "append to upload")
                .because("the upload was joined of parts and takes no bytes of its own"));
        }
        let bucket = self.buckets.get(&*self.catalog, &record.upload.bucket).await?;
        let file_size_bytes_max = size_limit(&bucket.bucket.policy);
        let mut size_bytes = record.upload.size_bytes;
        if let Some(announced) = append.size_bytes {
            check_size(announced, file_size_bytes_max)?;
            let upload = &record.upload;
            let file = NewFile {
                size_bytes: Some(announced),
                ..NewFile::at(upload.bucket.clone(), upload.key.clone())
            };
            self.check_early(caller, &file, &bucket.bucket).await?;
            size_bytes =
                self.catalog.announce_upload_size(self.act(caller), &append.id, announced).await?.size_bytes;
        }
        let size_bytes_max = size_bytes.unwrap_or(file_size_bytes_max);
        let mut progress = Progress::of(&record.upload, record.resume.tail.len() as u64);
        let mut ingest = self.content.ingest(IngestSettings {
            key: record.domain_key,
            compression: bucket.bucket.policy.compression,
            digests: Vec::new(),
            resume: record.resume,
        });
        let (storage, act) = (self.clone(), self.act(caller).traced(record.terms.trace));
        let appending = tokio::spawn(async move {
            let _turn = turn;
            let limit = size_bytes_max.saturating_sub(append.offset);
            let ended = storage.drain(&act, &append.id, &mut ingest, &mut progress, content, limit).await;
            let kept = progress.checkpoint(&storage, &act, append.id, &mut ingest, Tell::Nobody).await;
            let settled = progress.settle().await;
            // What ended it first says more than what could not be kept after that.
            ended?;
            kept?;
            settled?.ok_or_else(|| Error::new(ErrorKind::Internal, "append to upload"))
        });
        appending
            .await
            .map_err(|source| Error::new(ErrorKind::Internal, "append to upload").caused_by(source))?
    }

    async fn drain(
        &self,
        act: &Act,
        id: &UploadId,
        ingest: &mut Ingest,
        progress: &mut Progress,
        mut content: ByteStream,
        size_bytes_max: u64,
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
            check_announced(received, size_bytes_max)?;
            if received == size_bytes_max && held == 0 {
                last = Some(piece);
                continue;
            }
            ingest.push(piece).await?;
            if ingest.uncommitted_bytes() >= self.config.checkpoint_bytes {
                progress.checkpoint(self, act, *id, ingest, Tell::Watchers).await?;
            }
        };
        if let Some(last) = last {
            ingest.push(last).await?;
        }
        ended
    }

    /// In a task of its own: a caller that goes away changes nothing.
    pub(crate) async fn complete_upload(
        &self,
        caller: &Caller,
        id: UploadId,
        expected_digests: Vec<ContentDigest>,
    ) -> Result<PutOutcome> {
        let turn = self.turn(caller, id).await?;
        let (storage, caller) = (self.clone(), caller.clone());
        let completing = tokio::spawn(async move {
            let completed = storage.complete_in_turn(&caller, id, expected_digests).await;
            drop(turn);
            completed
        });
        completing.await.unwrap_or_else(|source| Err(failed_task(source)))
    }

    async fn complete_in_turn(
        &self,
        caller: &Caller,
        id: UploadId,
        expected_digests: Vec<ContentDigest>,
    ) -> Result<PutOutcome> {
        let record = self.upload_for(caller, &id).await?;
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
        let bucket = self.bucket_for(caller, Permission::FileWrite, &record.upload.bucket).await?;
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
            file_id: upload.file_id,
        };
        self.commit(caller, file, &bucket, received, None).await
    }

    /// The first bytes of an open upload: from its chunks, and from the tail where those end.
    async fn head_of(&self, record: &UploadRecord) -> Result<Vec<u8>> {
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

    /// The turn of a caller who may write to the upload: others neither learn that it is there nor hold it up.
    async fn turn(&self, caller: &Caller, id: UploadId) -> Result<Turn> {
        self.upload_for(caller, &id).await?;
        Turn::take(self, id)
    }

    pub(crate) async fn end_upload(&self, caller: &Caller, id: UploadId) -> Result<()> {
        let _turn = self.turn(caller, id).await?;
        self.upload_for(caller, &id).await?;
        self.catalog.terminate_upload(self.act(caller), &id).await
    }
}

/// Only the SHA-256 can be taken up where an earlier request left it.
fn refuse_unresumable(expected: &[ContentDigest]) -> Result<()> {
    match expected.iter().find(|digest| digest.algorithm() != DigestAlgorithm::Sha256) {
        Some(digest) => Err(Error::new(ErrorKind::InvalidInput, "open upload").because(format!(
            "a {} digest cannot be checked for a resumable upload; use sha256",
            digest.algorithm()
        ))),
        None => Ok(()),
    }
}

fn check_announced(received_bytes: u64, size_bytes_max: u64) -> Result<()> {
    if received_bytes <= size_bytes_max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, "append to upload")
        .because(format!("more bytes came than the {size_bytes_max} that the upload could still take")))
}

fn completed() -> Error {
    Error::new(ErrorKind::Conflict, "append to upload").because("the upload is completed already")
}

/// The right to change one upload; one request has it at a time. It is taken before the upload is looked at: what a
/// request saw without it may be over by the time it writes.
pub(crate) struct Turn {
    storage: Storage,
    id: UploadId,
}

impl Turn {
    /// Errors: `Locked` while another request has it.
    pub(crate) fn take(storage: &Storage, id: UploadId) -> Result<Self> {
        if storage.appending.lock().insert(id) {
            Ok(Self { storage: storage.clone(), id })
        } else {
            Err(Error::new(ErrorKind::Locked, "append to upload")
                .because("another request is writing to this upload; wait for it, then ask for the offset")
                .retry_after(std::time::Duration::from_secs(1)))
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.storage.appending.lock().remove(&self.id);
    }
}
