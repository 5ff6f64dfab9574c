//! Buckets, their policy, their dedup domain and their sums.

use rusqlite::{Connection, Row};
use usp_decide::bucket::{self as decide, DomainOf, UsageChange};
use usp_model::{Bucket, BucketName, BucketPolicy, DomainId, DomainKey, Error, ErrorKind, Timestamp};

use super::ask::{Ask, Column, to_json};
use super::fail::{Outcome, absent, is_taken};
use super::tx::Tx;
use crate::records::BucketRecord;

/// A bucket as other rows point at it.
#[derive(Debug, Clone)]
pub(super) struct BucketRow {
    pub(super) id: i64,
    pub(super) domain: i64,
}

impl BucketRow {
    pub(super) fn domain(&self) -> DomainId {
        DomainId(self.domain)
    }
}

pub(super) fn create(tx: &Tx<'_>, name: &BucketName, policy: BucketPolicy, at: Timestamp) -> Outcome<Bucket> {
    let domain = match decide::domain_of(&policy) {
        DomainOf::Shared(name) => shared_domain(tx, &name)?,
        DomainOf::Own => new_domain(tx, None)?,
    };
    let inserted = tx.run(
        "INSERT INTO buckets (name, domain, policy, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)",
        (name.as_str(), domain, to_json(&policy)?, at.unix_ms()),
    );
    match inserted {
        Ok(_) => {
            let row = tx.last_insert_rowid();
            tx.run("INSERT INTO usage (bucket) VALUES (?1)", [row])?;
            tx.run("INSERT INTO event_buckets (id, name) VALUES (?1, ?2)", (row, name.as_str()))?;
        }
        Err(error) if is_taken(&error) => {
            let taken = Error::new(ErrorKind::Conflict, "create bucket").about(name);
            return Err(taken.because(format!("a bucket named {name} exists already")).into());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Bucket { name: name.clone(), policy, created_at: at, updated_at: at })
}

fn shared_domain(tx: &Tx<'_>, name: &str) -> Outcome<i64> {
    let standing = tx.one("SELECT id FROM domains WHERE name = ?1", [name], |row| Ok(row.get(0)?))?;
    standing.map_or_else(|| new_domain(tx, Some(name)), Ok)
}

fn new_domain(tx: &Tx<'_>, name: Option<&str>) -> Outcome<i64> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key)
        .map_err(|source| Error::new(ErrorKind::Internal, "draw domain key").caused_by(source.to_string()))?;
    tx.run("INSERT INTO domains (name, key) VALUES (?1, ?2)", (name, key))?;
    Ok(tx.last_insert_rowid())
}

const BUCKET: &str = "SELECT b.name, b.policy, b.created_at, b.updated_at, b.domain, d.key, b.id
     FROM buckets b JOIN domains d ON d.id = b.domain";

pub(super) fn record(conn: &Connection, name: &BucketName) -> Outcome<BucketRecord> {
    let found = conn.one(&format!("{BUCKET} WHERE b.name = ?1"), [name.as_str()], |row| {
        let domain_key = DomainKey::from_bytes(row.get(5)?);
        Ok(BucketRecord { bucket: bucket(row)?, domain: DomainId(row.get(4)?), domain_key })
    })?;
    Ok(found.ok_or_else(|| no_bucket(name))?)
}

/// What other rows need of a bucket. Errors: `NotFound`.
pub(super) fn row(conn: &Connection, name: &BucketName) -> Outcome<BucketRow> {
    let found = conn.one("SELECT id, domain FROM buckets WHERE name = ?1", [name.as_str()], |row| {
        Ok(BucketRow { id: row.get(0)?, domain: row.get(1)? })
    })?;
    Ok(found.ok_or_else(|| no_bucket(name))?)
}

/// The bucket of a content whose chunks are named by the key of `domain`. Errors: `NotFound`, `Conflict`.
pub(super) fn row_of_domain(conn: &Connection, name: &BucketName, domain: DomainId) -> Outcome<BucketRow> {
    let found = row(conn, name)?;
    decide::check_domain(name, found.domain(), domain)?;
    Ok(found)
}

/// Plain bytes of the bucket's current versions.
pub(super) fn current_bytes(conn: &Connection, bucket: &BucketRow) -> Outcome<u64> {
    let sql = "SELECT current_bytes FROM usage WHERE bucket = ?1";
    Ok(conn.one(sql, [bucket.id], |row| row.count(0))?.unwrap_or_default())
}

pub(super) fn list(conn: &Connection, visible: Option<&[BucketName]>) -> Outcome<Vec<Bucket>> {
    let Some(names) = visible else {
        return conn.all(&format!("{BUCKET} ORDER BY b.name"), [], bucket);
    };
    let mut names: Vec<&BucketName> = names.iter().collect();
    names.sort();
    names.dedup();
    let mut found = Vec::new();
    for name in names {
        found.extend(conn.one(&format!("{BUCKET} WHERE b.name = ?1"), [name.as_str()], bucket)?);
    }
    Ok(found)
}

pub(super) fn update(tx: &Tx<'_>, name: &BucketName, policy: BucketPolicy, at: Timestamp) -> Outcome<Bucket> {
    let standing = record(tx, name)?.bucket;
    decide::check_update(name, &standing.policy, &policy)?;
    tx.run(
        "UPDATE buckets SET policy = ?2, updated_at = ?3 WHERE name = ?1",
        (name.as_str(), to_json(&policy)?, at.unix_ms()),
    )?;
    Ok(Bucket { policy, updated_at: at, ..standing })
}

pub(super) fn delete(tx: &Tx<'_>, name: &BucketName) -> Outcome<()> {
    let bucket = row(tx, name)?;
    let in_use = tx.one(
        "SELECT EXISTS (SELECT 1 FROM files WHERE bucket = ?1),
             EXISTS (SELECT 1 FROM uploads WHERE bucket = ?1 AND state = 'open')",
        [bucket.id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (has_files, has_open_uploads) = in_use.unwrap_or_default();
    decide::check_deletion(name, has_files, has_open_uploads)?;
    tx.run("DELETE FROM uploads WHERE bucket = ?1", [bucket.id])?;
    tx.run("DELETE FROM buckets WHERE id = ?1", [bucket.id])?;
    tx.run("DELETE FROM domains WHERE id = ?1 AND name IS NULL", [bucket.domain])?;
    Ok(())
}

pub(super) fn change_usage(tx: &Tx<'_>, bucket_row: i64, change: UsageChange) -> Outcome<()> {
    tx.run(
        "UPDATE usage SET file_count = file_count + ?2, version_count = version_count + ?3,
             current_bytes = current_bytes + ?4, logical_bytes = logical_bytes + ?5,
             stored_bytes = stored_bytes + ?6, deduplicated_bytes = deduplicated_bytes + ?7
         WHERE bucket = ?1",
        (
            bucket_row,
            change.file_count,
            change.version_count,
            change.current_bytes,
            change.logical_bytes,
            change.stored_bytes,
            change.deduplicated_bytes,
        ),
    )?;
    Ok(())
}

fn bucket(row: &Row<'_>) -> Outcome<Bucket> {
    Ok(Bucket {
        name: row.text(0)?,
        policy: row.json(1)?,
        created_at: row.time(2)?,
        updated_at: row.time(3)?,
    })
}

fn no_bucket(name: &BucketName) -> Error {
    absent("find bucket", name, "no such bucket")
}
