//! One file of several uploads, which may have come at the same time.
//!
//! 1. Each part is a session of its own, resumed as any other, that becomes no file.
//! 2. When all bytes of all parts are there, what is in no chunk yet becomes one: chunks end where their part ends.
//! 3. Nobody has made the digest of the whole: the parts are read for it, and it is compared with what was promised. What
//!    is refused until here leaves the parts as they are.
//! 4. One transaction makes a session that has the chunks of all parts, in their order. No byte is copied.
//! 5. That session is finished as any other.
//!
//! A failure or a crash behind any step leaves sessions that whoever asks again goes on with; what nobody asks for
//! expires.

use std::collections::HashSet;

use usp_api::{Caller, NewFile};
use usp_auth::Permission;
use usp_catalog::records::{BucketRecord, UploadRecord};
use usp_content::IngestSettings;
use usp_model::limits::UPLOAD_PART_COUNT_MAX;
use usp_model::{Act, Compression, Error, ErrorKind, Result, Upload, UploadId, UploadShape, UploadState};

use super::checkpoint::Moved;
use super::checks::{check_digests, check_media_type, check_new_file, refuse_unresumable};
use super::media_type::media_type_of;
use super::{HEAD_BYTES, Uploads};
use crate::core::run_to_end;
use crate::turns::Turn;

impl Uploads {
    /// To the end: a caller that goes away changes nothing.
    pub(crate) async fn join_uploads(
        &self,
        caller: &Caller,
        act: Act,
        file: NewFile,
        parts: Vec<UploadId>,
    ) -> Result<Upload> {
        check_parts(&parts)?;
        let turns = self.turns_of(caller, &parts).await?;
        let (uploads, caller) = (self.clone(), caller.clone());
        run_to_end("join uploads", async move {
            let joined = uploads.join_in_turn(&caller, act, file, parts).await;
            drop(turns);
            joined
        })
        .await
    }

    async fn turns_of(&self, caller: &Caller, parts: &[UploadId]) -> Result<Vec<Turn>> {
        let mut turns = Vec::new();
        for (number, &part) in (1..).zip(parts) {
            let turn = self.turn(caller, part).await.map_err(|error| match error.kind() {
                ErrorKind::Gone => Error::new(ErrorKind::Gone, "join uploads")
                    .because(format!("part {number} expired or was ended; send it again")),
                _ => error,
            });
            turns.push(turn?);
        }
        Ok(turns)
    }

    async fn join_in_turn(
        &self,
        caller: &Caller,
        act: Act,
        file: NewFile,
        parts: Vec<UploadId>,
    ) -> Result<Upload> {
        let bucket = self.buckets.for_caller(caller, Permission::FileWrite, &file.bucket).await?;
        let mut records = Vec::new();
        for part in &parts {
            records.push(self.for_caller(caller, part).await?);
        }
        let size_bytes: u64 = records.iter().map(|record| record.upload.received_bytes).sum();
        let file = NewFile { size_bytes: Some(size_bytes), ..file };
        let mut sha256_state = Vec::new();
        // Without that there is nothing to read: the catalogue says why not, or gives what was joined before.
        if records.iter().all(|record| is_whole_part(record) && record.domain == bucket.domain) {
            self.check_join(caller, &file, &bucket, &records).await?;
            sha256_state = self.digest_parts(&act, &file, &bucket, records).await?;
        }
        // Digesting the parts may have taken long.
        let act = self.core.redated(&act.traced(file.trace.clone()));
        let upload = self.new_upload(caller, file, bucket.domain, false)?;
        self.facts.join_uploads(act, upload, parts, sha256_state).await
    }

    /// What can be refused before all is read.
    async fn check_join(
        &self,
        caller: &Caller,
        file: &NewFile,
        bucket: &BucketRecord,
        parts: &[UploadRecord],
    ) -> Result<()> {
        self.disk.check()?;
        check_new_file(file, &bucket.bucket.policy)?;
        self.check_early(caller, file, &bucket.bucket).await?;
        refuse_unresumable(&file.expected_digests)?;
        self.check_rule(file)?;
        let mut head = Vec::new();
        for part in parts {
            if head.len() as u64 >= HEAD_BYTES {
                break;
            }
            head.extend(self.head_of(part).await?);
        }
        head.truncate(usize::try_from(HEAD_BYTES).unwrap_or(usize::MAX));
        let media_type = media_type_of(&head, file.declared_media_type.as_ref(), &file.key);
        check_media_type(&media_type, &bucket.bucket.policy)
    }

    /// Gives the state of the digest behind all parts. Errors: `DigestMismatch`.
    async fn digest_parts(
        &self,
        act: &Act,
        file: &NewFile,
        bucket: &BucketRecord,
        parts: Vec<UploadRecord>,
    ) -> Result<Vec<u8>> {
        let mut contents = Vec::new();
        for part in parts {
            contents.push((part.manifest, part.upload.received_bytes));
            self.cut_to_the_end(act, part, bucket.bucket.policy.compression).await?;
        }
        let (digests, resume) = self.content.digest(&bucket.domain_key, &contents).await?;
        check_digests(&file.expected_digests, &digests)?;
        Ok(resume.sha256_state)
    }

    /// Makes chunks of the last bytes of a part that has all its bytes.
    async fn cut_to_the_end(&self, act: &Act, part: UploadRecord, compression: Compression) -> Result<()> {
        let UploadRecord { upload, resume, domain_key, .. } = part;
        if resume.tail.is_empty() {
            return Ok(());
        }
        let settings = IngestSettings { key: domain_key, compression, digests: Vec::new(), resume };
        let (batch, _digests) = self.content.ingest(settings).finish().await?;
        let received_bytes = upload.received_bytes;
        let stays = Moved { id: upload.id, offset: received_bytes, received_bytes };
        self.commit_progress(act, stays, batch).await?;
        Ok(())
    }
}

fn is_whole_part(part: &UploadRecord) -> bool {
    let upload = &part.upload;
    upload.state == UploadState::Open
        && upload.shape == UploadShape::Part
        && upload.size_bytes == Some(upload.received_bytes)
}

fn check_parts(parts: &[UploadId]) -> Result<()> {
    let refused = |reason: String| Err(Error::new(ErrorKind::InvalidInput, "join uploads").because(reason));
    if parts.is_empty() || parts.len() > UPLOAD_PART_COUNT_MAX {
        return refused(format!("an upload is joined of 1 to {UPLOAD_PART_COUNT_MAX} parts"));
    }
    if parts.iter().collect::<HashSet<_>>().len() < parts.len() {
        return refused("a part is named twice; send its bytes again for the second place".to_owned());
    }
    Ok(())
}
