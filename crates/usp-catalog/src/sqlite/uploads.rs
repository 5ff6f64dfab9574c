//! Upload sessions: opened, continued, ended.

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use usp_decide::event;
use usp_model::{
    BucketName, DomainId, DomainKey, Error, ErrorKind, EventBody, File, FileId, FileKey, ManifestId,
    MediaType, ResumePoint, StoredBytes, Timestamp, Upload, UploadChange, UploadEvent, UploadId, UploadShape,
    UploadState,
};

use super::ask::{Ask, Column, int, to_json};
use super::buckets::{self, BucketRow};
use super::events::{self, Subject};
use super::fail::{Outcome, absent};
use super::tx::Tx;
use super::version_row::current_by_key;
use super::{manifests, redo};
use crate::records::{NewUpload, UploadProgress, UploadRecord};

mod join;

pub(super) use join::join;

/// Sessions that ended stay known for a week after their time, so that late clients hear why.
const MEMORY_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// An upload with the numbers that other rows know it by.
#[derive(Debug)]
struct UploadRow {
    id: i64,
    bucket_row: i64,
    is_announced: bool,
    manifest: ManifestId,
    tail_bytes: u64,
    stored: StoredBytes,
    /// The row of the upload that has what this part had.
    joined: Option<i64>,
    upload: Upload,
    domain: DomainId,
    domain_key: DomainKey,
}

const UPLOAD: &str = "SELECT u.id, u.upload_id, u.file_id, b.name, u.key, u.size_bytes, u.received_bytes, u.state,
         u.is_announced, u.manifest, u.stored_bytes, u.stored_chunks, u.deduplicated_bytes, u.declared_media_type,
         u.metadata, u.labels, u.owner, u.created_at, u.expires_at, b.domain, d.key, u.is_part, u.parts, u.joined,
         length(u.tail), b.id
     FROM uploads u JOIN buckets b ON b.id = u.bucket JOIN domains d ON d.id = b.domain ";

fn upload_row(row: &Row<'_>) -> Outcome<UploadRow> {
    let size_bytes: Option<i64> = row.get(5)?;
    let upload = Upload {
        id: UploadId::from_bytes(row.get(1)?),
        file_id: FileId::from_bytes(row.get(2)?),
        bucket: row.text(3)?,
        key: row.text(4)?,
        size_bytes: size_bytes.and_then(|size_bytes| u64::try_from(size_bytes).ok()),
        received_bytes: row.count(6)?,
        state: row.text(7)?,
        shape: shape(row)?,
        declared_media_type: row.text_or_none(13)?,
        metadata: row.json(14)?,
        labels: row.json(15)?,
        owner: row.get(16)?,
        created_at: row.time(17)?,
        expires_at: row.time(18)?,
    };
    Ok(UploadRow {
        id: row.get(0)?,
        is_announced: row.get(8)?,
        manifest: ManifestId(row.get(9)?),
        stored: StoredBytes {
            bytes: row.count(10)?,
            chunks: row.count(11)?,
            deduplicated_bytes: row.count(12)?,
        },
        upload,
        domain: DomainId(row.get(19)?),
        domain_key: DomainKey::from_bytes(row.get(20)?),
        joined: row.get(23)?,
        tail_bytes: row.count(24)?,
        bucket_row: row.get(25)?,
    })
}

fn shape(row: &Row<'_>) -> Outcome<UploadShape> {
    const PARTS: usize = 22;
    if row.get_ref(PARTS)? != ValueRef::Null {
        return Ok(UploadShape::Joined(row.json(PARTS)?));
    }
    Ok(if row.get(21)? { UploadShape::Part } else { UploadShape::Whole })
}

fn find(conn: &Connection, action: &'static str, id: &UploadId) -> Outcome<UploadRow> {
    let found = conn.one(&format!("{UPLOAD} WHERE u.upload_id = ?1"), [id.as_bytes()], upload_row)?;
    Ok(found.ok_or_else(|| absent(action, id, "no such upload"))?)
}

/// Errors: `NotFound`, `Gone`, `Conflict` when completed.
fn find_open(conn: &Connection, action: &'static str, id: &UploadId) -> Outcome<UploadRow> {
    let row = find(conn, action, id)?;
    match row.upload.state {
        UploadState::Open => Ok(row),
        UploadState::Completed => {
            let done = Error::new(ErrorKind::Conflict, action).about(id);
            Err(done.because("the upload is complete already").into())
        }
        UploadState::Terminated | UploadState::Expired => Err(gone(action, &row.upload).into()),
    }
}

fn gone(action: &'static str, upload: &Upload) -> Error {
    let reason = format!("the upload is {}; begin a new one", upload.state);
    Error::new(ErrorKind::Gone, action).about(upload.id).because(reason)
}

pub(super) fn create(tx: &Tx<'_>, new: &NewUpload) -> Outcome<Upload> {
    let row = insert(tx, new)?;
    row.emit(tx, UploadChange::Created)?;
    Ok(row.upload)
}

fn insert(tx: &Tx<'_>, new: &NewUpload) -> Outcome<UploadRow> {
    let bucket = buckets::row_of_domain(tx, &new.bucket, new.domain)?;
    let file_id = current_by_key(tx, bucket.id, &new.key)?.map_or(new.file_id, |row| row.file.id);
    let manifest = manifests::create(tx)?;
    tx.run(
        "INSERT INTO uploads (upload_id, file_id, bucket, key, size_bytes, state, is_announced, manifest,
             declared_media_type, metadata, labels, terms, owner, created_at, expires_at, is_part)
         VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        (
            new.id.as_bytes(),
            file_id.as_bytes(),
            bucket.id,
            new.key.as_str(),
            new.size_bytes.map(int),
            new.is_announced,
            manifest.0,
            new.declared_media_type.as_ref().map(MediaType::as_str),
            to_json(&new.metadata)?,
            to_json(&new.labels)?,
            to_json(&new.terms)?,
            new.owner.as_str(),
            tx.at().unix_ms(),
            new.expires_at.unix_ms(),
            new.is_part,
        ),
    )?;
    find(tx, "create upload", &new.id)
}

pub(super) fn record(conn: &Connection, id: &UploadId) -> Outcome<UploadRecord> {
    let action = "find upload";
    let row = find(conn, action, id)?;
    if matches!(row.upload.state, UploadState::Expired | UploadState::Terminated) {
        return Err(gone(action, &row.upload).into());
    }
    if join::is_lost(conn, &row)? {
        let reason = "what the part was joined to was ended or deleted; begin a new one";
        return Err(Error::new(ErrorKind::Gone, action).about(id).because(reason).into());
    }
    let sql = "SELECT tail, sha256_state, terms FROM uploads WHERE id = ?1";
    let kept = conn.one(sql, [row.id], |row| {
        Ok((ResumePoint { tail: row.get(0)?, sha256_state: row.get(1)? }, row.json(2)?))
    })?;
    let (resume, terms) = kept.unwrap_or_default();
    Ok(UploadRecord {
        manifest: row.manifest,
        resume,
        terms,
        stored: row.stored,
        domain: row.domain,
        domain_key: row.domain_key,
        upload: row.upload,
    })
}

pub(super) fn of_file(conn: &Connection, file_id: &FileId) -> Outcome<Upload> {
    let sql = format!("{UPLOAD} WHERE u.file_id = ?1 ORDER BY u.id DESC LIMIT 1");
    let found = conn.one(&sql, [file_id.as_bytes()], upload_row)?;
    Ok(found
        .map(|row| row.upload)
        .ok_or_else(|| absent("find upload", file_id, "no upload has this file id"))?)
}

/// The file that a completed upload with this preliminary id became.
pub(super) fn file_row_of(conn: &Connection, file_id: &FileId) -> Outcome<Option<i64>> {
    let sql = "SELECT file FROM uploads WHERE file_id = ?1 AND file IS NOT NULL ORDER BY id DESC LIMIT 1";
    conn.one(sql, [file_id.as_bytes()], |row| Ok(row.get(0)?))
}

pub(super) fn append(tx: &Tx<'_>, progress: &UploadProgress) -> Outcome<Upload> {
    let action = "append to upload";
    let row = find_open(tx, action, &progress.id)?;
    let received_bytes = row.upload.received_bytes;
    if received_bytes != progress.offset {
        let reason =
            format!("the upload has {received_bytes} bytes; continue there, not at {}", progress.offset);
        let elsewhere = Error::new(ErrorKind::PreconditionFailed, action).about(progress.id);
        return Err(elsewhere.because(reason).into());
    }
    let written = manifests::append(tx, row.manifest, &progress.chunks)?;
    redo::add(tx, &progress.redo)?;
    let durable_bytes = written.size_bytes.saturating_add(progress.resume.tail.len() as u64);
    if durable_bytes != progress.received_bytes || progress.received_bytes < received_bytes {
        let reason = format!("chunks and tail end at {durable_bytes}, not at {}", progress.received_bytes);
        return Err(Error::new(ErrorKind::Internal, action).about(progress.id).because(reason).into());
    }
    tx.run(
        "UPDATE uploads SET received_bytes = ?2, tail = ?3, sha256_state = ?4, stored_bytes = stored_bytes + ?5,
             stored_chunks = stored_chunks + ?6, deduplicated_bytes = deduplicated_bytes + ?7, expires_at = ?8
         WHERE id = ?1",
        (
            row.id,
            int(progress.received_bytes),
            &progress.resume.tail,
            &progress.resume.sha256_state,
            int(progress.stored.bytes),
            int(progress.stored.chunks),
            int(progress.stored.deduplicated_bytes),
            progress.expires_at.unix_ms(),
        ),
    )?;
    Ok(Upload { received_bytes: progress.received_bytes, expires_at: progress.expires_at, ..row.upload })
}

pub(super) fn announce_size(tx: &Tx<'_>, id: &UploadId, size_bytes: u64) -> Outcome<Upload> {
    let action = "announce size";
    let upload = find_open(tx, action, id)?.upload;
    let refused = |reason| Error::new(ErrorKind::InvalidInput, action).about(id).because(reason);
    match upload.size_bytes {
        Some(known) if known == size_bytes => return Ok(upload),
        Some(known) => return Err(refused(format!("the upload has {known} bytes in all; that stays")).into()),
        None => {}
    }
    let received_bytes = upload.received_bytes;
    if size_bytes < received_bytes {
        return Err(refused(format!("the upload has received {received_bytes} bytes already")).into());
    }
    tx.run("UPDATE uploads SET size_bytes = ?2 WHERE upload_id = ?1", (id.as_bytes(), int(size_bytes)))?;
    Ok(Upload { size_bytes: Some(size_bytes), ..upload })
}

pub(super) fn terminate(tx: &Tx<'_>, id: &UploadId) -> Outcome<()> {
    let row = find_open(tx, "terminate upload", id)?;
    row.end(tx, UploadState::Terminated)?;
    row.emit(tx, UploadChange::Terminated)
}

/// Ends an open session without a word: its content was committed before.
pub(super) fn end_quietly(tx: &Tx<'_>, id: &UploadId) -> Outcome<()> {
    let found = tx.one(&format!("{UPLOAD} WHERE u.upload_id = ?1"), [id.as_bytes()], upload_row)?;
    match found {
        Some(row) if row.upload.state == UploadState::Open => row.end(tx, UploadState::Terminated),
        _ => Ok(()),
    }
}

pub(super) fn expire(tx: &Tx<'_>, now: Timestamp, limit: u32, receiving: &HashSet<UploadId>) -> Outcome<u64> {
    let sql =
        format!("{UPLOAD} WHERE u.state = 'open' AND u.expires_at <= ?1 ORDER BY u.expires_at LIMIT ?2");
    let found_max = i64::from(limit).saturating_add(i64::try_from(receiving.len()).unwrap_or(i64::MAX));
    let mut over = tx.all(&sql, (now.unix_ms(), found_max), upload_row)?;
    over.retain(|row| !receiving.contains(&row.upload.id));
    over.truncate(limit as usize);
    for row in &over {
        row.end(tx, UploadState::Expired)?;
        row.emit(tx, UploadChange::Expired)?;
    }
    // A completed session stays as long as its file if it is the only one that knows the preliminary id.
    tx.run(
        "DELETE FROM uploads WHERE id IN (SELECT u.id FROM uploads u LEFT JOIN files f ON f.id = u.file
             WHERE u.state <> 'open' AND u.expires_at <= ?1 AND (f.id IS NULL OR f.file_id = u.file_id) LIMIT ?2)",
        (now.unix_ms().saturating_sub(MEMORY_MS), limit),
    )?;
    Ok(over.len() as u64)
}

/// Ends every session that no request stands behind any more.
pub(super) fn end_unannounced(tx: &Tx<'_>) -> Outcome<()> {
    let sql = format!("{UPLOAD} WHERE u.state = 'open' AND u.is_announced = 0");
    for row in tx.all(&sql, [], upload_row)? {
        row.end(tx, UploadState::Terminated)?;
    }
    Ok(())
}

impl UploadRow {
    /// Forgets the bytes. A session that was never announced leaves no trace.
    fn end(&self, tx: &Tx<'_>, state: UploadState) -> Outcome<()> {
        manifests::delete(tx, self.manifest)?;
        if self.is_announced {
            let sql = "UPDATE uploads SET state = ?2, tail = x'', sha256_state = x'' WHERE id = ?1";
            tx.run(sql, (self.id, state.as_str()))?;
        } else {
            tx.run("DELETE FROM uploads WHERE id = ?1", [self.id])?;
        }
        Ok(())
    }

    fn emit(&self, tx: &Tx<'_>, change: UploadChange) -> Outcome<()> {
        let upload = &self.upload;
        let Some(body) = event::of_upload(upload, change).filter(|_| self.is_announced) else {
            return Ok(());
        };
        events::emit(tx, self.bucket_row, Subject::Upload(&upload.file_id), &upload.key, &[body])
    }
}

/// An upload that a commit is about to complete.
pub(super) struct OpenUpload {
    row: i64,
    id: UploadId,
    pub(super) is_announced: bool,
    pub(super) manifest: ManifestId,
    pub(super) stored: StoredBytes,
}

/// Errors: `NotFound`, `Gone`, `Conflict` when completed.
pub(super) fn open_for_commit(
    tx: &Tx<'_>,
    id: &UploadId,
    bucket: &BucketRow,
    key: &FileKey,
) -> Outcome<OpenUpload> {
    let action = "commit version";
    let row = find_open(tx, action, id)?;
    if !stands_under(&row.upload, &bucket.name, key) {
        let reason = "the upload was opened for another bucket or key";
        return Err(Error::new(ErrorKind::Internal, action).about(id).because(reason).into());
    }
    Ok(OpenUpload {
        row: row.id,
        id: *id,
        is_announced: row.is_announced,
        manifest: row.manifest,
        stored: row.stored,
    })
}

fn stands_under(upload: &Upload, bucket: &BucketName, key: &FileKey) -> bool {
    upload.bucket == *bucket && upload.key == *key
}

pub(super) fn complete(tx: &Tx<'_>, upload: &OpenUpload, file_row: i64, size_bytes: u64) -> Outcome<()> {
    if upload.is_announced {
        tx.run(
            "UPDATE uploads SET state = 'completed', file = ?2, received_bytes = ?3, size_bytes = ?3, tail = x'',
                 sha256_state = x'' WHERE id = ?1",
            (upload.row, file_row, int(size_bytes)),
        )?;
    } else {
        tx.run("DELETE FROM uploads WHERE id = ?1", [upload.row])?;
    }
    Ok(())
}

impl OpenUpload {
    pub(super) fn emit_completed(&self, tx: &Tx<'_>, bucket_row: i64, file: &File) -> Outcome<()> {
        let body = EventBody::Upload(UploadEvent {
            change: UploadChange::Completed { version: file.version },
            upload_id: self.id,
            size_bytes: Some(file.size_bytes),
            received_bytes: file.size_bytes,
        });
        events::emit(tx, bucket_row, Subject::Upload(&file.id), &file.key, &[body])
    }
}
