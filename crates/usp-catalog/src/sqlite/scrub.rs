//! Where the scrub stands, what it found, and which contents are hit.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};
use usp_decide::pack::{self, Scrubbed};
use usp_model::{ChunkId, ManifestId, PackDamage, PackId, Segment, Timestamp};

use super::ask::{Ask, Column, int, to_json};
use super::chunks;
use super::fail::Outcome;
use super::tx::Tx;
use crate::records::{ContentOwner, NamingPage, ReferencePlace, ScrubState, ScrubbedPack};

/// Stretches of damage that a list tells. A store with more has one cause, which the first of them name.
const DAMAGE_COUNT_MAX: u32 = 10_000;

pub(super) fn begin(tx: &Tx<'_>, at: Timestamp) -> Outcome<ScrubState> {
    tx.run("DELETE FROM scrub_damage", [])?;
    tx.run("DELETE FROM scrubs", [])?;
    tx.run(
        "INSERT INTO scrubs (id, began_at, until_pack) SELECT 1, ?1, coalesce(max(id), 0) FROM packs",
        [at.unix_ms()],
    )?;
    state(tx)
}

/// Writes what one pack holds, and what `usp_decide::pack` makes of its damage.
pub(super) fn note(tx: &Tx<'_>, scrubbed: &ScrubbedPack) -> Outcome<()> {
    let pack = scrubbed.pack;
    tx.run(
        "UPDATE scrubs SET last_pack = max(last_pack, ?1), pack_count = pack_count + 1,
             frame_count = frame_count + ?2, size_bytes = size_bytes + ?3",
        (pack.0, int(scrubbed.frame_count), int(scrubbed.size_bytes)),
    )?;
    for damage in &scrubbed.damage {
        tx.run(
            "INSERT OR REPLACE INTO scrub_damage (pack, offset, size_bytes, part) VALUES (?1, ?2, ?3, ?4)",
            (pack.0, int(damage.offset), int(damage.size_bytes), damage.part.as_str()),
        )?;
    }
    let Scrubbed { is_set_aside, doubted } = pack::scrubbed(&scrubbed.damage);
    for range in doubted {
        chunks::doubt(tx, pack, range)?;
    }
    if is_set_aside {
        chunks::set_pack_aside(tx, pack)?;
    }
    Ok(())
}

pub(super) fn end(tx: &Tx<'_>, at: Timestamp) -> Outcome<ScrubState> {
    tx.run("UPDATE scrubs SET ended_at = ?1 WHERE ended_at IS NULL", [at.unix_ms()])?;
    state(tx)
}

/// All zero when there was no scrub yet.
pub(super) fn state(conn: &Connection) -> Outcome<ScrubState> {
    let sql = "SELECT began_at, ended_at, last_pack, until_pack, pack_count, frame_count, size_bytes,
             (SELECT count(*) FROM scrub_damage), (SELECT count(*) FROM packs WHERE id > last_pack AND id <= until_pack)
         FROM scrubs";
    let found = conn.one(sql, [], |row| {
        Ok(ScrubState {
            began_at: row.time_or_none(0)?,
            ended_at: row.time_or_none(1)?,
            last: PackId(row.get(2)?),
            until: PackId(row.get(3)?),
            pack_count: row.count(4)?,
            frame_count: row.count(5)?,
            size_bytes: row.count(6)?,
            damage_count: row.count(7)?,
            packs_left: row.count(8)?,
        })
    })?;
    Ok(found.unwrap_or_default())
}

pub(super) fn damage(conn: &Connection) -> Outcome<Vec<PackDamage>> {
    let sql = "SELECT pack, offset, size_bytes, part FROM scrub_damage ORDER BY pack, offset LIMIT ?1";
    conn.all(sql, [DAMAGE_COUNT_MAX], |row| {
        Ok(PackDamage {
            pack: PackId(row.get(0)?),
            offset: row.count(1)?,
            size_bytes: row.count(2)?,
            part: row.text(3)?,
        })
    })
}

/// Which contents name one of `chunks`, some segments at a time.
pub(super) fn naming(
    conn: &Connection,
    chunks: &BTreeSet<ChunkId>,
    after: Option<ReferencePlace>,
    segment_count_max: u32,
) -> Outcome<NamingPage> {
    let (manifest, start) = after.map_or((0, -1), |after| (after.manifest.0, int(after.start_offset)));
    let mut named = BTreeSet::new();
    let places = conn.all(
        "SELECT manifest, start_offset, body FROM segments
         WHERE (manifest, start_offset) > (?1, ?2) ORDER BY manifest, start_offset LIMIT ?3",
        (manifest, start, segment_count_max),
        |row| {
            let place = ReferencePlace { manifest: ManifestId(row.get(0)?), start_offset: row.count(1)? };
            // A segment that cannot be read is for `check` to tell; the others still say what they name.
            let segment = Segment::decode(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?).ok();
            let entries = segment.iter().flat_map(Segment::entries).map(|entry| entry.chunk);
            named.extend(entries.filter(|chunk| chunks.contains(chunk)).map(|chunk| (chunk, place.manifest)));
            Ok(place)
        },
    )?;
    let is_last = places.len() < segment_count_max as usize;
    let next = places.last().copied().filter(|_| !is_last);
    Ok(NamingPage { named: named.into_iter().collect(), next })
}

/// Whose contents these are: current versions, past ones, open uploads.
pub(super) fn owners(conn: &Connection, manifests: &[ManifestId]) -> Outcome<Vec<ContentOwner>> {
    let ids = to_json(&manifests.iter().map(|manifest| manifest.0).collect::<Vec<_>>())?;
    let mut found = conn.all(
        "SELECT f.manifest, b.name, f.key, f.version, f.file_id, NULL FROM files f JOIN buckets b ON b.id = f.bucket
         WHERE f.manifest IN (SELECT value FROM json_each(?1))",
        [&ids],
        owner,
    )?;
    found.extend(conn.all(
        "SELECT v.manifest, b.name, f.key, v.version, f.file_id, NULL
         FROM versions v JOIN files f ON f.id = v.file JOIN buckets b ON b.id = f.bucket
         WHERE v.manifest IN (SELECT value FROM json_each(?1))",
        [&ids],
        owner,
    )?);
    found.extend(conn.all(
        "SELECT u.manifest, b.name, u.key, NULL, u.file_id, u.upload_id
         FROM uploads u JOIN buckets b ON b.id = u.bucket
         WHERE u.state = 'open' AND u.manifest IN (SELECT value FROM json_each(?1))",
        [&ids],
        owner,
    )?);
    Ok(found)
}

fn owner(row: &Row<'_>) -> Outcome<ContentOwner> {
    Ok(ContentOwner {
        manifest: ManifestId(row.get(0)?),
        bucket: row.text(1)?,
        key: row.text(2)?,
        version: row.get(3)?,
        file_id: usp_model::FileId::from_bytes(row.get(4)?),
        upload: row.get::<_, Option<[u8; 32]>>(5)?.map(usp_model::UploadId::from_bytes),
    })
}
