//! The catalogue against itself: rows that name each other, contents without holes, sums against what they count.

use rusqlite::{Connection, Row};
use usp_model::{Finding, FindingKind, ManifestId, Segment};

use super::ask::{Ask, Column};
use super::fail::Outcome;
use super::tx::Tx;
use crate::records::ContentCheck;

/// Findings of one question: what is wrong everywhere is told often enough.
const FINDING_COUNT_MAX: u32 = 100;

/// Contents whose owners are looked for at once: no index leads from a content to its owner, so each look reads all files.
const OWNER_SPAN: i64 = 1_000_000;

/// Who refers to contents.
const ALL_OWNED: &str = "SELECT manifest FROM files UNION ALL SELECT manifest FROM versions
     UNION ALL SELECT manifest FROM uploads WHERE state = 'open'";

/// Who refers to contents of a span.
const OWNED: &str = "SELECT manifest FROM files WHERE manifest > ?1 AND manifest <= ?2
     UNION ALL SELECT manifest FROM versions WHERE manifest > ?1 AND manifest <= ?2
     UNION ALL SELECT manifest FROM uploads WHERE state = 'open' AND manifest > ?1 AND manifest <= ?2";

/// What SQLite itself says of the file.
pub(super) fn file(conn: &Connection) -> Outcome<Vec<Finding>> {
    let sql = format!("PRAGMA integrity_check({FINDING_COUNT_MAX})");
    let told: Vec<String> = conn.all(&sql, [], |row| Ok(row.get(0)?))?;
    let mut findings: Vec<Finding> = told
        .into_iter()
        .filter(|text| text != "ok")
        .map(|text| Finding::new(FindingKind::Catalog, format!("SQLite says of catalog.db: {text}")))
        .collect();
    let dangling: Vec<(String, String)> =
        conn.all("SELECT \"table\", \"parent\" FROM pragma_foreign_key_check LIMIT 100", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    findings.extend(dangling.into_iter().map(|(table, parent)| {
        Finding::new(
            FindingKind::Catalog,
            format!("a row of table {table} names a row of {parent} that is not there"),
        )
    }));
    Ok(findings)
}

/// Some contents in order of their manifests: segments without hole or overlap, chunks with rows, sums.
pub(super) fn contents(conn: &Connection, after: ManifestId, count_max: u32) -> Outcome<ContentCheck> {
    let mut findings = Vec::new();
    let manifests: Vec<(ManifestId, u64, u64)> = conn.all(
        "SELECT id, size_bytes, chunk_count FROM manifests WHERE id > ?1 ORDER BY id LIMIT ?2",
        (after.0, count_max),
        |row| Ok((ManifestId(row.get(0)?), row.count(1)?, row.count(2)?)),
    )?;
    for (manifest, size_bytes, chunk_count) in &manifests {
        if let Some(reason) = wrong(conn, *manifest, *size_bytes, *chunk_count)? {
            findings.push(Finding::new(FindingKind::Content, format!("content {manifest} {reason}")));
        }
    }
    let last = manifests.last().map(|(manifest, ..)| *manifest);
    if let Some(last) = last {
        for span in spans_begun(after, last) {
            owners(conn, ManifestId(span * OWNER_SPAN), ManifestId((span + 1) * OWNER_SPAN), &mut findings)?;
        }
    }
    let next = last.filter(|_| manifests.len() == count_max as usize);
    Ok(ContentCheck { count: manifests.len() as u64, findings, next })
}

/// What is wrong with a content; the first thing that is.
fn wrong(
    conn: &Connection,
    manifest: ManifestId,
    size_bytes: u64,
    chunk_count: u64,
) -> Outcome<Option<String>> {
    let sql = "SELECT start_offset, end_offset, body FROM segments WHERE manifest = ?1 ORDER BY start_offset";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([manifest.0])?;
    let (mut offset, mut count) = (0, 0);
    while let Some(row) = rows.next()? {
        let (start, end) = (row.count(0)?, row.count(1)?);
        if start != offset {
            return Ok(Some(format!("has a hole or an overlap at byte {offset}")));
        }
        let body = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let Ok(segment) = Segment::decode(body) else {
            return Ok(Some(format!("has a segment at byte {start} that cannot be read")));
        };
        if start.saturating_add(segment.size_bytes()) != end {
            return Ok(Some(format!("has a segment at byte {start} whose entries do not fill its range")));
        }
        for entry in segment.entries() {
            let sql = "SELECT size_bytes FROM chunks WHERE id = ?1";
            match conn.one(sql, [entry.chunk.0], |row| Ok(row.get::<_, u32>(0)?))? {
                None => return Ok(Some(format!("names chunk {}, which has no row", entry.chunk))),
                Some(size_bytes) if size_bytes != entry.size_bytes => {
                    return Ok(Some(format!(
                        "names chunk {} with {} bytes, its row says {size_bytes}",
                        entry.chunk, entry.size_bytes
                    )));
                }
                Some(_) => {}
            }
        }
        offset = end;
        count += segment.entries().len() as u64;
    }
    if (offset, count) != (size_bytes, chunk_count) {
        return Ok(Some(format!(
            "has {offset} bytes in {count} chunks, its row says {size_bytes} in {chunk_count}"
        )));
    }
    Ok(None)
}

/// The spans whose first number the page looks behind: each is of one page.
fn spans_begun(after: ManifestId, last: ManifestId) -> std::ops::Range<i64> {
    let first_of = |number: i64| number.saturating_add(OWNER_SPAN - 1) / OWNER_SPAN;
    first_of(after.0)..first_of(last.0)
}

/// Every content has as many who refer to it as it says: files, past versions, open uploads.
fn owners(
    conn: &Connection,
    after: ManifestId,
    last: ManifestId,
    findings: &mut Vec<Finding>,
) -> Outcome<()> {
    let sql = format!(
        "SELECT m.id, m.refs, count(o.manifest) FROM manifests m LEFT JOIN ({OWNED}) o ON o.manifest = m.id
         WHERE m.id > ?1 AND m.id <= ?2 GROUP BY m.id HAVING m.refs <> count(o.manifest) LIMIT {FINDING_COUNT_MAX}"
    );
    let wrong = conn.all(&sql, (after.0, last.0), |row| {
        Ok((number(row)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    })?;
    findings.extend(wrong.into_iter().map(|(id, said, counted)| {
        let miscounted = format!(
            "content {id} is said to belong to {said} files, versions or open uploads, counted {counted}"
        );
        match counted {
            0 => Finding::new(
                FindingKind::Orphan,
                format!("content {id} belongs to no file, version or open upload"),
            ),
            // The first of them that goes would take the content from the others.
            counted if counted > said => Finding::new(FindingKind::Content, miscounted),
            _ => sum(miscounted),
        }
    }));
    Ok(())
}

fn number(row: &Row<'_>) -> Outcome<i64> {
    Ok(row.get(0)?)
}

/// Versions whose content has no row or another length.
pub(super) fn versions(conn: &Connection) -> Outcome<Vec<Finding>> {
    const QUESTIONS: [&str; 3] = [
        "SELECT 'version ' || v.version || ' of file ' || b.name || '/' || v.key, v.size_bytes, m.size_bytes
         FROM files v JOIN buckets b ON b.id = v.bucket LEFT JOIN manifests m ON m.id = v.manifest
         WHERE m.id IS NULL OR m.size_bytes <> v.size_bytes LIMIT 100",
        "SELECT 'version ' || v.version || ' of file ' || b.name || '/' || f.key, v.size_bytes, m.size_bytes
         FROM versions v JOIN files f ON f.id = v.file JOIN buckets b ON b.id = f.bucket
         LEFT JOIN manifests m ON m.id = v.manifest
         WHERE m.id IS NULL OR m.size_bytes <> v.size_bytes LIMIT 100",
        "SELECT 'an open upload to ' || b.name || '/' || u.key, u.received_bytes - length(u.tail), m.size_bytes
         FROM uploads u JOIN buckets b ON b.id = u.bucket LEFT JOIN manifests m ON m.id = u.manifest
         WHERE u.state = 'open' AND (m.id IS NULL OR m.size_bytes <> u.received_bytes - length(u.tail)) LIMIT 100",
    ];
    let mut findings = Vec::new();
    for sql in QUESTIONS {
        findings.extend(conn.all(sql, [], |row| {
            let (name, said): (String, i64) = (row.get(0)?, row.get(1)?);
            let text = match row.get::<_, Option<i64>>(2)? {
                None => format!("{name} has no content"),
                Some(found) => format!("{name} has {said} bytes, its content {found}"),
            };
            Ok(Finding::new(FindingKind::Content, text))
        })?);
    }
    Ok(findings)
}

/// What `usage` counts, for each bucket.
const USAGE: &str = "SELECT b.id AS bucket,
     count(f.id) AS file_count,
     coalesce(sum(f.size_bytes), 0) AS current_bytes,
     count(f.id) + (SELECT count(*) FROM versions v JOIN files w ON w.id = v.file WHERE w.bucket = b.id)
         AS version_count,
     coalesce(sum(f.size_bytes), 0)
         + (SELECT coalesce(sum(v.size_bytes), 0) FROM versions v JOIN files w ON w.id = v.file WHERE w.bucket = b.id)
         AS logical_bytes,
     coalesce(sum(f.stored_bytes), 0)
         + (SELECT coalesce(sum(v.stored_bytes), 0) FROM versions v JOIN files w ON w.id = v.file WHERE w.bucket = b.id)
         AS stored_bytes,
     coalesce(sum(f.deduplicated_bytes), 0)
         + (SELECT coalesce(sum(v.deduplicated_bytes), 0) FROM versions v JOIN files w ON w.id = v.file
            WHERE w.bucket = b.id)
         AS deduplicated_bytes
     FROM buckets b LEFT JOIN files f ON f.bucket = b.id GROUP BY b.id";
const USAGE_COLUMNS: [&str; 6] =
    ["file_count", "version_count", "current_bytes", "logical_bytes", "stored_bytes", "deduplicated_bytes"];
/// Named sums over all chunk rows.
const META: [(&str, &str); 3] = [
    ("chunk_count", "SELECT count(*) FROM chunks"),
    ("plain_bytes", "SELECT coalesce(sum(size_bytes), 0) FROM chunks"),
    ("frame_bytes", "SELECT coalesce(sum(stored_bytes), 0) FROM chunks"),
];
const PACK_SUMS: &str =
    "SELECT p.id AS pack, count(c.id) AS live_chunks, coalesce(sum(c.stored_bytes), 0) AS live_bytes
     FROM packs p LEFT JOIN chunks c ON c.pack = p.id GROUP BY p.id";

/// Sums against what they count.
pub(super) fn sums(conn: &Connection) -> Outcome<Vec<Finding>> {
    let mut findings = Vec::new();
    for column in USAGE_COLUMNS {
        let sql = format!(
            "SELECT b.name, u.{column}, r.{column} FROM ({USAGE}) r JOIN usage u ON u.bucket = r.bucket
             JOIN buckets b ON b.id = r.bucket WHERE u.{column} <> r.{column}"
        );
        findings.extend(conn.all(&sql, [], |row| {
            let (bucket, said, counted): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(sum(format!("{column} of bucket {bucket} is {said}, counted {counted}")))
        })?);
    }
    for (name, count) in META {
        let sql = format!("SELECT value, ({count}) FROM meta WHERE name = ?1");
        let found = conn.one(&sql, [name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        match found {
            Some((said, counted)) if said != counted => {
                findings.push(sum(format!("{name} of the store is {said}, counted {counted}")));
            }
            Some(_) => {}
            None => findings.push(sum(format!("the store has no {name}"))),
        }
    }
    let packs = format!(
        "SELECT p.id, p.live_chunks, p.live_bytes, r.live_chunks, r.live_bytes FROM ({PACK_SUMS}) r
         JOIN packs p ON p.id = r.pack
         WHERE p.live_chunks <> r.live_chunks OR p.live_bytes <> r.live_bytes LIMIT {FINDING_COUNT_MAX}"
    );
    findings.extend(conn.all(&packs, [], |row| {
        let (pack, said, said_bytes) = (number(row)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
        let (counted, counted_bytes) = (row.get::<_, i64>(3)?, row.get::<_, i64>(4)?);
        Ok(sum(format!(
            "pack {pack} is said to have {said} living chunks of {said_bytes} bytes, counted {counted} of {counted_bytes}"
        )))
    })?);
    Ok(findings)
}

fn sum(text: String) -> Finding {
    Finding::new(FindingKind::Sum, text)
}

/// Writes every sum anew; gives how many rows changed. Nothing but sums is touched.
pub(super) fn mend_sums(tx: &Tx<'_>) -> Outcome<u64> {
    let mut changed = 0;
    changed += tx.run(
        &format!(
            "UPDATE usage SET file_count = r.file_count, version_count = r.version_count,
                 current_bytes = r.current_bytes, logical_bytes = r.logical_bytes, stored_bytes = r.stored_bytes,
                 deduplicated_bytes = r.deduplicated_bytes
             FROM ({USAGE}) r WHERE usage.bucket = r.bucket AND (usage.file_count <> r.file_count
                 OR usage.version_count <> r.version_count OR usage.current_bytes <> r.current_bytes
                 OR usage.logical_bytes <> r.logical_bytes OR usage.stored_bytes <> r.stored_bytes
                 OR usage.deduplicated_bytes <> r.deduplicated_bytes)"
        ),
        [],
    )?;
    for (name, count) in META {
        changed += tx.run(
            &format!(
                "INSERT INTO meta (name, value) VALUES (?1, ({count}))
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value"
            ),
            [name],
        )?;
    }
    changed += tx.run(
        &format!(
            "UPDATE packs SET live_chunks = r.live_chunks, live_bytes = r.live_bytes FROM ({PACK_SUMS}) r
             WHERE packs.id = r.pack
             AND (packs.live_chunks <> r.live_chunks OR packs.live_bytes <> r.live_bytes)
             AND (packs.state <> 'doomed' OR r.live_chunks = 0)"
        ),
        [],
    )?;
    changed += tx.run(
        &format!(
            "UPDATE manifests SET refs = r.refs FROM (SELECT manifest, count(*) AS refs FROM ({ALL_OWNED}) GROUP BY manifest) r
             WHERE manifests.id = r.manifest AND manifests.refs <> r.refs"
        ),
        [],
    )?;
    Ok(changed as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_is_of_one_page() {
        let pages = [0, 1, 999_999, 1_000_000, 1_000_001, 3_500_000, 3_500_002];
        let spans: Vec<i64> = std::iter::zip(pages, pages.into_iter().skip(1))
            .flat_map(|(after, last)| spans_begun(ManifestId(after), ManifestId(last)))
            .collect();
        assert_eq!(spans, [0, 1, 2, 3]);
    }
}
