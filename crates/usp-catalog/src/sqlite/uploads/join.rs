//! Parts that become one upload.

use rusqlite::Connection;
use usp_model::{
    DomainId, Error, ErrorKind, StoredBytes, Upload, UploadChange, UploadId, UploadShape, UploadState,
};

use super::{UPLOAD, UploadRow, find, gone, insert, record, upload_row};
use crate::records::NewUpload;
use crate::sqlite::ask::{Ask, int, to_json};
use crate::sqlite::fail::Outcome;
use crate::sqlite::manifests;
use crate::sqlite::tx::Tx;

const ACTION: &str = "join uploads";

/// The new upload gets the segments of the parts, so their chunks have one owner at any moment.
pub(in crate::sqlite) fn join(
    tx: &Tx<'_>,
    new: &NewUpload,
    parts: &[UploadId],
    sha256_state: &[u8],
) -> Outcome<Upload> {
    let rows: Vec<UploadRow> = parts.iter().map(|id| find(tx, ACTION, id)).collect::<Outcome<_>>()?;
    if let Some(joined) = joined_before(tx, new, parts, &rows)? {
        return Ok(joined);
    }
    for (number, row) in (1..).zip(&rows) {
        check(row, new.domain).map_err(|reason| {
            Error::new(ErrorKind::Conflict, ACTION).because(format!("part {number} {reason}"))
        })?;
    }
    if sha256_state.is_empty() || rows.iter().any(|row| row.tail_bytes > 0) {
        let reason = "the parts were not cut to their ends, or have no digest";
        return Err(Error::new(ErrorKind::Internal, ACTION).because(reason).into());
    }
    let joined = insert(tx, new)?;
    let mut stored = StoredBytes::default();
    let mut size_bytes = 0;
    for part in &rows {
        size_bytes = manifests::take_over(tx, joined.manifest, part.manifest)?.size_bytes;
        stored.bytes = stored.bytes.saturating_add(part.stored.bytes);
        stored.chunks = stored.chunks.saturating_add(part.stored.chunks);
        stored.deduplicated_bytes = stored.deduplicated_bytes.saturating_add(part.stored.deduplicated_bytes);
        let sql = "UPDATE uploads SET state = 'completed', sha256_state = x'', joined = ?2 WHERE id = ?1";
        tx.run(sql, (part.id, joined.id))?;
    }
    tx.run(
        "UPDATE uploads SET size_bytes = ?2, received_bytes = ?2, stored_bytes = ?3, stored_chunks = ?4,
             deduplicated_bytes = ?5, parts = ?6, sha256_state = ?7 WHERE id = ?1",
        (
            joined.id,
            int(size_bytes),
            int(stored.bytes),
            int(stored.chunks),
            int(stored.deduplicated_bytes),
            to_json(&parts)?,
            sha256_state,
        ),
    )?;
    let joined = find(tx, ACTION, &new.id)?;
    joined.emit(tx, UploadChange::Created)?;
    Ok(joined.upload)
}

/// The answer to who asks again because the first one got lost.
fn joined_before(
    tx: &Tx<'_>,
    new: &NewUpload,
    parts: &[UploadId],
    rows: &[UploadRow],
) -> Outcome<Option<Upload>> {
    let Some(joined) = rows.first().and_then(|row| row.joined) else { return Ok(None) };
    let found = tx.one(&format!("{UPLOAD} WHERE u.id = ?1"), [joined], upload_row)?;
    let Some(UploadRow { upload, .. }) = found else { return Ok(None) };
    let is_same = matches!(&upload.shape, UploadShape::Joined(joined) if joined == parts)
        && upload.bucket == new.bucket
        && upload.key == new.key
        && upload.owner == new.owner.as_str();
    match upload.state {
        UploadState::Terminated | UploadState::Expired => Err(gone(ACTION, &upload).into()),
        UploadState::Open | UploadState::Completed => {
            let promised = record(tx, &upload.id)?.terms.expected_digests;
            Ok(Some(upload).filter(|_| is_same && promised == new.terms.expected_digests))
        }
    }
}

fn check(row: &UploadRow, domain: DomainId) -> Result<(), String> {
    let upload = &row.upload;
    if upload.shape != UploadShape::Part {
        return Err("was not begun as a part of another upload".to_owned());
    }
    if row.joined.is_some() {
        return Err("is a part of another upload already".to_owned());
    }
    if upload.state != UploadState::Open {
        return Err(format!("is {}; begin it anew", upload.state));
    }
    if row.domain != domain {
        return Err(
            "was begun for a bucket of another dedup domain; name the bucket of the file in the metadata of \
                    each part"
                .to_owned(),
        );
    }
    if upload.size_bytes != Some(upload.received_bytes) {
        return Err(format!("has {} bytes and is not complete; send the rest first", upload.received_bytes));
    }
    Ok(())
}

/// Whether what this part was joined to still stands: nothing is left of the part itself.
pub(super) fn is_lost(conn: &Connection, part: &UploadRow) -> Outcome<bool> {
    let Some(joined) = part.joined else { return Ok(false) };
    let sql = "SELECT 1 FROM uploads WHERE id = ?1 AND state IN ('open', 'completed')";
    Ok(conn.one(sql, [joined], |_row| Ok(()))?.is_none())
}
