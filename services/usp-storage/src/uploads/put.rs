//! A whole content under a key, in one request: receive, store, check, plan, commit. The steps are numbered in lib.rs.

use std::sync::Arc;

use futures::StreamExt;
use usp_api::{ByteStream, Caller, NewFile, PutOutcome};
use usp_auth::Permission;
use usp_catalog::UploadFacts;
use usp_catalog::records::{BucketRecord, NewUpload, UploadTerms};
use usp_content::{Ingest, IngestSettings};
use usp_model::{Act, ErrorKind, FileId, Result, ResumePoint, UploadId};

use super::Uploads;
use super::checkpoint::{Checkpoints, ShowTo};
use super::checks::{
    check_announced_size, check_digests, check_new_file, check_size, size_limit, wanted_digests,
};
use super::commit::Received;
use super::turns::Turn;
use crate::core::{Core, run_to_end};

impl Uploads {
    pub(crate) async fn put(
        &self,
        caller: &Caller,
        act: Act,
        file: NewFile,
        content: ByteStream,
    ) -> Result<PutOutcome> {
        let content = self.disk.watched(content)?;
        let act = act.traced(file.trace.clone());
        let bucket = self.buckets.for_caller(caller, Permission::FileWrite, &file.bucket).await?;
        check_new_file(&file, &bucket.bucket.policy)?;
        self.check_rule(&file)?;
        self.check_early(caller, &file, &bucket.bucket).await?;
        let arrived = self.receive(caller, &act, &file, &bucket, content).await?;
        let (uploads, caller) = (self.clone(), caller.clone());
        // From here on the caller going away changes nothing.
        run_to_end("store file", async move {
            let received = arrived.finish().await?;
            check_digests(&file.expected_digests, &received.digests)?;
            uploads.commit(&caller, &act, file, &bucket, received).await
        })
        .await
    }

    /// Takes in all of `content`, committing to a session of its own when it is long.
    async fn receive(
        &self,
        caller: &Caller,
        act: &Act,
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
        let mut checkpoints = Checkpoints::default();
        while let Some(piece) = content.next().await {
            ingest.push(piece?).await?;
            check_size(ingest.received_bytes(), size_bytes_max)?;
            if ingest.uncommitted_bytes() >= self.core.config.checkpoint_bytes {
                if session.is_none() {
                    let (opened, id) = self.open_session(caller, act, file, bucket, file_id).await?;
                    file_id = id;
                    session = Some(opened);
                }
                if let Some(session) = &session {
                    checkpoints.begin(self, act, session.id, &mut ingest, ShowTo::Nobody).await?;
                }
            }
        }
        checkpoints.settle().await?;
        check_announced_size(file.size_bytes, ingest.received_bytes())?;
        Ok(Arrived { ingest, file_id, session })
    }

    async fn open_session(
        &self,
        caller: &Caller,
        act: &Act,
        file: &NewFile,
        bucket: &BucketRecord,
        file_id: FileId,
    ) -> Result<(Session, FileId)> {
        let act = self.core.redated(act);
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
            expires_at: act.at.plus_ms(self.idle_ms(false)),
            is_announced: false,
            is_part: false,
        };
        // Before the row: a caller that goes away while it is made leaves nothing behind either.
        let session = Session::new(self, &act, upload.id)?;
        let opened = self.facts.create_upload(act, upload).await?;
        Ok((session, opened.file_id))
    }
}

/// A content all of which has arrived, and of which the end is not stored yet.
struct Arrived {
    ingest: Ingest,
    file_id: FileId,
    session: Option<Session>,
}

impl Arrived {
    async fn finish(self) -> Result<Received> {
        let Self { ingest, file_id, session } = self;
        let (size_bytes, head) = (ingest.received_bytes(), ingest.head().to_vec());
        let (batch, digests) = ingest.finish().await?;
        let upload = session.as_ref().map(|session| session.id);
        Ok(Received { batch, size_bytes, digests, head, upload, session, file_id })
    }
}

/// The upload session behind a plain PUT: ended when its request ends without a commit.
pub(super) struct Session {
    core: Arc<Core>,
    facts: Arc<dyn UploadFacts>,
    act: Act,
    id: UploadId,
    /// It was completed: there is nothing left to end.
    is_completed: bool,
    /// While bytes arrive it does not expire.
    _turn: Turn,
}

impl Session {
    fn new(uploads: &Uploads, act: &Act, id: UploadId) -> Result<Self> {
        let turn = uploads.turns.take(id)?;
        let (core, facts) = (Arc::clone(&uploads.core), Arc::clone(&uploads.facts));
        Ok(Self { core, facts, act: act.clone(), id, is_completed: false, _turn: turn })
    }

    /// Notes that the session was completed.
    pub(super) fn complete(mut self) {
        self.is_completed = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_completed {
            return;
        }
        let (facts, act, id) = (Arc::clone(&self.facts), self.core.redated(&self.act), self.id);
        // Without a runtime the process is ending; the next start ends the session (`UpkeepFacts::recover`).
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = facts.terminate_upload(act, &id).await
                    && !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Gone)
                {
                    tracing::warn!(upload.id = %id, error = %error.chain(), "a broken upload was not ended");
                }
            });
        }
    }
}
