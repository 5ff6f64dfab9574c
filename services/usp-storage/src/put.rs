//! A whole content under a key: receive, store, check, plan, commit. The steps are numbered in lib.rs.

use std::collections::BTreeSet;

use futures::StreamExt;
use serde_json::json;
use usp_api::trace::{Attribute, Span, SpanKind};
use usp_api::{ByteStream, Caller, NewFile, PutOutcome};
use usp_auth::Permission;
use usp_catalog::records::{BucketRecord, NewUpload, NewVersion, UploadTerms};
use usp_content::{Batch, Ingest, IngestSettings};
use usp_model::{
    Act, Bucket, BucketPolicy, ContentDigest, ContentDigests, DigestAlgorithm, Error, ErrorKind, FileId,
    FileRef, KeyCondition, MediaType, Result, ResumePoint, UploadId, Violation,
};

use crate::media::media_type_of;
use crate::progress::{Progress, Tell};
use crate::rules::Facts;
use crate::storage::Storage;
use crate::uploads::Turn;

/// What is known of a content once all of it was received.
pub(crate) struct Received {
    pub(crate) batch: Batch,
    pub(crate) size_bytes: u64,
    pub(crate) digests: ContentDigests,
    /// The first bytes, for the media type.
    pub(crate) head: Vec<u8>,
    /// The session that holds what was committed on the way.
    pub(crate) upload: Option<UploadId>,
    pub(crate) file_id: FileId,
}

impl Storage {
    pub(crate) async fn put_file(
        &self,
        caller: &Caller,
        file: NewFile,
        content: ByteStream,
    ) -> Result<PutOutcome> {
        let bucket = self.bucket_for(caller, Permission::FileWrite, &file.bucket).await?;
        check_new_file(&file, &bucket.bucket.policy)?;
        if let Some(rule) = &file.rule {
            self.rule_book().get(rule)?;
        }
        self.check_early(caller, &file, &bucket.bucket).await?;
        let arrived = self.receive(caller, &file, &bucket, content).await?;
        let (storage, caller) = (self.clone(), caller.clone());
        // From here on the caller going away changes nothing.
        let storing = tokio::spawn(async move {
            let (received, session) = arrived.finish().await?;
            check_digests(&file.expected_digests, &received.digests)?;
            storage.commit(&caller, file, &bucket, received, session).await
        });
        storing.await.unwrap_or_else(|source| Err(failed_task(source)))
    }

    /// Spares the client an upload that cannot be committed. The commit decides again.
    pub(crate) async fn check_early(&self, caller: &Caller, file: &NewFile, bucket: &Bucket) -> Result<()> {
        let wanted = bucket.policy.quota_bytes.zip(file.size_bytes);
        if file.condition == KeyCondition::Any && wanted.is_none() {
            return Ok(());
        }
        // What is sent again met the condition when it was sent first.
        if let Some(key) = &file.idempotency_key {
            let owner = &caller.principal.name;
            if self.catalog.file_of_idempotency_key(owner, key, self.now()).await?.is_some() {
                return Ok(());
            }
        }
        let at = FileRef::Key(file.bucket.clone(), file.key.clone());
        let current = match self.catalog.file(&at, None).await {
            Ok(record) => Some(record.file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let etag = current.as_ref().map(|file| &file.etag);
        let holds = match (&file.condition, etag) {
            (KeyCondition::Any, _) | (KeyCondition::Absent, None) => true,
            (KeyCondition::Absent, Some(_)) | (KeyCondition::Matches(_), None) => false,
            (KeyCondition::Matches(etags), Some(etag)) => etags.is_empty() || etags.contains(etag),
        };
        if !holds {
            return Err(Error::new(ErrorKind::PreconditionFailed, "store file")
                .because("the file under this key is not in the state that the condition names"));
        }
        let Some((quota_bytes, size_bytes)) = wanted else { return Ok(()) };
        let replaced_bytes = current.map_or(0, |file| file.size_bytes);
        self.catalog.check_quota(&bucket.name, quota_bytes, size_bytes, replaced_bytes).await
    }

    /// Takes in all of `content`, committing to a session of its own when it is long.
    async fn receive(
        &self,
        caller: &Caller,
        file: &NewFile,
        bucket: &BucketRecord,
        mut content: ByteStream,
    ) -> Result<Arrived> {
        let policy = &bucket.bucket.policy;
        let mut ingest = self.content.ingest(IngestSettings {
            key: bucket.domain_key.clone(),
            compression: policy.compression,
            digests: wanted_digests(policy, &file.expected_digests),
            resume: ResumePoint::default(),
        });
        let size_bytes_max = size_limit(policy);
        let mut file_id = FileId::random()?;
        let mut session: Option<Session> = None;
        let mut progress = Progress::default();
        let act = self.act(caller).traced(file.trace.clone());
        while let Some(piece) = content.next().await {
            ingest.push(piece?).await?;
            check_size(ingest.received_bytes(), size_bytes_max)?;
            if ingest.uncommitted_bytes() >= self.config.checkpoint_bytes {
                if session.is_none() {
                    let (opened, id) = self.open_session(caller, file, bucket, file_id).await?;
                    file_id = id;
                    session = Some(opened);
                }
                if let Some(session) = &session {
                    progress.checkpoint(self, &act, session.id, &mut ingest, Tell::Nobody).await?;
                }
            }
        }
        progress.settle().await?;
        check_announced_size(file.size_bytes, ingest.received_bytes())?;
        Ok(Arrived { ingest, file_id, session })
    }

    async fn open_session(
        &self,
        caller: &Caller,
        file: &NewFile,
        bucket: &BucketRecord,
        file_id: FileId,
    ) -> Result<(Session, FileId)> {
        let now = self.now();
        let act = self.act(caller).traced(file.trace.clone());
        let upload = NewUpload {
            id: UploadId::random()?,
            file_id,
            bucket: file.bucket.clone(),
            domain: bucket.domain,
            key: file.key.clone(),
            size_bytes: file.size_bytes,
            declared_media_type: file.declared_media_type.clone(),
            metadata: file.metadata.clone(),
            labels: file.labels.clone(),
            terms: UploadTerms::default(),
            owner: caller.principal.name.clone(),
            expires_at: now.plus_ms(self.idle_ms(false)),
            is_announced: false,
            is_part: false,
        };
        // Before the row: a caller that goes away while it is made leaves nothing behind either.
        let session = Session::new(self.clone(), act.clone(), upload.id)?;
        let opened = self.catalog.create_upload(act, upload).await?;
        Ok((session, opened.file_id))
    }

    /// How long an upload may be silent. A part that is complete has nothing more to say while others arrive.
    pub(crate) fn idle_ms(&self, is_part: bool) -> i64 {
        const PART_PATIENCE: i64 = 7;
        let idle_ms = i64::try_from(self.config.upload_idle_max.as_millis()).unwrap_or(i64::MAX);
        if is_part { idle_ms.saturating_mul(PART_PATIENCE) } else { idle_ms }
    }

    /// Steps 4 and 5. Cancel: not safe; run it in a task of its own.
    pub(crate) async fn commit(
        &self,
        caller: &Caller,
        file: NewFile,
        bucket: &BucketRecord,
        received: Received,
        session: Option<Session>,
    ) -> Result<PutOutcome> {
        let mut span = Span::begin(SpanKind::Internal, file.trace.as_deref(), || {
            let file_id = Attribute::new("usp.file.id", received.file_id.to_string());
            (
                "commit",
                vec![
                    file_id,
                    Attribute::new("usp.file.size", i64::try_from(received.size_bytes).unwrap_or(i64::MAX)),
                ],
            )
        });
        let committed = self.commit_at_once(caller, file, bucket, received, session).await;
        if let Err(error) = &committed {
            span.fail(error.kind().code());
        }
        committed
    }

    async fn commit_at_once(
        &self,
        caller: &Caller,
        file: NewFile,
        bucket: &BucketRecord,
        received: Received,
        session: Option<Session>,
    ) -> Result<PutOutcome> {
        let policy = &bucket.bucket.policy;
        let media_type = media_type_of(&received.head, file.declared_media_type.as_ref(), &file.key);
        check_media_type(&media_type, policy)?;
        let facts = Facts::from_json(json!({
            "bucket": file.bucket,
            "key": file.key,
            "name": file.key.file_name(),
            "extension": file.key.extension().unwrap_or_default(),
            "media_type": media_type,
            "declared_media_type": file.declared_media_type.as_ref().map_or("", MediaType::as_str),
            "size": received.size_bytes,
            "owner": caller.principal.name,
            "labels": file.labels,
            "metadata": file.metadata,
        }));
        let planned = self.rule_book().plan(policy, &facts, file.rule.as_ref());
        let (runs, release) = planned.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(ErrorKind::Conflict, "store file")
                .because("the rule that was asked for was deleted meanwhile; write it again, or send the file without it"),
            _ => error,
        })?;
        let act = self.act(caller).traced(file.trace.clone());
        let Batch { chunks, dirty, redo, stored, pins, .. } = received.batch;
        let version = NewVersion {
            upload: received.upload,
            file_id: received.file_id,
            bucket: file.bucket,
            domain: bucket.domain,
            key: file.key,
            condition: file.condition,
            chunks,
            redo,
            size_bytes: received.size_bytes,
            digests: received.digests,
            media_type,
            declared_media_type: file.declared_media_type,
            owner: caller.principal.name.clone(),
            metadata: file.metadata,
            labels: file.labels,
            stored,
            runs,
            release,
            derived_from: None,
            idempotency_key: file.idempotency_key,
            quota_bytes: policy.quota_bytes,
        };
        if !usp_rt::is_planted("commit-without-sync") {
            self.content.sync(&dirty).await?;
        }
        let committed = self.catalog.commit_version(act, version).await?;
        drop(pins);
        if let Some(session) = session {
            session.keep();
        }
        Ok(PutOutcome { file: committed.file, is_new_file: committed.is_new_file })
    }
}

pub(crate) fn failed_task(source: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "commit file").caused_by(source)
}

/// A content all of which has arrived, and of which the end is not stored yet.
struct Arrived {
    ingest: Ingest,
    file_id: FileId,
    session: Option<Session>,
}

impl Arrived {
    async fn finish(self) -> Result<(Received, Option<Session>)> {
        let Self { ingest, file_id, session } = self;
        let (size_bytes, head) = (ingest.received_bytes(), ingest.head().to_vec());
        let (batch, digests) = ingest.finish().await?;
        let upload = session.as_ref().map(|session| session.id);
        Ok((Received { batch, size_bytes, digests, head, upload, file_id }, session))
    }
}

/// The upload session behind a plain PUT: ended when its request ends without a commit.
pub(crate) struct Session {
    storage: Option<Storage>,
    act: Act,
    id: UploadId,
    /// While bytes arrive it does not expire.
    _turn: Turn,
}

impl Session {
    fn new(storage: Storage, act: Act, id: UploadId) -> Result<Self> {
        let turn = Turn::take(&storage, id)?;
        Ok(Self { storage: Some(storage), act, id, _turn: turn })
    }

    /// The session was completed: there is nothing left to end.
    fn keep(mut self) {
        self.storage = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some(storage), id) = (self.storage.take(), self.id) else { return };
        let act = Act { at: storage.now(), ..self.act.clone() };
        // Without a runtime the process is ending; the next start ends the session (`Catalog::recover`).
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = storage.catalog.terminate_upload(act, &id).await
                    && !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Gone)
                {
                    tracing::warn!(upload.id = %id, error = %error.chain(), "a broken upload was not ended");
                }
            });
        }
    }
}

/// Step 1: what can be refused before a byte is read.
pub(crate) fn check_new_file(file: &NewFile, policy: &BucketPolicy) -> Result<()> {
    const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
    let mut violations: Vec<Violation> = usp_model::file::label_violations(&file.labels, "/labels");
    violations.extend(usp_model::file::label_violations(&file.metadata, "/metadata"));
    if file
        .idempotency_key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX)
    {
        violations
            .push(Violation::new("/idempotency_key", format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")));
    }
    if !violations.is_empty() {
        let detail =
            violations.iter().map(|v| format!("{}: {}", v.pointer, v.detail)).collect::<Vec<_>>().join("; ");
        return Err(Error::new(ErrorKind::InvalidInput, "store file")
            .because(detail)
            .with_violations(violations));
    }
    check_size(file.size_bytes.unwrap_or(0), size_limit(policy))
}

pub(crate) fn size_limit(policy: &BucketPolicy) -> u64 {
    policy.file_size_bytes_max.unwrap_or(usp_model::limits::FILE_SIZE_BYTES_MAX)
}

pub(crate) fn check_size(size_bytes: u64, size_bytes_max: u64) -> Result<()> {
    if size_bytes <= size_bytes_max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, "store file")
        .because(format!("this bucket takes files of up to {size_bytes_max} bytes")))
}

fn check_announced_size(announced: Option<u64>, received: u64) -> Result<()> {
    match announced {
        Some(announced) if announced != received => Err(Error::new(ErrorKind::InvalidInput, "store file")
            .because(format!(
                "{announced} bytes were announced and {received} arrived; send the file again"
            ))),
        _ => Ok(()),
    }
}

pub(crate) fn check_media_type(media_type: &MediaType, policy: &BucketPolicy) -> Result<()> {
    if policy.media_types.is_empty() || policy.media_types.iter().any(|pattern| media_type.matches(pattern)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::UnsupportedMedia, "store file")
        .because(format!("the content is {media_type}; this bucket takes {}", policy.media_types.join(", "))))
}

/// Every expected digest must be known and equal. Errors: `DigestMismatch`, `InvalidInput`.
pub(crate) fn check_digests(expected: &[ContentDigest], found: &ContentDigests) -> Result<()> {
    for digest in expected {
        let algorithm = digest.algorithm();
        match found.get(&algorithm) {
            Some(hex) if *hex == digest.to_hex() => {}
            Some(hex) => {
                return Err(Error::new(ErrorKind::DigestMismatch, "check digest").because(format!(
                    "the bytes received have {algorithm} {hex}, not {}; nothing was stored",
                    digest.to_hex()
                )));
            }
            None => {
                return Err(Error::new(ErrorKind::InvalidInput, "check digest").because(format!(
                    "a {algorithm} digest cannot be checked for an upload that was resumed; use sha256"
                )));
            }
        }
    }
    Ok(())
}

/// The digests to compute besides SHA-256, each once.
pub(crate) fn wanted_digests(policy: &BucketPolicy, expected: &[ContentDigest]) -> Vec<DigestAlgorithm> {
    let expected = expected.iter().map(ContentDigest::algorithm);
    let wanted: BTreeSet<_> = policy.digests.iter().copied().chain(expected).collect();
    wanted.into_iter().filter(|algorithm| *algorithm != DigestAlgorithm::Sha256).collect()
}
