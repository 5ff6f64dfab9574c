//! One file at a time: read, change, delete.

use std::collections::BTreeMap;

use rusqlite::Connection;
use usp_decide::event;
use usp_model::file::label_violations;
use usp_model::limits::LIST_COUNT_MAX;
use usp_model::{
    BucketName, Change, ContentDigest, DigestAlgorithm, Error, ErrorKind, File, FileId, FilePatch, FileRef,
    LabelKey, ManifestId, Timestamp,
};

use super::ask::{Ask, int};
use super::buckets::{self, UsageChange};
use super::commit::matches;
use super::events::{self, Subject};
use super::fail::{Outcome, absent};
use super::tags::{TagKind, Tagged, Tags};
use super::tx::Tx;
use super::version_row::{self, SUPERSEDED, VersionRow, current_by_id, current_by_key, version_row};
use super::{manifests, runs, uploads};
use crate::records::FileRecord;

pub(super) fn record(conn: &Connection, file: &FileRef, version: Option<u32>) -> Outcome<FileRecord> {
    let current = find(conn, file)?;
    let row = match version {
        Some(version) if version != current.file.version => {
            let reason = "the file has no such version";
            version_row::version(conn, current.file_row, version)?
                .ok_or_else(|| absent("find version", version, reason))?
        }
        _ => current,
    };
    row.into_record(conn)
}

/// The current version. Errors: `NotFound`.
fn find(conn: &Connection, file: &FileRef) -> Outcome<VersionRow> {
    match file {
        FileRef::Id(id) => by_id(conn, id),
        FileRef::Key(bucket, key) => {
            let bucket = buckets::row(conn, bucket)?;
            let found = current_by_key(conn, bucket.id, key)?;
            Ok(found.ok_or_else(|| absent("find file", key, "no such file"))?)
        }
    }
}

/// Also by the preliminary id of an upload that became the file.
pub(super) fn by_id(conn: &Connection, id: &FileId) -> Outcome<VersionRow> {
    if let Some(found) = current_by_id(conn, id)? {
        return Ok(found);
    }
    let became = match uploads::file_row_of(conn, id)? {
        Some(file_row) => version_row::current(conn, file_row)?,
        None => None,
    };
    Ok(became.ok_or_else(|| absent("find file", id, "no such file"))?)
}

pub(super) fn versions(conn: &Connection, id: &FileId) -> Outcome<Vec<File>> {
    let current = by_id(conn, id)?;
    let sql = format!("{SUPERSEDED} WHERE v.file = ?1 ORDER BY v.version DESC LIMIT ?2");
    let older = conn.all(&sql, (current.file_row, LIST_COUNT_MAX - 1), version_row)?;
    Ok(std::iter::once(current).chain(older).map(|row| row.file).collect())
}

pub(super) fn known_sha256(
    conn: &Connection,
    bucket: &BucketName,
    asked: Vec<String>,
) -> Outcome<Vec<String>> {
    let domain = buckets::row(conn, bucket)?.domain;
    let sql = "SELECT 1 FROM buckets b JOIN files f ON f.bucket = b.id WHERE b.domain = ?1 AND f.sha256 = ?2 LIMIT 1";
    let mut known = Vec::new();
    for hex in asked {
        // What is no digest is not known either.
        let Ok(digest) = ContentDigest::from_hex(DigestAlgorithm::Sha256, &hex) else { continue };
        if conn.one(sql, (domain, digest.as_bytes()), |_row| Ok(()))?.is_some() {
            known.push(hex);
        }
    }
    Ok(known)
}

pub(super) fn update(tx: &Tx<'_>, id: &FileId, patch: &FilePatch, at: Timestamp) -> Outcome<File> {
    let action = "update file";
    let row = by_id(tx, id)?;
    check_etag(action, &row.file, patch.condition_etags.as_deref())?;
    let labels = patched(&row.file.labels, &patch.labels);
    let metadata = patched(&row.file.metadata, &patch.metadata);
    check_tags(action, &labels, &metadata)?;
    let tagged = Tagged { file_row: row.file_row, bucket_row: row.bucket_row, key: &row.file.key };
    tagged.replace(tx, TagKind::Label, &row.file.labels, &labels)?;
    tagged.replace(tx, TagKind::Metadata, &row.file.metadata, &metadata)?;
    version_row::set_tags(tx, row.file_row, row.file.version, &labels, &metadata, at)?;
    let expires_at = match patch.expires_at {
        Change::Keep => row.file.expires_at,
        Change::Clear => None,
        Change::Set(at) => Some(at),
    };
    if expires_at != row.file.expires_at {
        let sql = "UPDATE files SET expires_at = ?2 WHERE id = ?1";
        tx.run(sql, (row.file_row, expires_at.map(Timestamp::unix_ms)))?;
    }
    Ok(by_id(tx, id)?.into_record(tx)?.file)
}

fn check_etag(action: &'static str, file: &File, etags: Option<&[String]>) -> Outcome<()> {
    if etags.is_none_or(|etags| matches(etags, file)) {
        return Ok(());
    }
    let changed = Error::new(ErrorKind::PreconditionFailed, action).about(file.id);
    Err(changed.because("the file has changed: its etag is another").into())
}

/// Errors: `InvalidInput` when there are too many, or one is too long.
pub(super) fn check_tags(action: &'static str, labels: &Tags, metadata: &Tags) -> Outcome<()> {
    let mut violations = label_violations(labels, "/labels");
    violations.extend(label_violations(metadata, "/metadata"));
    if violations.is_empty() {
        return Ok(());
    }
    let over =
        Error::new(ErrorKind::InvalidInput, action).because("labels or metadata are over their limits");
    Err(over.with_violations(violations).into())
}

fn patched(before: &Tags, patch: &BTreeMap<LabelKey, Option<String>>) -> Tags {
    let mut after = before.clone();
    for (name, value) in patch {
        match value {
            Some(value) => drop(after.insert(name.clone(), value.clone())),
            None => drop(after.remove(name)),
        }
    }
    after
}

pub(super) fn delete(tx: &Tx<'_>, id: &FileId, etags: Option<&[String]>, at: Timestamp) -> Outcome<()> {
    let row = by_id(tx, id)?;
    check_etag("delete file", &row.file, etags)?;
    runs::cancel_all_of_file(tx, row.file_row, at)?;
    count_down(tx, &row)?;
    let tagged = Tagged { file_row: row.file_row, bucket_row: row.bucket_row, key: &row.file.key };
    tagged.replace(tx, TagKind::Label, &row.file.labels, &Tags::new())?;
    tagged.replace(tx, TagKind::Metadata, &row.file.metadata, &Tags::new())?;
    let sql = "SELECT manifest FROM versions WHERE file = ?1";
    let mut contents = tx.all(sql, [row.file_row], |row| Ok(ManifestId(row.get(0)?)))?;
    contents.push(row.manifest);
    for manifest in contents {
        manifests::delete(tx, manifest)?;
    }
    // Versions, reports, runs, steps, idempotency keys and completed uploads of it go with the row.
    tx.run("DELETE FROM files WHERE id = ?1", [row.file_row])?;
    let gone = Subject::GoneFile(row.file_row, &row.file.id);
    events::emit(tx, row.bucket_row, gone, &row.file.key, &[event::of_deleted(&row.file)])
}

pub(super) fn expire(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Outcome<u64> {
    let sql = "SELECT file_id FROM files WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let over = tx.all(sql, (now.unix_ms(), limit), |row| Ok(FileId::from_bytes(row.get(0)?)))?;
    for id in &over {
        delete(tx, id, None, now)?;
    }
    Ok(over.len() as u64)
}

fn count_down(tx: &Tx<'_>, row: &VersionRow) -> Outcome<()> {
    let sql = "SELECT count(*), sum(size_bytes), sum(stored_bytes), sum(deduplicated_bytes)
         FROM (SELECT size_bytes, stored_bytes, deduplicated_bytes FROM files WHERE id = ?1
               UNION ALL SELECT size_bytes, stored_bytes, deduplicated_bytes FROM versions WHERE file = ?1)";
    let gone = tx.one(sql, [row.file_row], |sums| {
        Ok(UsageChange {
            file_count: -1,
            version_count: -sums.get::<_, i64>(0)?,
            current_bytes: -int(row.file.size_bytes),
            logical_bytes: -sums.get::<_, i64>(1)?,
            stored_bytes: -sums.get::<_, i64>(2)?,
            deduplicated_bytes: -sums.get::<_, i64>(3)?,
        })
    })?;
    gone.unwrap_or_default().apply(tx, row.bucket_row)
}
