//! One file at a time: read, change, delete.

use rusqlite::Connection;
use usp_decide::file;
use usp_model::limits::LIST_COUNT_MAX;
use usp_model::{
    BucketName, ContentDigest, DigestAlgorithm, File, FileId, FilePatch, FileRef, ManifestId, StoredBytes,
    Timestamp,
};

use super::ask::{Ask, Column};
use super::events::{self, Subject};
use super::fail::{Outcome, absent};
use super::key_order::SHA256_PREFIX_BYTES;
use super::tags::{TagKind, Tagged, Tags};
use super::tx::Tx;
use super::version_row::{self, SUPERSEDED, VersionRow, current_by_id, current_by_key, version_row};
use super::{buckets, manifests, runs, uploads};
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
    let sql = format!("{} WHERE v.file = ?1 ORDER BY v.version DESC LIMIT ?2", *SUPERSEDED);
    let older = conn.all(&sql, (current.file_row, LIST_COUNT_MAX - 1), version_row)?;
    Ok(std::iter::once(current).chain(older).map(|row| row.file).collect())
}

pub(super) fn known_sha256(
    conn: &Connection,
    bucket: &BucketName,
    asked: Vec<String>,
) -> Outcome<Vec<String>> {
    let domain = buckets::row(conn, bucket)?.domain;
    let sql = "SELECT 1 FROM buckets b JOIN files f ON f.bucket = b.id
         WHERE b.domain = ?1 AND substr(f.sha256, 1, 8) = ?2 AND f.sha256 = ?3 LIMIT 1";
    let mut known = Vec::new();
    for hex in asked {
        // What is no digest is not known either.
        let Ok(digest) = ContentDigest::from_hex(DigestAlgorithm::Sha256, &hex) else { continue };
        let prefix = digest.as_bytes().get(..SHA256_PREFIX_BYTES).unwrap_or_default();
        if conn.one(sql, (domain, prefix, digest.as_bytes()), |_row| Ok(()))?.is_some() {
            known.push(hex);
        }
    }
    Ok(known)
}

pub(super) fn update(tx: &Tx<'_>, id: &FileId, patch: &FilePatch) -> Outcome<File> {
    let row = by_id(tx, id)?;
    let after = file::patched(&row.file, patch, tx.at())?;
    let tagged = Tagged { file_row: row.file_row, bucket_row: row.bucket_row, key: &row.file.key };
    tagged.replace(tx, TagKind::Label, &row.file.labels, &after.labels)?;
    tagged.replace(tx, TagKind::Metadata, &row.file.metadata, &after.metadata)?;
    version_row::set_tags(tx, row.file_row, after.version, &after.labels, &after.metadata, tx.at())?;
    if after.expires_at != row.file.expires_at {
        let sql = "UPDATE files SET expires_at = ?2 WHERE id = ?1";
        tx.run(sql, (row.file_row, after.expires_at.map(Timestamp::unix_ms)))?;
    }
    Ok(by_id(tx, id)?.into_record(tx)?.file)
}

pub(super) fn delete(tx: &Tx<'_>, id: &FileId, etags: Option<&[String]>) -> Outcome<()> {
    let row = by_id(tx, id)?;
    let sql = "SELECT manifest, size_bytes, stored_bytes, deduplicated_bytes FROM versions WHERE file = ?1";
    let older = tx.all(sql, [row.file_row], |row| {
        let stored = StoredBytes { bytes: row.count(2)?, chunks: 0, deduplicated_bytes: row.count(3)? };
        Ok((ManifestId(row.get(0)?), row.count(1)?, stored))
    })?;
    let costs = older.iter().map(|(_, size_bytes, stored)| (*size_bytes, *stored));
    let deletion = file::delete(&row.file, costs, etags)?;
    runs::cancel_all_of_file(tx, row.file_row, tx.at())?;
    let tagged = Tagged { file_row: row.file_row, bucket_row: row.bucket_row, key: &row.file.key };
    tagged.replace(tx, TagKind::Label, &row.file.labels, &Tags::new())?;
    tagged.replace(tx, TagKind::Metadata, &row.file.metadata, &Tags::new())?;
    buckets::change_usage(tx, row.bucket_row, deletion.usage)?;
    for manifest in older.iter().map(|(manifest, ..)| *manifest).chain([row.manifest]) {
        manifests::release(tx, manifest)?;
    }
    // Versions, reports, runs, steps, idempotency keys and completed uploads of it go with the row.
    tx.run("DELETE FROM files WHERE id = ?1", [row.file_row])?;
    let gone = Subject::GoneFile(row.file_row, &row.file.id);
    events::emit(tx, row.bucket_row, gone, &row.file.key, &[deletion.event])
}

pub(super) fn expire(tx: &Tx<'_>, limit: u32) -> Outcome<u64> {
    let sql = "SELECT file_id, expires_at FROM files WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let found = tx.all(sql, (tx.at().unix_ms(), limit), |row| {
        Ok((FileId::from_bytes(row.get(0)?), row.time_or_none(1)?))
    })?;
    let mut count = 0;
    for (id, expires_at) in found {
        if file::is_over(expires_at, tx.at()) {
            delete(tx, &id, None)?;
            count += 1;
        }
    }
    Ok(count)
}
