//! The commit: what `usp_decide::commit` decides, loaded and written.
//!
//! In one transaction: the manifest with its chunk rows, the version that stood moves to `versions`, the new one becomes the
//! file's current version, then sums, the end of the upload, the key of idempotency, runs, and the events of all that. Any
//! error takes all of it back.

use rusqlite::Connection;
use usp_decide::commit::{self, Content, Facts, ManifestSize, Shared};
use usp_decide::{bucket, upload};
use usp_model::{
    BucketName, ContentDigest, DigestAlgorithm, Error, ErrorKind, File, FileId, FileRef, ManifestId, Release,
    RunId, StoredBytes,
};

use super::ask::{Ask, int, to_json};
use super::buckets::{self, BucketRow};
use super::events::{self, Subject};
use super::fail::Outcome;
use super::tags::{TagKind, Tagged, Tags};
use super::tx::Tx;
use super::uploads::{self, UploadRow};
use super::version_row::{AS_DECIDED, VersionRow, current_by_key, derived, tags_json};
use super::{files, idempotency, manifests, redo, runs};
use crate::records::{CommittedVersion, NewCopy, NewVersion};

pub(super) fn commit_version(tx: &Tx<'_>, new: &NewVersion) -> Outcome<CommittedVersion> {
    let bucket = buckets::row_of_domain(tx, &new.bucket, new.domain)?;
    if let Some(seen) = idempotency::replay(tx, new)? {
        return Ok(seen);
    }
    let upload = new.upload.map(|id| uploads::find(tx, "commit version", &id)).transpose()?;
    let content = match &upload {
        Some(upload) => Content::Upload(&upload.session, manifests::size_or_none(tx, upload.manifest)?),
        None => Content::Whole,
    };
    commit(tx, new, &bucket, content, upload.as_ref())
}

/// Makes a version that shares the content of another.
pub(super) fn copy_version(tx: &Tx<'_>, copy: &NewCopy) -> Outcome<CommittedVersion> {
    let source = files::record(tx, &FileRef::Id(copy.source), copy.source_version)?;
    let of_source = buckets::row(tx, &source.file.bucket)?;
    let bucket = buckets::row(tx, &copy.bucket)?;
    bucket::check_shared(&copy.bucket, of_source.domain(), bucket.domain())?;
    let new = commit::copied(copy, &source.file, bucket.domain())?;
    if let Some(seen) = idempotency::replay(tx, &new)? {
        return Ok(seen);
    }
    let shared = Shared { manifest: source.manifest, chunk_count: source.file.stored.chunks };
    commit(tx, &new, &bucket, Content::Shared(shared), None)
}

fn commit(
    tx: &Tx<'_>,
    new: &NewVersion,
    bucket: &BucketRow,
    content: Content<'_>,
    upload: Option<&UploadRow>,
) -> Outcome<CommittedVersion> {
    let standing = current_by_key(tx, bucket.id, &new.key)?;
    let facts = Facts {
        standing: standing.as_ref().map(|row| &row.file),
        bucket_bytes: buckets::current_bytes(tx, bucket)?,
        content,
        at: tx.at(),
        nonce: nonce()?,
    };
    let committed = commit::decide(new, &facts)?;
    let manifest = write_content(tx, new, content, upload, committed.manifest)?;
    let file_row = write_version(tx, new, &committed.file, bucket, standing.as_ref(), manifest)?;
    buckets::change_usage(tx, bucket.id, committed.usage)?;
    idempotency::remember(tx, new, file_row, committed.file.version)?;
    let mut file = committed.file;
    if standing.is_some() {
        file.derived = derived(tx, &file.id)?;
    }
    if let Some(upload) = upload {
        upload.complete(tx, file_row, new.size_bytes)?;
        if let Some(body) = upload::completed_event(&upload.session, &file) {
            events::emit(tx, bucket.id, Subject::Upload(&file.id), &file.key, &[body])?;
        }
    }
    events::emit(tx, bucket.id, Subject::File(file_row), &file.key, &committed.events)?;
    let runs = start_runs(tx, new, file_row, &file)?;
    Ok(CommittedVersion { file, is_new_file: standing.is_none(), runs })
}

fn nonce() -> Outcome<u64> {
    Ok(getrandom::u64().map_err(|source| {
        Error::new(ErrorKind::Internal, "draw random bytes").caused_by(source.to_string())
    })?)
}

pub(super) fn check_quota(
    conn: &Connection,
    name: &BucketName,
    quota_bytes: u64,
    size_bytes: u64,
    replaced_bytes: u64,
) -> Outcome<()> {
    let current_bytes = buckets::current_bytes(conn, &buckets::row(conn, name)?)?;
    Ok(bucket::check_quota(name, quota_bytes, current_bytes, size_bytes, replaced_bytes)?)
}

fn write_content(
    tx: &Tx<'_>,
    new: &NewVersion,
    content: Content<'_>,
    upload: Option<&UploadRow>,
    size: ManifestSize,
) -> Outcome<ManifestId> {
    let manifest = match (content, upload) {
        (Content::Shared(shared), _) => {
            manifests::share(tx, shared.manifest)?;
            shared.manifest
        }
        (Content::Upload(_, before), Some(upload)) => {
            manifests::append(tx, upload.manifest, before, &new.chunks)?;
            upload.manifest
        }
        (Content::Whole | Content::Upload(..), _) => manifests::of_chunks(tx, &new.chunks, size)?,
    };
    redo::add(tx, &new.redo)?;
    Ok(manifest)
}

/// Gives the row of the file.
fn write_version(
    tx: &Tx<'_>,
    new: &NewVersion,
    file: &File,
    bucket: &BucketRow,
    standing: Option<&VersionRow>,
    manifest: ManifestId,
) -> Outcome<i64> {
    if let Some(standing) = standing {
        archive(tx, standing.file_row)?;
    }
    let StoredBytes { bytes, chunks, deduplicated_bytes } = file.stored;
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
            ":file_id": file.id.as_bytes(),
            ":bucket": bucket.id,
            ":key": file.key.as_str(),
            ":version": file.version,
            ":manifest": manifest.0,
            ":size_bytes": int(file.size_bytes),
            ":media_type": file.media_type.as_str(),
            ":declared_media_type": kept_declared(file),
            ":etag": kept_etag(file),
            ":digests": kept_digests(file)?,
            ":sha256": sha256(file)?,
            ":state": file.state.as_str(),
            ":release": (new.release != Release::Immediate).then(|| new.release.as_str()),
            ":released": file.released,
            ":at": file.created_at.unix_ms(),
            ":owner": file.owner,
            ":metadata": tags_json(&file.metadata)?,
            ":labels": tags_json(&file.labels)?,
            ":stored_bytes": int(bytes),
            ":stored_chunks": int(chunks),
            ":deduplicated_bytes": int(deduplicated_bytes),
            ":derived_from": file.derived_from.as_ref().map(FileId::as_bytes),
        },
    )?;
    let file_row = standing.map_or_else(|| tx.last_insert_rowid(), |row| row.file_row);
    write_tags(tx, file, bucket, standing, file_row)?;
    Ok(file_row)
}

/// What the client said; a short mark if that is what was decided.
fn kept_declared(file: &File) -> Option<&str> {
    let declared = file.declared_media_type.as_ref()?;
    Some(if *declared == file.media_type { AS_DECIDED } else { declared.as_str() })
}

/// What does not follow from the SHA-256 and the version.
fn kept_etag(file: &File) -> Option<&str> {
    let follows = commit::etag(&file.digests, file.version);
    Some(file.etag.as_str()).filter(|etag| follows.as_deref() != Some(etag))
}

/// All but the SHA-256, which has a column of its own.
fn kept_digests(file: &File) -> Outcome<Option<String>> {
    let mut digests = file.digests.clone();
    digests.remove(&DigestAlgorithm::Sha256);
    if digests.is_empty() { Ok(None) } else { to_json(&digests).map(Some) }
}

fn sha256(file: &File) -> Outcome<Option<Vec<u8>>> {
    let Some(hex) = file.digests.get(&DigestAlgorithm::Sha256) else { return Ok(None) };
    Ok(Some(ContentDigest::from_hex(DigestAlgorithm::Sha256, hex)?.as_bytes().to_vec()))
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
    file: &File,
    bucket: &BucketRow,
    standing: Option<&VersionRow>,
    file_row: i64,
) -> Outcome<()> {
    let tagged = Tagged { file_row, bucket_row: bucket.id, key: &file.key };
    let none = Tags::new();
    let (labels, metadata) = standing.map_or((&none, &none), |row| (&row.file.labels, &row.file.metadata));
    tagged.replace(tx, TagKind::Label, labels, &file.labels)?;
    tagged.replace(tx, TagKind::Metadata, metadata, &file.metadata)
}

fn start_runs(tx: &Tx<'_>, new: &NewVersion, file_row: i64, file: &File) -> Outcome<Vec<RunId>> {
    for run in &new.runs {
        runs::insert(tx, file_row, file, run, tx.at())?;
    }
    Ok(new.runs.iter().map(|run| run.id).collect())
}
