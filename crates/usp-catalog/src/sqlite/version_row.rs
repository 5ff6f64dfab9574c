//! A version as its row says it: the current one in `files`, a superseded one in `versions`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rusqlite::{Connection, Row};
use serde_json::Value;
use usp_decide::commit;
use usp_model::{
    BucketName, ContentDigests, DerivedFile, DigestAlgorithm, DomainKey, File, FileId, FileKey, LabelKey,
    ManifestId, MediaType, Release, StoredBytes, Timestamp,
};

use super::ask::{Ask, Column, to_json};
use super::columns::columns;
use super::fail::{Outcome, corrupt};
use super::tags::Tags;
use super::tx::Tx;
use crate::records::FileRecord;

/// Derived files that one file shows; a step that makes more still finds them by listing.
const DERIVED_COUNT_MAX: i64 = 100;

// Of a version: files is `f`, buckets `b`, domains `d`, and `v` the table that the version stands in.
columns! {
    mod version {
        FILE_ROW = "f.id",
        FILE_ID = "f.file_id",
        KEY = "f.key",
        BUCKET_ROW = "b.id",
        BUCKET = "b.name",
        DOMAIN_KEY = "d.key",
        VERSION = "v.version",
        MANIFEST = "v.manifest",
        SIZE_BYTES = "v.size_bytes",
        MEDIA_TYPE = "v.media_type",
        DECLARED_MEDIA_TYPE = "v.declared_media_type",
        ETAG = "v.etag",
        DIGESTS = "v.digests",
        SHA256 = "v.sha256",
        STATE = "v.state",
        RELEASE = "v.release",
        RELEASED = "v.released",
        CREATED_AT = "v.created_at",
        UPDATED_AT = "v.updated_at",
        OWNER = "v.owner",
        METADATA = "v.metadata",
        LABELS = "v.labels",
        STORED_BYTES = "v.stored_bytes",
        STORED_CHUNKS = "v.stored_chunks",
        DEDUPLICATED_BYTES = "v.deduplicated_bytes",
        DERIVED_FROM = "v.derived_from",
        EXPIRES_AT = "v.expires_at",
    }
}

/// The columns of current versions, for statements that bring their own tables.
pub(super) static FILE_COLUMNS: LazyLock<String> = LazyLock::new(|| version::LIST.replace("v.", "f."));

/// Current versions; a condition on `f` follows.
static CURRENT: LazyLock<String> = LazyLock::new(|| {
    let columns = FILE_COLUMNS.as_str();
    format!(
        "SELECT {columns} FROM files f JOIN buckets b ON b.id = f.bucket JOIN domains d ON d.id = b.domain"
    )
});

/// Superseded versions; a condition on `f` and `v` follows.
pub(super) static SUPERSEDED: LazyLock<String> = LazyLock::new(|| {
    let columns = version::LIST;
    format!(
        "SELECT {columns} FROM versions v JOIN files f ON f.id = v.file JOIN buckets b ON b.id = f.bucket
         JOIN domains d ON d.id = b.domain"
    )
});

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
    let stored = StoredBytes {
        bytes: row.count(version::STORED_BYTES)?,
        chunks: row.count(version::STORED_CHUNKS)?,
        deduplicated_bytes: row.count(version::DEDUPLICATED_BYTES)?,
    };
    let version = row.get(version::VERSION)?;
    let digests = digests(row)?;
    let media_type: MediaType = row.text(version::MEDIA_TYPE)?;
    let declared_media_type = declared(row, &media_type)?;
    let derived_from: Option<[u8; 32]> = row.get(version::DERIVED_FROM)?;
    let file = File {
        id: FileId::from_bytes(row.get(version::FILE_ID)?),
        bucket: row.text::<BucketName>(version::BUCKET)?,
        key: row.text::<FileKey>(version::KEY)?,
        version,
        size_bytes: row.count(version::SIZE_BYTES)?,
        media_type,
        declared_media_type,
        etag: etag(row, &digests, version)?,
        digests,
        state: row.text(version::STATE)?,
        created_at: row.time(version::CREATED_AT)?,
        updated_at: row.time(version::UPDATED_AT)?,
        owner: row.get(version::OWNER)?,
        metadata: row.json_or_empty(version::METADATA)?,
        labels: row.json_or_empty(version::LABELS)?,
        stored,
        reports: BTreeMap::new(),
        derived: Vec::new(),
        derived_from: derived_from.map(FileId::from_bytes),
        expires_at: row.time_or_none(version::EXPIRES_AT)?,
        released: row.get(version::RELEASED)?,
    };
    Ok(VersionRow {
        file_row: row.get(version::FILE_ROW)?,
        bucket_row: row.get(version::BUCKET_ROW)?,
        domain_key: DomainKey::from_bytes(row.get(version::DOMAIN_KEY)?),
        manifest: ManifestId(row.get(version::MANIFEST)?),
        release: row.text_or_none(version::RELEASE)?.unwrap_or(Release::Immediate),
        file,
    })
}

/// Stands for a declared media type that is the one that was decided.
pub(super) const AS_DECIDED: &str = "=";

fn declared(row: &Row<'_>, decided: &MediaType) -> Outcome<Option<MediaType>> {
    let kept = row.get_ref(version::DECLARED_MEDIA_TYPE)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    match kept {
        Some(AS_DECIDED) => Ok(Some(decided.clone())),
        _ => row.text_or_none(version::DECLARED_MEDIA_TYPE),
    }
}

/// The SHA-256 stands in a column of its own.
fn digests(row: &Row<'_>) -> Outcome<ContentDigests> {
    let mut digests: ContentDigests = row.json_or_empty(version::DIGESTS)?;
    if let Some(sha256) = sha256(row)? {
        digests.insert(DigestAlgorithm::Sha256, hex::encode(sha256));
    }
    Ok(digests)
}

pub(super) fn sha256<'r>(row: &'r Row<'_>) -> Outcome<Option<&'r [u8]>> {
    Ok(row.get_ref(version::SHA256)?.as_blob_or_null().map_err(rusqlite::Error::from)?)
}

/// One that follows from the SHA-256 is not kept.
fn etag(row: &Row<'_>, digests: &ContentDigests, version: u32) -> Outcome<String> {
    let kept: Option<String> = row.get(version::ETAG)?;
    let etag = kept.or_else(|| commit::etag(digests, version));
    Ok(etag.ok_or_else(|| corrupt("read catalogue row", "a version has no etag"))?)
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
    conn.one(&format!("{} WHERE f.id = ?1", *CURRENT), [file_row], version_row)
}

pub(super) fn current_by_id(conn: &Connection, id: &FileId) -> Outcome<Option<VersionRow>> {
    conn.one(&format!("{} WHERE f.file_id = ?1", *CURRENT), [id.as_bytes()], version_row)
}

pub(super) fn current_by_key(
    conn: &Connection,
    bucket_row: i64,
    key: &FileKey,
) -> Outcome<Option<VersionRow>> {
    let sql = format!("{} WHERE f.bucket = ?1 AND f.key = ?2", *CURRENT);
    conn.one(&sql, (bucket_row, key.as_str()), version_row)
}

/// That version, wherever it stands.
pub(super) fn version(conn: &Connection, file_row: i64, version: u32) -> Outcome<Option<VersionRow>> {
    let current = conn.one(
        &format!("{} WHERE f.id = ?1 AND f.version = ?2", *CURRENT),
        (file_row, version),
        version_row,
    )?;
    if current.is_some() {
        return Ok(current);
    }
    conn.one(
        &format!("{} WHERE v.file = ?1 AND v.version = ?2", *SUPERSEDED),
        (file_row, version),
        version_row,
    )
}

fn reports(conn: &Connection, file_row: i64, version: u32) -> Outcome<BTreeMap<String, Value>> {
    let sql = "SELECT step, body FROM reports WHERE file = ?1 AND version = ?2";
    let found = conn.all(sql, (file_row, version), |row| Ok((row.get(0)?, row.json(1)?)))?;
    Ok(found.into_iter().collect())
}

pub(super) fn derived(conn: &Connection, source: &FileId) -> Outcome<Vec<DerivedFile>> {
    let sql = "SELECT file_id, key FROM files WHERE derived_from = ?1 ORDER BY id LIMIT ?2";
    conn.all(sql, (source.as_bytes(), DERIVED_COUNT_MAX), derived_file)
}

fn derived_file(row: &Row<'_>) -> Outcome<DerivedFile> {
    let key: FileKey = row.text(1)?;
    Ok(DerivedFile { name: key.file_name().to_owned(), file_id: FileId::from_bytes(row.get(0)?) })
}

/// Says of each of many files which were derived from it, by one statement.
pub(super) fn add_derived(conn: &Connection, files: &mut [File]) -> Outcome<()> {
    let ids = to_json(&files.iter().map(|file| hex::encode(file.id.as_bytes())).collect::<Vec<_>>())?;
    let sql = "SELECT file_id, key, derived_from FROM
             (SELECT file_id, key, derived_from, row_number() OVER (PARTITION BY derived_from ORDER BY id) AS number
              FROM files INDEXED BY files_by_source
              WHERE derived_from IN (SELECT unhex(value) FROM json_each(?1)))
         WHERE number <= ?2";
    let found = conn.all(sql, (ids, DERIVED_COUNT_MAX), |row| {
        Ok((FileId::from_bytes(row.get(2)?), derived_file(row)?))
    })?;
    let mut by_source: BTreeMap<FileId, Vec<DerivedFile>> = BTreeMap::new();
    for (source, derived) in found {
        by_source.entry(source).or_default().push(derived);
    }
    for file in files {
        file.derived = by_source.remove(&file.id).unwrap_or_default();
    }
    Ok(())
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
    let (labels, metadata) = (tags_json(labels)?, tags_json(metadata)?);
    let values = (file_row, version, labels.as_deref(), metadata.as_deref(), at.unix_ms());
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

/// Labels or metadata for their column: `NULL` stands for none.
pub(super) fn tags_json(tags: &Tags) -> Outcome<Option<String>> {
    if tags.is_empty() { Ok(None) } else { to_json(tags).map(Some) }
}
