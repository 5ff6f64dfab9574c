//! Upload sessions: when they expire, what may be appended, what may be joined.
//!
//! `open → completed | terminated | expired`. A session that was announced stays known for a week after its time, so that
//! late clients hear why; the one behind a plain PUT leaves no trace.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use usp_model::{
    BucketName, ChunkRef, ContentDigest, DomainId, Error, ErrorKind, EventBody, File, FileId, FileKey,
    KeyCondition, LabelKey, MediaType, RedoFrame, Result, ResumePoint, RuleName, StoredBytes, Timestamp,
    Upload, UploadChange, UploadEvent, UploadId, UploadShape, UploadState, UserName,
};

use crate::commit::ManifestSize;

/// How long a session that ended is remembered after its time.
const MEMORY_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// What a client said when it opened an upload, to be kept to when it is finished.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UploadTerms {
    pub condition: KeyCondition,
    pub expected_digests: Vec<ContentDigest>,
    pub idempotency_key: Option<String>,
    /// A rule to apply whatever its condition says.
    pub rule: Option<RuleName>,
    /// The W3C trace context of the request that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A new upload session. The file id is preliminary unless the key stands already; then it is that file's id.
#[derive(Debug, Clone)]
pub struct NewUpload {
    pub id: UploadId,
    pub file_id: FileId,
    pub bucket: BucketName,
    /// Where chunks of the content are or will be named, see [`NewVersion::domain`].
    pub domain: DomainId,
    pub key: FileKey,
    pub size_bytes: Option<u64>,
    pub declared_media_type: Option<MediaType>,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    pub terms: UploadTerms,
    /// Becomes a piece of another upload.
    pub is_part: bool,
    pub owner: UserName,
    /// Without new bytes for this long it ends.
    pub idle_max: Duration,
    /// False for the session behind a plain PUT: it makes no events and dies with its request.
    pub is_announced: bool,
}

/// Bytes that became durable in an open upload.
#[derive(Debug, Clone)]
pub struct UploadProgress {
    pub id: UploadId,
    /// Must equal the received bytes on record, else `PreconditionFailed`.
    pub offset: u64,
    /// Bytes received after this; never lower than `offset`. Chunks and tail together end here.
    pub received_bytes: u64,
    pub chunks: Vec<ChunkRef>,
    /// Frames of `chunks` that are not synced.
    pub redo: Vec<RedoFrame>,
    pub resume: ResumePoint,
    pub stored: StoredBytes,
    /// Without new bytes for this long it ends.
    pub idle_max: Duration,
}

/// A session as decisions need it.
#[derive(Debug, Clone)]
pub struct Session {
    pub upload: Upload,
    /// False for the session behind a plain PUT: it makes no events and dies with its request.
    pub is_announced: bool,
    pub stored: StoredBytes,
    /// Bytes that were received and are in no chunk yet.
    pub tail_bytes: u64,
    /// Whether this part was joined to another session.
    pub is_joined: bool,
    pub domain: DomainId,
}

/// A part that is complete has nothing more to say while others arrive: it may be silent for so many times longer.
const PART_IDLE_FACTOR: u32 = 7;

/// When a session without new bytes ends.
pub fn expires_at(at: Timestamp, idle_max: Duration, is_part: bool) -> Timestamp {
    let idle_max = if is_part { idle_max.saturating_mul(PART_IDLE_FACTOR) } else { idle_max };
    at.plus_ms(i64::try_from(idle_max.as_millis()).unwrap_or(i64::MAX))
}

/// The id that the file of a new session has: its own, or that of the file which stands under the key.
pub fn file_id(preliminary: FileId, standing: Option<FileId>) -> FileId {
    standing.unwrap_or(preliminary)
}

/// What is left of a session that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// Its row in this state, without bytes: late clients hear why.
    Row(UploadState),
    /// Nothing.
    Nothing,
}

/// Ends a session in this state. One that was never announced leaves no trace.
pub fn end(session: &Session, state: UploadState) -> Remains {
    if session.is_announced { Remains::Row(state) } else { Remains::Nothing }
}

/// Whether a start ends a session that an earlier process left: no request stands behind it any more.
pub fn ends_at_start(session: &Session) -> bool {
    session.upload.state == UploadState::Open && !session.is_announced
}

/// Whether a session that a repeated request came with ends, because its content was committed before.
pub fn ends_with_replay(upload: &Upload) -> bool {
    upload.state == UploadState::Open
}

/// Whether a session is to expire: it is open, its time is over, and no bytes arrive in it right now.
pub fn is_over(upload: &Upload, now: Timestamp, receiving: &HashSet<UploadId>) -> bool {
    upload.state == UploadState::Open && upload.expires_at <= now && !receiving.contains(&upload.id)
}

/// Sessions that ended and whose time was over then are forgotten.
pub fn forgotten_until(now: Timestamp) -> Timestamp {
    now.plus_ms(-MEMORY_MS)
}

/// Whether a session may be forgotten. A completed one stays as long as its file if it is the only one that knows the
/// preliminary id: `became` is the file that it became, if that still stands.
pub fn is_forgotten(upload: &Upload, became: Option<&FileId>, now: Timestamp) -> bool {
    upload.state != UploadState::Open
        && upload.expires_at <= forgotten_until(now)
        && became.is_none_or(|file| *file == upload.file_id)
}

/// Whether bytes may still come. Errors: `Gone`, `Conflict` when completed.
pub fn check_open(action: &'static str, upload: &Upload) -> Result<()> {
    match upload.state {
        UploadState::Open => Ok(()),
        UploadState::Completed => {
            let done = Error::new(ErrorKind::Conflict, action).about(upload.id);
            Err(done.because("the upload is complete already"))
        }
        UploadState::Terminated | UploadState::Expired => Err(gone(action, upload)),
    }
}

/// Whether a client may hear of the session. `joined`: the session that this part was joined to, if it was.
///
/// Errors: `Gone` when it ended, or when what it was joined to did.
pub fn check_known(action: &'static str, upload: &Upload, joined: Option<JoinedTo>) -> Result<()> {
    if matches!(upload.state, UploadState::Expired | UploadState::Terminated) {
        return Err(gone(action, upload));
    }
    match joined {
        Some(JoinedTo::Gone | JoinedTo::State(UploadState::Expired | UploadState::Terminated)) => {
            let reason = "what the part was joined to was ended or deleted; begin a new one";
            Err(Error::new(ErrorKind::Gone, action).about(upload.id).because(reason))
        }
        Some(JoinedTo::State(UploadState::Open | UploadState::Completed)) | None => Ok(()),
    }
}

/// What a part was joined to. Nothing is left of the part itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinedTo {
    State(UploadState),
    Gone,
}

fn gone(action: &'static str, upload: &Upload) -> Error {
    let reason = format!("the upload is {}; begin a new one", upload.state);
    Error::new(ErrorKind::Gone, action).about(upload.id).because(reason)
}

/// Whether a session may be completed by a commit under this key. Errors: `Gone`, `Conflict` when completed, `Internal` when
/// it was opened for another key.
pub fn check_commit(session: &Session, bucket: &BucketName, key: &FileKey) -> Result<()> {
    const ACTION: &str = "commit version";
    let upload = &session.upload;
    check_open(ACTION, upload)?;
    if upload.bucket == *bucket && upload.key == *key {
        return Ok(());
    }
    let reason = "the upload was opened for another bucket or key";
    Err(Error::new(ErrorKind::Internal, ACTION).about(upload.id).because(reason))
}

/// What becomes of a session when bytes were added: the upload as it stands then, and what it cost so far.
///
/// `before`: its manifest. Errors: `PreconditionFailed` when the offset differs, `Gone`, `Conflict` when completed, `Internal`
/// when chunks and tail do not end where they are said to.
pub fn append(
    session: &Session,
    before: ManifestSize,
    progress: &UploadProgress,
    at: Timestamp,
) -> Result<(Upload, StoredBytes)> {
    const ACTION: &str = "append to upload";
    let upload = &session.upload;
    check_open(ACTION, upload)?;
    if upload.received_bytes != progress.offset {
        let reason = format!(
            "the upload has {} bytes; continue there, not at {}",
            upload.received_bytes, progress.offset
        );
        return Err(Error::new(ErrorKind::PreconditionFailed, ACTION).about(progress.id).because(reason));
    }
    let durable_bytes =
        before.with(&progress.chunks).size_bytes.saturating_add(progress.resume.tail.len() as u64);
    if durable_bytes != progress.received_bytes || progress.received_bytes < upload.received_bytes {
        let reason = format!("chunks and tail end at {durable_bytes}, not at {}", progress.received_bytes);
        return Err(Error::new(ErrorKind::Internal, ACTION).about(progress.id).because(reason));
    }
    let after = Upload {
        received_bytes: progress.received_bytes,
        expires_at: expires_at(at, progress.idle_max, upload.shape == UploadShape::Part),
        ..upload.clone()
    };
    Ok((after, sum(session.stored, progress.stored)))
}

fn sum(one: StoredBytes, other: StoredBytes) -> StoredBytes {
    StoredBytes {
        bytes: one.bytes.saturating_add(other.bytes),
        chunks: one.chunks.saturating_add(other.chunks),
        deduplicated_bytes: one.deduplicated_bytes.saturating_add(other.deduplicated_bytes),
    }
}

/// Sets the size of an upload that was opened without one: the upload as it stands then. Idempotent.
///
/// Errors: `InvalidInput` when it has another size or more bytes already, `Gone`, `Conflict` when completed.
pub fn announce_size(upload: &Upload, size_bytes: u64) -> Result<Upload> {
    const ACTION: &str = "announce size";
    check_open(ACTION, upload)?;
    let refused = |reason| Err(Error::new(ErrorKind::InvalidInput, ACTION).about(upload.id).because(reason));
    match upload.size_bytes {
        Some(known) if known != size_bytes => {
            return refused(format!("the upload has {known} bytes in all; that stays"));
        }
        Some(_) | None => {}
    }
    if size_bytes < upload.received_bytes {
        return refused(format!("the upload has received {} bytes already", upload.received_bytes));
    }
    Ok(Upload { size_bytes: Some(size_bytes), ..upload.clone() })
}

/// What a wish to join parts comes to.
#[derive(Debug, Clone)]
pub enum Join {
    /// They were joined before, by a request whose answer got lost: this is what they became.
    Before(Box<Upload>),
    /// They are joined now: what the new session has then, and what it cost.
    Now(ManifestSize, StoredBytes),
}

/// A session that parts were joined to before, with what it promised.
#[derive(Debug, Clone)]
pub struct JoinedBefore {
    pub upload: Upload,
    pub expected_digests: Vec<ContentDigest>,
}

/// Decides whether parts become one upload, in this order.
///
/// `parts`: each with its manifest. `joined`: what the first part was joined to, if it was and that still stands.
/// `sha256_state`: of all their bytes. Errors: `Gone` when what they were joined to ended; `Conflict` when one is no part,
/// has bytes missing, was joined otherwise, or lies in another dedup domain; `Internal` when one has a tail.
pub fn join(
    new: &NewUpload,
    ids: &[UploadId],
    parts: &[(Session, ManifestSize)],
    joined: Option<&JoinedBefore>,
    sha256_state: &[u8],
) -> Result<Join> {
    const ACTION: &str = "join uploads";
    if let Some(before) = joined {
        if matches!(before.upload.state, UploadState::Terminated | UploadState::Expired) {
            return Err(gone(ACTION, &before.upload));
        }
        if is_same_join(new, ids, before) {
            return Ok(Join::Before(Box::new(before.upload.clone())));
        }
    }
    for (number, (part, _)) in (1..).zip(parts) {
        check_part(part, new.domain).map_err(|reason| {
            Error::new(ErrorKind::Conflict, ACTION).because(format!("part {number} {reason}"))
        })?;
    }
    if sha256_state.is_empty() || parts.iter().any(|(part, _)| part.tail_bytes > 0) {
        let reason = "the parts were not cut to their ends, or have no digest";
        return Err(Error::new(ErrorKind::Internal, ACTION).because(reason));
    }
    let size = parts.iter().fold(ManifestSize::default(), |size, (_, part)| size.joined(*part));
    let stored = parts.iter().fold(StoredBytes::default(), |stored, (part, _)| sum(stored, part.stored));
    Ok(Join::Now(size, stored))
}

fn is_same_join(new: &NewUpload, ids: &[UploadId], before: &JoinedBefore) -> bool {
    let JoinedBefore { upload, expected_digests } = before;
    matches!(&upload.shape, UploadShape::Joined(parts) if parts == ids)
        && upload.bucket == new.bucket
        && upload.key == new.key
        && upload.owner == new.owner.as_str()
        && *expected_digests == new.terms.expected_digests
}

fn check_part(part: &Session, domain: DomainId) -> Result<(), String> {
    let upload = &part.upload;
    if upload.shape != UploadShape::Part {
        return Err("was not begun as a part of another upload".to_owned());
    }
    if part.is_joined {
        return Err("is a part of another upload already".to_owned());
    }
    if upload.state != UploadState::Open {
        return Err(format!("is {}; begin it anew", upload.state));
    }
    if part.domain != domain {
        let reason = "was begun for a bucket of another dedup domain; name the bucket of the file in the metadata of \
                      each part";
        return Err(reason.to_owned());
    }
    if upload.size_bytes != Some(upload.received_bytes) {
        return Err(format!("has {} bytes and is not complete; send the rest first", upload.received_bytes));
    }
    Ok(())
}

/// What is said of a session that became a version; nothing of one that was never announced.
pub fn completed_event(session: &Session, file: &File) -> Option<EventBody> {
    session.is_announced.then_some(EventBody::Upload(UploadEvent {
        change: UploadChange::Completed { version: file.version },
        upload_id: session.upload.id,
        size_bytes: Some(file.size_bytes),
        received_bytes: file.size_bytes,
    }))
}

/// What is said of a session; nothing of one that was never announced, or of a part.
pub fn event(session: &Session, change: UploadChange) -> Option<EventBody> {
    crate::event::of_upload(&session.upload, change).filter(|_| session.is_announced)
}

#[cfg(test)]
pub(crate) mod tests;
