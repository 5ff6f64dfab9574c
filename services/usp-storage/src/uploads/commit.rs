//! The commit: a content that was received becomes a version, with its runs and events. The steps are numbered in lib.rs.

use usp_api::trace::{Attribute, Span, SpanKind};
use usp_api::{Caller, NewFile, PutOutcome};
use usp_catalog::records::{BucketRecord, NewVersion};
use usp_content::Batch;
use usp_model::{Act, ContentDigests, Error, ErrorKind, FileId, Result, UploadId};

use super::Uploads;
use super::checks::check_media_type;
use super::media_type::media_type_of;
use super::put::Session;
use crate::rules::Facts;

/// What is known of a content once all of it was received.
pub(super) struct Received {
    pub(super) batch: Batch,
    pub(super) size_bytes: u64,
    pub(super) digests: ContentDigests,
    /// The first bytes, for the media type.
    pub(super) head: Vec<u8>,
    /// The session that holds what was committed on the way.
    pub(super) upload: Option<UploadId>,
    /// The same, if it is one of a plain PUT.
    pub(super) session: Option<Session>,
    pub(super) file_id: FileId,
}

impl Uploads {
    /// Steps 4 and 5. Cancel: not safe; run it in a task of its own.
    pub(super) async fn commit(
        &self,
        caller: &Caller,
        act: &Act,
        file: NewFile,
        bucket: &BucketRecord,
        received: Received,
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
        let committed = self.commit_at_once(caller, act, file, bucket, received).await;
        if let Err(error) = &committed {
            span.fail(error.kind().code());
        }
        committed
    }

    async fn commit_at_once(
        &self,
        caller: &Caller,
        act: &Act,
        file: NewFile,
        bucket: &BucketRecord,
        received: Received,
    ) -> Result<PutOutcome> {
        let policy = &bucket.bucket.policy;
        let media_type = media_type_of(&received.head, file.declared_media_type.as_ref(), &file.key);
        check_media_type(&media_type, policy)?;
        let facts = Facts::of_new(&file, &caller.principal.name, &media_type, received.size_bytes);
        let planned = self.rules.book().plan(policy, &facts, file.rule.as_ref());
        let (runs, release) = planned.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(ErrorKind::Conflict, "store file")
                .because("the rule that was asked for was deleted meanwhile; write it again, or send the file without it"),
            _ => error,
        })?;
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
        let committed = self.files.commit_version(self.core.redated(act), version).await?;
        drop(pins);
        if let Some(session) = received.session {
            session.complete();
        }
        Ok(PutOutcome { file: committed.file, is_new_file: committed.is_new_file })
    }
}
