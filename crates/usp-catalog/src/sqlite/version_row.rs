//! A version as its row says it: the current one in `files`, a superseded one in `versions`.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};
use serde_json::Value;
use usp_model::{
    BucketName, DerivedFile, DomainKey, File, FileId, FileKey, LabelKey, ManifestId, Release, StoredBytes,
    Timestamp,
};

use super::ask::{Ask, Column};
use super::fail::Outcome;
use super::tx::Tx;
use crate::records::FileRecord;

/// Derived files that one file shows; a step that makes more still finds them by listing.
const DERIVED_COUNT_MAX: i64 = 100;

/// The columns that `version_row` reads, of version table `$v`; files is `f`, buckets `b`, domains `d`.
macro_rules! version_columns {
    ($v:literal) => {
        concat!(
            "f.id, f.file_id, f.key, b.id, b.name, d.key, ",
            $v,
            ".version, ",
            $v,
            ".manifest, ",
            $v,
            ".size_bytes, ",
            $v,
            ".media_type, ",
            $v,
            ".declared_media_type, ",
            $v,
            ".etag, ",
            $v,
            ".digests, ",
            $v,
            ".state, ",
            $v,
            ".release, ",
            $v,
            ".released, ",
            $v,
            ".created_at, ",
            $v,
            ".updated_at, ",
            $v,
            ".owner, ",
            $v,
            ".metadata, ",
            $v,
            ".labels, ",
            $v,
            ".stored_bytes, ",
            $v,
            ".stored_chunks, ",
            $v,
            ".deduplicated_bytes, ",
            $v,
            ".derived_from, ",
            $v,
            ".expires_at"
        )
    };
}
/// The columns of current versions, for statements that bring their own tables.
pub(super) const FILE_COLUMNS: &str = version_columns!("f");

/// Current versions; a condition on `f` follows.
pub(super) const CURRENT: &str = concat!(
    "SELECT ",
    version_columns!("f"),
    " FROM files f JOIN buckets b ON b.id = f.bucket JOIN domains d ON d.id = b.domain "
);

/// Superseded versions; a condition on `f` and `v` follows.
pub(super) const SUPERSEDED: &str = concat!(
    "SELECT ",
    version_columns!("v"),
    " FROM versions v JOIN files f ON f.id = v.file JOIN buckets b ON b.id = f.bucket \
      JOIN domains d ON d.id = b.domain "
);

/// A version with the numbers that other rows know it by. `file` is without reports and derived files.
#[derive(Debug)]
pub(super) struct VersionRow {
    pub(super) file_row: i64,
    pub(super) bucket_row: i64,
    pub(super) domain_key: DomainKey,
    pub(super) manifest: ManifestId,
    pub(super) release: Release,
    pub(super) file: File,
}

pub(super) fn version_row(row: &Row<'_>) -> Outcome<VersionRow> {
    let stored =
        StoredBytes { bytes: row.count(21)?, chunks: row.count(22)?, deduplicated_bytes: row.count(23)? };
    let derived_from: Option<[u8; 32]> = row.get(24)?;
    let file = File {
        id: FileId::from_bytes(row.get(1)?),
        bucket: row.text::<BucketName>(4)?,
        key: row.text::<FileKey>(2)?,
        version: row.get(6)?,
        size_bytes: row.count(8)?,
        media_type: row.text(9)?,
        declared_media_type: row.text_or_none(10)?,
        etag: row.get(11)?,
        digests: row.json(12)?,
        state: row.text(13)?,
        created_at: row.time(16)?,
        updated_at: row.time(17)?,
        owner: row.get(18)?,
        metadata: row.json(19)?,
        labels: row.json(20)?,
        stored,
        reports: BTreeMap::new(),
        derived: Vec::new(),
        derived_from: derived_from.map(FileId::from_bytes),
        expires_at: row.time_or_none(25)?,
        released: row.get(15)?,
    };
    Ok(VersionRow {
        file_row: row.get(0)?,
        bucket_row: row.get(3)?,
        domain_key: DomainKey::from_bytes(row.get(5)?),
        manifest: ManifestId(row.get(7)?),
        release: row.text(14)?,
        file,
    })
}

impl VersionRow {
    /// The whole file, with the reports of this version and the files derived from it.
    pub(super) fn into_record(self, conn: &Connection) -> Outcome<FileRecord> {
        let mut file = self.file;
        file.reports = reports(conn, self.file_row, file.version)?;
        file.derived = derived(conn, &file.id)?;
        Ok(FileRecord { file, manifest: self.manifest, domain_key: self.domain_key })
    }
}

pub(super) fn current(conn: &Connection, file_row: i64) -> Outcome<Option<VersionRow>> {
    conn.one(&format!("{CURRENT} WHERE f.id = ?1"), [file_row], version_row)
}

pub(super) fn current_by_id(conn: &Connection, id: &FileId) -> Outcome<Option<VersionRow>> {
    conn.one(&format!("{CURRENT} WHERE f.file_id = ?1"), [id.as_bytes()], version_row)
}

pub(super) fn current_by_key(
    conn: &Connection,
    bucket_row: i64,
    key: &FileKey,
) -> Outcome<Option<VersionRow>> {
    let sql = format!("{CURRENT} WHERE f.bucket = ?1 AND f.key = ?2");
    conn.one(&sql, (bucket_row, key.as_str()), version_row)
}

/// That version, wherever it stands.
pub(super) fn version(conn: &Connection, file_row: i64, version: u32) -> Outcome<Option<VersionRow>> {
    let current =
        conn.one(&format!("{CURRENT} WHERE f.id = ?1 AND f.version = ?2"), (file_row, version), version_row)?;
    if current.is_some() {
        return Ok(current);
    }
    conn.one(&format!("{SUPERSEDED} WHERE v.file = ?1 AND v.version = ?2"), (file_row, version), version_row)
}

fn reports(conn: &Connection, file_row: i64, version: u32) -> Outcome<BTreeMap<String, Value>> {
    let sql = "SELECT step, body FROM reports WHERE file = ?1 AND version = ?2";
    let found = conn.all(sql, (file_row, version), |row| Ok((row.get(0)?, row.json(1)?)))?;
    Ok(found.into_iter().collect())
}

pub(super) fn derived(conn: &Connection, source: &FileId) -> Outcome<Vec<DerivedFile>> {
    let sql = "SELECT file_id, key FROM files WHERE derived_from = ?1 ORDER BY id LIMIT ?2";
    conn.all(sql, (source.as_bytes(), DERIVED_COUNT_MAX), |row| {
        let key: FileKey = row.text(1)?;
        let file_id = FileId::from_bytes(row.get(0)?);
        Ok(DerivedFile { name: key.file_name().to_owned(), file_id })
    })
}

/// Writes the state of one version, wherever it stands. True: it is the current one, so the file has this state.
pub(super) fn set_state(
    tx: &Tx<'_>,
    file_row: i64,
    version: u32,
    state: usp_model::FileState,
    released: bool,
    at: Timestamp,
) -> Outcome<bool> {
    let values = (file_row, version, state.as_str(), released, at.unix_ms());
    let is_current = tx.run(
        "UPDATE files SET state = ?3, released = ?4, updated_at = ?5 WHERE id = ?1 AND version = ?2",
        values,
    )? == 1;
    if !is_current {
        tx.run(
            "UPDATE versions SET state = ?3, released = ?4, updated_at = ?5 WHERE file = ?1 AND version = ?2",
            values,
        )?;
    }
    Ok(is_current)
}

/// Writes the labels and metadata of one version, wherever it stands. True: it is the current one.
pub(super) fn set_tags(
    tx: &Tx<'_>,
    file_row: i64,
    version: u32,
    labels: &BTreeMap<LabelKey, String>,
    metadata: &BTreeMap<LabelKey, String>,
    at: Timestamp,
) -> Outcome<bool> {
    let (labels, metadata) = (super::ask::to_json(labels)?, super::ask::to_json(metadata)?);
    let values = (file_row, version, labels.as_str(), metadata.as_str(), at.unix_ms());
    let is_current = tx.run(
        "UPDATE files SET labels = ?3, metadata = ?4, updated_at = ?5 WHERE id = ?1 AND version = ?2",
        values,
    )? == 1;
    if !is_current {
        tx.run(
            "UPDATE versions SET labels = ?3, metadata = ?4, updated_at = ?5 WHERE file = ?1 AND version = ?2",
            values,
        )?;
    }
    Ok(is_current)
}
