//! The commit: one finished content becomes a version, with everything that follows from it.
//!
//! In one transaction and in this order:
//! 1. A key of idempotency that was used in the last day answers with what it made; nothing else happens.
//! 2. The condition on the key, and the quota, are checked against what stands now.
//! 3. Chunk rows are made or referred to, and the manifest ends at the size that was said.
//! 4. The version that stood moves to `versions`; the new one becomes the file's current version.
//! 5. Sums, runs with their steps, the end of the upload, and the events of all that are written.
//!
//! Any error takes all of it back.

use std::collections::BTreeMap;

use rusqlite::Connection;
use usp_decide::event;
use usp_model::{
    ContentDigest, ContentDigests, DigestAlgorithm, Error, ErrorKind, File, FileId, FileState, KeyCondition,
    ManifestId, MediaType, Release, RunId, StoredBytes,
};

use super::ask::{Ask, Column, int, to_json};
use super::buckets::{self, BucketRow, UsageChange};
use super::events::{self, Subject};
use super::fail::Outcome;
use super::tags::{TagKind, Tagged, Tags};
use super::tx::Tx;
use super::uploads::{self, OpenUpload};
use super::version_row::{VersionRow, current_by_key, derived};
use super::{idempotency, manifests, redo, runs};
use crate::records::{CommittedVersion, NewVersion};

const ACTION: &str = "commit version";

pub(super) fn commit_version(tx: &Tx<'_>, new: &NewVersion) -> Outcome<CommittedVersion> {
    let bucket = buckets::row_of_domain(tx, &new.bucket, new.domain)?;
    if let Some(seen) = idempotency::replay(tx, new)? {
        return Ok(seen);
    }
    let standing = current_by_key(tx, bucket.id, &new.key)?;
    check_condition(new, standing.as_ref())?;
    if let Some(quota_bytes) = new.quota_bytes {
        let replaced_bytes = standing.as_ref().map_or(0, |row| row.file.size_bytes);
        check_quota(tx, &bucket, quota_bytes, new.size_bytes, replaced_bytes)?;
    }
    let upload = new.upload.map(|id| uploads::open_for_commit(tx, &id, &bucket, &new.key)).transpose()?;
    let version = standing.as_ref().map_or(1, |row| row.file.version.saturating_add(1));
    let content = write_content(tx, new, version, upload.as_ref())?;
    let file_row = write_version(tx, new, &bucket, standing.as_ref(), &content)?;
    count_usage(tx, new, &bucket, standing.as_ref(), content.stored)?;
    if let Some(upload) = &upload {
        uploads::complete(tx, upload, file_row, new.size_bytes)?;
    }
    idempotency::remember(tx, new, file_row, content.version)?;
    let file = committed(tx, new, standing.as_ref(), content)?;
    if let Some(upload) = upload.filter(|upload| upload.is_announced) {
        upload.emit_completed(tx, bucket.id, &file)?;
    }
    let runs = start_runs(tx, new, &bucket, file_row, &file)?;
    Ok(CommittedVersion { file, is_new_file: standing.is_none(), runs })
}

fn check_condition(new: &NewVersion, standing: Option<&VersionRow>) -> Outcome<()> {
    let reason = match (&new.condition, standing) {
        (KeyCondition::Any, _) | (KeyCondition::Absent, None) => return Ok(()),
        (KeyCondition::Matches(etags), Some(row)) if matches(etags, &row.file) => return Ok(()),
        (KeyCondition::Absent, Some(_)) => "a file stands under the key already",
        (KeyCondition::Matches(_), None) => "no file stands under the key",
        (KeyCondition::Matches(_), Some(_)) => "the file has changed: its etag is another",
    };
    Err(Error::new(ErrorKind::PreconditionFailed, ACTION).about(&new.key).because(reason).into())
}

/// Whether a file fulfils `If-Match`; no etag at all stands for `*`.
pub(super) fn matches(etags: &[String], file: &File) -> bool {
    etags.is_empty() || etags.contains(&file.etag)
}

pub(super) fn check_quota(
    conn: &Connection,
    bucket: &BucketRow,
    quota_bytes: u64,
    size_bytes: u64,
    replaced_bytes: u64,
) -> Outcome<()> {
    let sql = "SELECT current_bytes FROM usage WHERE bucket = ?1";
    let current_bytes = conn.one(sql, [bucket.id], |row| row.count(0))?.unwrap_or_default();
    let after = current_bytes.saturating_sub(replaced_bytes).saturating_add(size_bytes);
    if after <= quota_bytes {
        return Ok(());
    }
    let reason = format!(
        "bucket {} would hold {after} of {quota_bytes} bytes; delete files or raise its quota",
        bucket.name
    );
    Err(Error::new(ErrorKind::StorageFull, ACTION).because(reason).into())
}

/// What the new version is made of.
struct Content {
    manifest: ManifestId,
    stored: StoredBytes,
    version: u32,
    etag: String,
}

fn write_content(
    tx: &Tx<'_>,
    new: &NewVersion,
    version: u32,
    upload: Option<&OpenUpload>,
) -> Outcome<Content> {
    let (manifest, before, written) = match upload {
        Some(upload) => {
            (upload.manifest, upload.stored, manifests::append(tx, upload.manifest, &new.chunks)?)
        }
        None => {
            let (manifest, written) = manifests::of_chunks(tx, &new.chunks)?;
            (manifest, StoredBytes::default(), written)
        }
    };
    redo::add(tx, &new.redo)?;
    if written.size_bytes != new.size_bytes {
        let reason =
            format!("its chunks hold {} bytes, but {} were said", written.size_bytes, new.size_bytes);
        return Err(Error::new(ErrorKind::Internal, ACTION).about(&new.key).because(reason).into());
    }
    let stored = StoredBytes {
        bytes: before.bytes.saturating_add(new.stored.bytes),
        chunks: written.chunk_count,
        deduplicated_bytes: before.deduplicated_bytes.saturating_add(new.stored.deduplicated_bytes),
    };
    Ok(Content { manifest, stored, version, etag: etag(&new.digests, manifest, version)? })
}

/// Half of the SHA-256 and the version: equal etags mean equal bytes. Without a SHA-256, something never said before.
fn etag(digests: &ContentDigests, manifest: ManifestId, version: u32) -> Outcome<String> {
    const HEX_CHARS: usize = 32;
    if let Some(prefix) = digests.get(&DigestAlgorithm::Sha256).and_then(|hex| hex.get(..HEX_CHARS)) {
        return Ok(format!("{prefix}-{version}"));
    }
    let random = getrandom::u64().map_err(|source| {
        Error::new(ErrorKind::Internal, "draw random bytes").caused_by(source.to_string())
    })?;
    Ok(format!("m{manifest}-{random:016x}-{version}"))
}

/// Gives the row of the file.
fn write_version(
    tx: &Tx<'_>,
    new: &NewVersion,
    bucket: &BucketRow,
    standing: Option<&VersionRow>,
    content: &Content,
) -> Outcome<i64> {
    if let Some(standing) = standing {
        archive(tx, standing.file_row)?;
    }
    // Of the values below, `file_id` and the bucket and key count only for a new file.
    tx.run(
        "INSERT INTO files (file_id, bucket, key, version, manifest, size_bytes, media_type, declared_media_type,
             etag, digests, sha256, state, release, released, created_at, updated_at, owner, metadata, labels,
             stored_bytes, stored_chunks, deduplicated_bytes, derived_from, expires_at)
         VALUES (:file_id, :bucket, :key, :version, :manifest, :size_bytes, :media_type, :declared_media_type,
             :etag, :digests, :sha256, :state, :release, :released, :at, :at, :owner, :metadata, :labels,
             :stored_bytes, :stored_chunks, :deduplicated_bytes, :derived_from, NULL)
         ON CONFLICT (bucket, key) DO UPDATE SET version = :version, manifest = :manifest,
             size_bytes = :size_bytes, media_type = :media_type, declared_media_type = :declared_media_type,
             etag = :etag, digests = :digests, sha256 = :sha256, state = :state, release = :release,
             released = :released, created_at = :at, updated_at = :at, owner = :owner, metadata = :metadata,
             labels = :labels, stored_bytes = :stored_bytes, stored_chunks = :stored_chunks,
             deduplicated_bytes = :deduplicated_bytes, derived_from = :derived_from, expires_at = NULL",
        rusqlite::named_params! {
            ":file_id": new.file_id.as_bytes(),
            ":bucket": bucket.id,
            ":key": new.key.as_str(),
            ":version": content.version,
            ":manifest": content.manifest.0,
            ":size_bytes": int(new.size_bytes),
            ":media_type": new.media_type.as_str(),
            ":declared_media_type": new.declared_media_type.as_ref().map(MediaType::as_str),
            ":etag": content.etag,
            ":digests": to_json(&new.digests)?,
            ":sha256": sha256(&new.digests)?,
            ":state": first_state(new).as_str(),
            ":release": new.release.as_str(),
            ":released": is_released(new),
            ":at": tx.at().unix_ms(),
            ":owner": new.owner.as_str(),
            ":metadata": to_json(&new.metadata)?,
            ":labels": to_json(&new.labels)?,
            ":stored_bytes": int(content.stored.bytes),
            ":stored_chunks": int(content.stored.chunks),
            ":deduplicated_bytes": int(content.stored.deduplicated_bytes),
            ":derived_from": new.derived_from.as_ref().map(FileId::as_bytes),
        },
    )?;
    let file_row = standing.map_or_else(|| tx.last_insert_rowid(), |row| row.file_row);
    write_tags(tx, new, bucket, standing, file_row)?;
    Ok(file_row)
}

/// Moves the current version to where superseded ones stand. Its runs and reports stay with it by its number.
fn archive(tx: &Tx<'_>, file_row: i64) -> Outcome<()> {
    tx.run(
        "INSERT INTO versions (file, version, manifest, size_bytes, media_type, declared_media_type, etag, digests,
             sha256, state, release, released, created_at, updated_at, owner, metadata, labels, stored_bytes,
             stored_chunks, deduplicated_bytes, derived_from, expires_at)
         SELECT id, version, manifest, size_bytes, media_type, declared_media_type, etag, digests,
             sha256, state, release, released, created_at, updated_at, owner, metadata, labels, stored_bytes,
             stored_chunks, deduplicated_bytes, derived_from, expires_at
         FROM files WHERE id = ?1",
        [file_row],
    )?;
    Ok(())
}

fn write_tags(
    tx: &Tx<'_>,
    new: &NewVersion,
    bucket: &BucketRow,
    standing: Option<&VersionRow>,
    file_row: i64,
) -> Outcome<()> {
    let tagged = Tagged { file_row, bucket_row: bucket.id, key: &new.key };
    let none = Tags::new();
    let (labels, metadata) = standing.map_or((&none, &none), |row| (&row.file.labels, &row.file.metadata));
    tagged.replace(tx, TagKind::Label, labels, &new.labels)?;
    tagged.replace(tx, TagKind::Metadata, metadata, &new.metadata)
}

fn sha256(digests: &ContentDigests) -> Outcome<Option<Vec<u8>>> {
    let Some(hex) = digests.get(&DigestAlgorithm::Sha256) else { return Ok(None) };
    Ok(Some(ContentDigest::from_hex(DigestAlgorithm::Sha256, hex)?.as_bytes().to_vec()))
}

fn first_state(new: &NewVersion) -> FileState {
    if new.runs.is_empty() { FileState::Ready } else { FileState::Processing }
}

fn count_usage(
    tx: &Tx<'_>,
    new: &NewVersion,
    bucket: &BucketRow,
    standing: Option<&VersionRow>,
    stored: StoredBytes,
) -> Outcome<()> {
    let replaced_bytes = standing.map_or(0, |row| int(row.file.size_bytes));
    let change = UsageChange {
        file_count: i64::from(standing.is_none()),
        current_bytes: int(new.size_bytes) - replaced_bytes,
        ..UsageChange::of_version(new.size_bytes, stored)
    };
    change.apply(tx, bucket.id)
}

/// `stored` is an event of every version; what comes next depends on whether there are runs.
fn start_runs(
    tx: &Tx<'_>,
    new: &NewVersion,
    bucket: &BucketRow,
    file_row: i64,
    file: &File,
) -> Outcome<Vec<RunId>> {
    events::emit(tx, bucket.id, Subject::File(file_row), &file.key, &event::of_version(file))?;
    for run in &new.runs {
        runs::insert(tx, file_row, file, run, tx.at())?;
    }
    Ok(new.runs.iter().map(|run| run.id).collect())
}

/// The file as its row says it now.
fn committed(
    tx: &Tx<'_>,
    new: &NewVersion,
    standing: Option<&VersionRow>,
    content: Content,
) -> Outcome<File> {
    let id = standing.map_or(new.file_id, |row| row.file.id);
    let derived = match standing {
        Some(_) => derived(tx, &id)?,
        None => Vec::new(),
    };
    Ok(File {
        id,
        bucket: new.bucket.clone(),
        key: new.key.clone(),
        version: content.version,
        size_bytes: new.size_bytes,
        media_type: new.media_type.clone(),
        declared_media_type: new.declared_media_type.clone(),
        etag: content.etag,
        digests: new.digests.clone(),
        state: first_state(new),
        created_at: tx.at(),
        updated_at: tx.at(),
        owner: new.owner.as_str().to_owned(),
        metadata: new.metadata.clone(),
        labels: new.labels.clone(),
        stored: content.stored,
        reports: BTreeMap::new(),
        derived,
        derived_from: new.derived_from,
        expires_at: None,
        released: is_released(new),
    })
}

fn is_released(new: &NewVersion) -> bool {
    new.runs.is_empty() || new.release == Release::Immediate
}
