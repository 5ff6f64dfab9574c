//! Upload sessions: opened, continued, ended.

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use usp_decide::upload::{self, JoinedTo, Remains, Session};
use usp_model::{
    DomainId, DomainKey, FileId, ManifestId, MediaType, ResumePoint, StoredBytes, Upload, UploadChange,
    UploadId, UploadShape, UploadState,
};

use super::ask::{Ask, Column, int, to_json};
use super::buckets;
use super::columns::columns;
use super::events::{self, Subject};
use super::fail::{Outcome, absent};
use super::tx::Tx;
use super::version_row::current_by_key;
use super::{manifests, redo};
use crate::records::{NewUpload, UploadProgress, UploadRecord};

mod join;

pub(super) use join::join;

/// A session with the numbers that other rows know it by.
#[derive(Debug)]
pub(super) struct UploadRow {
    id: i64,
    bucket_row: i64,
    pub(super) manifest: ManifestId,
    /// The row of the session that has what this part had.
    joined: Option<i64>,
    domain_key: DomainKey,
    pub(super) session: Session,
}

columns! {
    mod session from "uploads u JOIN buckets b ON b.id = u.bucket JOIN domains d ON d.id = b.domain" {
        ID = "u.id",
        UPLOAD_ID = "u.upload_id",
        FILE_ID = "u.file_id",
        BUCKET_ROW = "b.id",
        BUCKET = "b.name",
        KEY = "u.key",
        SIZE_BYTES = "u.size_bytes",
        RECEIVED_BYTES = "u.received_bytes",
        STATE = "u.state",
        IS_ANNOUNCED = "u.is_announced",
        MANIFEST = "u.manifest",
        STORED_BYTES = "u.stored_bytes",
        STORED_CHUNKS = "u.stored_chunks",
        DEDUPLICATED_BYTES = "u.deduplicated_bytes",
        DECLARED_MEDIA_TYPE = "u.declared_media_type",
        METADATA = "u.metadata",
        LABELS = "u.labels",
        OWNER = "u.owner",
        CREATED_AT = "u.created_at",
        EXPIRES_AT = "u.expires_at",
        DOMAIN = "b.domain",
        DOMAIN_KEY = "d.key",
        IS_PART = "u.is_part",
        PARTS = "u.parts",
        JOINED = "u.joined",
        TAIL_BYTES = "length(u.tail)",
    }
}

fn upload_row(row: &Row<'_>) -> Outcome<UploadRow> {
    let size_bytes: Option<i64> = row.get(session::SIZE_BYTES)?;
    let joined: Option<i64> = row.get(session::JOINED)?;
    let upload = Upload {
        id: UploadId::from_bytes(row.get(session::UPLOAD_ID)?),
        file_id: FileId::from_bytes(row.get(session::FILE_ID)?),
        bucket: row.text(session::BUCKET)?,
        key: row.text(session::KEY)?,
        size_bytes: size_bytes.and_then(|size_bytes| u64::try_from(size_bytes).ok()),
        received_bytes: row.count(session::RECEIVED_BYTES)?,
        state: row.text(session::STATE)?,
        shape: shape(row)?,
        declared_media_type: row.text_or_none(session::DECLARED_MEDIA_TYPE)?,
        metadata: row.json(session::METADATA)?,
        labels: row.json(session::LABELS)?,
        owner: row.get(session::OWNER)?,
        created_at: row.time(session::CREATED_AT)?,
        expires_at: row.time(session::EXPIRES_AT)?,
    };
    let stored = StoredBytes {
        bytes: row.count(session::STORED_BYTES)?,
        chunks: row.count(session::STORED_CHUNKS)?,
        deduplicated_bytes: row.count(session::DEDUPLICATED_BYTES)?,
    };
    let session = Session {
        upload,
        is_announced: row.get(session::IS_ANNOUNCED)?,
        stored,
        tail_bytes: row.count(session::TAIL_BYTES)?,
        is_joined: joined.is_some(),
        domain: DomainId(row.get(session::DOMAIN)?),
    };
    Ok(UploadRow {
        id: row.get(session::ID)?,
        bucket_row: row.get(session::BUCKET_ROW)?,
        manifest: ManifestId(row.get(session::MANIFEST)?),
        joined,
        domain_key: DomainKey::from_bytes(row.get(session::DOMAIN_KEY)?),
        session,
    })
}

fn shape(row: &Row<'_>) -> Outcome<UploadShape> {
    if row.get_ref(session::PARTS)? != ValueRef::Null {
        return Ok(UploadShape::Joined(row.json(session::PARTS)?));
    }
    Ok(if row.get(session::IS_PART)? { UploadShape::Part } else { UploadShape::Whole })
}

/// Errors: `NotFound`.
pub(super) fn find(conn: &Connection, action: &'static str, id: &UploadId) -> Outcome<UploadRow> {
    let found = by_id(conn, id)?;
    Ok(found.ok_or_else(|| absent(action, id, "no such upload"))?)
}

fn by_id(conn: &Connection, id: &UploadId) -> Outcome<Option<UploadRow>> {
    conn.one(&format!("{} WHERE u.upload_id = ?1", session::SELECT), [id.as_bytes()], upload_row)
}

fn by_row(conn: &Connection, row: i64) -> Outcome<Option<UploadRow>> {
    conn.one(&format!("{} WHERE u.id = ?1", session::SELECT), [row], upload_row)
}

pub(super) fn create(tx: &Tx<'_>, new: &NewUpload) -> Outcome<Upload> {
    let row = insert(tx, new)?;
    row.emit(tx, UploadChange::Created)?;
    Ok(row.session.upload)
}

fn insert(tx: &Tx<'_>, new: &NewUpload) -> Outcome<UploadRow> {
    let bucket = buckets::row_of_domain(tx, &new.bucket, new.domain)?;
    let standing = current_by_key(tx, bucket.id, &new.key)?.map(|row| row.file.id);
    let file_id = upload::file_id(new.file_id, standing);
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
            upload::expires_at(tx.at(), new.idle_max, new.is_part).unix_ms(),
            new.is_part,
        ),
    )?;
    find(tx, "create upload", &new.id)
}

pub(super) fn record(conn: &Connection, id: &UploadId) -> Outcome<UploadRecord> {
    let action = "find upload";
    let row = find(conn, action, id)?;
    let joined = match row.joined {
        None => None,
        Some(joined) => Some(
            by_row(conn, joined)?.map_or(JoinedTo::Gone, |row| JoinedTo::State(row.session.upload.state)),
        ),
    };
    upload::check_known(action, &row.session.upload, joined)?;
    let sql = "SELECT tail, sha256_state, terms FROM uploads WHERE id = ?1";
    let kept = conn.one(sql, [row.id], |row| {
        Ok((ResumePoint { tail: row.get(0)?, sha256_state: row.get(1)? }, row.json(2)?))
    })?;
    let (resume, terms) = kept.unwrap_or_default();
    let Session { upload, stored, domain, .. } = row.session;
    Ok(UploadRecord {
        manifest: row.manifest,
        resume,
        terms,
        stored,
        domain,
        domain_key: row.domain_key,
        upload,
    })
}

pub(super) fn of_file(conn: &Connection, file_id: &FileId) -> Outcome<Upload> {
    let sql = format!("{} WHERE u.file_id = ?1 ORDER BY u.id DESC LIMIT 1", session::SELECT);
    let found = conn.one(&sql, [file_id.as_bytes()], upload_row)?;
    Ok(found
        .map(|row| row.session.upload)
        .ok_or_else(|| absent("find upload", file_id, "no upload has this file id"))?)
}

/// The file that a completed upload with this preliminary id became.
pub(super) fn file_row_of(conn: &Connection, file_id: &FileId) -> Outcome<Option<i64>> {
    let sql = "SELECT file FROM uploads WHERE file_id = ?1 AND file IS NOT NULL ORDER BY id DESC LIMIT 1";
    conn.one(sql, [file_id.as_bytes()], |row| Ok(row.get(0)?))
}

pub(super) fn append(tx: &Tx<'_>, progress: &UploadProgress) -> Outcome<Upload> {
    let row = find(tx, "append to upload", &progress.id)?;
    let before = manifests::size_or_none(tx, row.manifest)?;
    let (upload, stored) = upload::append(&row.session, before, progress, tx.at())?;
    manifests::append(tx, row.manifest, before, &progress.chunks)?;
    redo::add(tx, &progress.redo)?;
    tx.run(
        "UPDATE uploads SET received_bytes = ?2, tail = ?3, sha256_state = ?4, stored_bytes = ?5, stored_chunks = ?6,
             deduplicated_bytes = ?7, expires_at = ?8 WHERE id = ?1",
        (
            row.id,
            int(upload.received_bytes),
            &progress.resume.tail,
            &progress.resume.sha256_state,
            int(stored.bytes),
            int(stored.chunks),
            int(stored.deduplicated_bytes),
            upload.expires_at.unix_ms(),
        ),
    )?;
    Ok(upload)
}

pub(super) fn announce_size(tx: &Tx<'_>, id: &UploadId, size_bytes: u64) -> Outcome<Upload> {
    let row = find(tx, "announce size", id)?;
    let upload = upload::announce_size(&row.session.upload, size_bytes)?;
    tx.run("UPDATE uploads SET size_bytes = ?2 WHERE id = ?1", (row.id, upload.size_bytes.map(int)))?;
    Ok(upload)
}

pub(super) fn terminate(tx: &Tx<'_>, id: &UploadId) -> Outcome<()> {
    let action = "terminate upload";
    let row = find(tx, action, id)?;
    upload::check_open(action, &row.session.upload)?;
    row.end(tx, UploadState::Terminated)?;
    row.emit(tx, UploadChange::Terminated)
}

/// Ends an open session without an event: its content was committed before.
pub(super) fn end_quietly(tx: &Tx<'_>, id: &UploadId) -> Outcome<()> {
    match by_id(tx, id)? {
        Some(row) if upload::ends_with_replay(&row.session.upload) => row.end(tx, UploadState::Terminated),
        _ => Ok(()),
    }
}

pub(super) fn expire(tx: &Tx<'_>, limit: u32, receiving: &HashSet<UploadId>) -> Outcome<u64> {
    let now = tx.at();
    let sql = format!(
        "{} WHERE u.state = 'open' AND u.expires_at <= ?1 ORDER BY u.expires_at LIMIT ?2",
        session::SELECT
    );
    let found_max = i64::from(limit).saturating_add(i64::try_from(receiving.len()).unwrap_or(i64::MAX));
    let mut over = tx.all(&sql, (now.unix_ms(), found_max), upload_row)?;
    over.retain(|row| upload::is_over(&row.session.upload, now, receiving));
    over.truncate(limit as usize);
    for row in &over {
        row.end(tx, UploadState::Expired)?;
        row.emit(tx, UploadChange::Expired)?;
    }
    forget(tx, limit)?;
    Ok(over.len() as u64)
}

/// Forgets sessions that ended long ago.
fn forget(tx: &Tx<'_>, limit: u32) -> Outcome<()> {
    let now = tx.at();
    let sql = format!(
        "{} WHERE u.state <> 'open' AND u.expires_at <= ?1 AND NOT EXISTS
             (SELECT 1 FROM files f WHERE f.id = u.file AND f.file_id <> u.file_id) LIMIT ?2",
        session::SELECT
    );
    for row in tx.all(&sql, (upload::forgotten_until(now).unix_ms(), limit), upload_row)? {
        let became = tx.one(
            "SELECT f.file_id FROM uploads u JOIN files f ON f.id = u.file WHERE u.id = ?1",
            [row.id],
            |row| Ok(FileId::from_bytes(row.get(0)?)),
        )?;
        if upload::is_forgotten(&row.session.upload, became.as_ref(), now) {
            row.forget(tx)?;
        }
    }
    Ok(())
}

/// Ends every session that no request stands behind any more.
pub(super) fn end_unannounced(tx: &Tx<'_>) -> Outcome<()> {
    let sql = format!("{} WHERE u.state = 'open' AND u.is_announced = 0", session::SELECT);
    for row in tx.all(&sql, [], upload_row)? {
        if upload::ends_at_start(&row.session) {
            row.end(tx, UploadState::Terminated)?;
        }
    }
    Ok(())
}

impl UploadRow {
    /// Lets go of the bytes.
    fn end(&self, tx: &Tx<'_>, state: UploadState) -> Outcome<()> {
        manifests::release(tx, self.manifest)?;
        match upload::end(&self.session, state) {
            Remains::Row(state) => {
                let sql = "UPDATE uploads SET state = ?2, tail = x'', sha256_state = x'' WHERE id = ?1";
                tx.run(sql, (self.id, state.as_str()))?;
            }
            Remains::Nothing => self.forget(tx)?,
        }
        Ok(())
    }

    fn forget(&self, tx: &Tx<'_>) -> Outcome<()> {
        tx.run("DELETE FROM uploads WHERE id = ?1", [self.id])?;
        Ok(())
    }

    fn emit(&self, tx: &Tx<'_>, change: UploadChange) -> Outcome<()> {
        let Some(body) = upload::event(&self.session, change) else { return Ok(()) };
        let Upload { file_id, key, .. } = &self.session.upload;
        events::emit(tx, self.bucket_row, Subject::Upload(file_id), key, &[body])
    }

    /// Hands the content over to the file that it became.
    pub(super) fn complete(&self, tx: &Tx<'_>, file_row: i64, size_bytes: u64) -> Outcome<()> {
        match upload::end(&self.session, UploadState::Completed) {
            Remains::Row(state) => {
                tx.run(
                    "UPDATE uploads SET state = ?4, file = ?2, received_bytes = ?3, size_bytes = ?3, tail = x'',
                         sha256_state = x'' WHERE id = ?1",
                    (self.id, file_row, int(size_bytes), state.as_str()),
                )?;
            }
            Remains::Nothing => self.forget(tx)?,
        }
        Ok(())
    }
}
