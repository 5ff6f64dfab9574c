//! Parts that become one upload.

use usp_decide::upload::{self, Join, JoinedBefore};
use usp_model::{Upload, UploadChange, UploadId};

use super::{UploadRow, by_row, find, insert};
use crate::records::{NewUpload, UploadTerms};
use crate::sqlite::ask::{Ask, Column, int, to_json};
use crate::sqlite::fail::Outcome;
use crate::sqlite::manifests;
use crate::sqlite::tx::Tx;

const ACTION: &str = "join uploads";

/// The new upload gets the segments of the parts, so their chunks have one owner at any moment.
pub(in crate::sqlite) fn join(
    tx: &Tx<'_>,
    new: &NewUpload,
    ids: &[UploadId],
    sha256_state: &[u8],
) -> Outcome<Upload> {
    let rows: Vec<UploadRow> = ids.iter().map(|id| find(tx, ACTION, id)).collect::<Outcome<_>>()?;
    let mut parts = Vec::with_capacity(rows.len());
    for row in &rows {
        parts.push((row.session.clone(), manifests::size_or_none(tx, row.manifest)?));
    }
    let before = joined_before(tx, &rows)?;
    let (size, stored) = match upload::join(new, ids, &parts, before.as_ref(), sha256_state)? {
        Join::Before(upload) => return Ok(*upload),
        Join::Now(size, stored) => (size, stored),
    };
    let joined = insert(tx, new)?;
    for part in &rows {
        manifests::take_over(tx, joined.manifest, part.manifest)?;
        let sql = "UPDATE uploads SET state = 'completed', sha256_state = x'', joined = ?2 WHERE id = ?1";
        tx.run(sql, (part.id, joined.id))?;
    }
    tx.run(
        "UPDATE uploads SET size_bytes = ?2, received_bytes = ?2, stored_bytes = ?3, stored_chunks = ?4,
             deduplicated_bytes = ?5, parts = ?6, sha256_state = ?7 WHERE id = ?1",
        (
            joined.id,
            int(size.size_bytes),
            int(stored.bytes),
            int(stored.chunks),
            int(stored.deduplicated_bytes),
            to_json(ids)?,
            sha256_state,
        ),
    )?;
    let joined = find(tx, ACTION, &new.id)?;
    joined.emit(tx, UploadChange::Created)?;
    Ok(joined.session.upload)
}

/// What the first part was joined to, if that still stands.
fn joined_before(tx: &Tx<'_>, parts: &[UploadRow]) -> Outcome<Option<JoinedBefore>> {
    let Some(joined) = parts.first().and_then(|row| row.joined) else { return Ok(None) };
    let Some(row) = by_row(tx, joined)? else { return Ok(None) };
    let terms =
        tx.one("SELECT terms FROM uploads WHERE id = ?1", [row.id], |row| row.json::<UploadTerms>(0))?;
    let expected_digests = terms.unwrap_or_default().expected_digests;
    Ok(Some(JoinedBefore { upload: row.session.upload, expected_digests }))
}
