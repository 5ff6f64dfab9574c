//! Buckets, their policy, their dedup domain and their sums.

use rusqlite::{Connection, Row};
use usp_model::{
    Bucket, BucketName, BucketPolicy, DomainId, DomainKey, Error, ErrorKind, StoredBytes, Timestamp,
};

use super::ask::{Ask, Column, int, to_json};
use super::fail::{Outcome, absent, is_taken};
use super::tx::Tx;
use crate::records::BucketRecord;

/// A bucket as other rows point at it.
#[derive(Debug, Clone)]
pub(super) struct BucketRow {
    pub(super) id: i64,
    pub(super) name: BucketName,
    pub(super) domain: i64,
}

pub(super) fn create(tx: &Tx<'_>, name: &BucketName, policy: BucketPolicy, at: Timestamp) -> Outcome<Bucket> {
    let domain = match &policy.dedup_domain {
        Some(shared) => shared_domain(tx, shared)?,
        None => new_domain(tx, None)?,
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
        Ok(BucketRow { id: row.get(0)?, name: name.clone(), domain: row.get(1)? })
    })?;
    Ok(found.ok_or_else(|| no_bucket(name))?)
}

/// The bucket of a content whose chunks are named by the key of `domain`. Errors: `NotFound`, `Conflict`.
pub(super) fn row_of_domain(conn: &Connection, name: &BucketName, domain: DomainId) -> Outcome<BucketRow> {
    let found = row(conn, name)?;
    if found.domain == domain.0 {
        return Ok(found);
    }
    let other = Error::new(ErrorKind::Conflict, "store content").about(name);
    Err(other.because("the bucket was deleted and made anew while the content arrived; send it again").into())
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
    if standing.policy.dedup_domain != policy.dedup_domain {
        let fixed = Error::new(ErrorKind::Conflict, "update bucket").about(name);
        let reason = "the dedup domain of a bucket is fixed when it is made; make a new bucket instead";
        return Err(fixed.because(reason).into());
    }
    tx.run(
        "UPDATE buckets SET policy = ?2, updated_at = ?3 WHERE name = ?1",
        (name.as_str(), to_json(&policy)?, at.unix_ms()),
    )?;
    Ok(Bucket { policy, updated_at: at, ..standing })
}

pub(super) fn delete(tx: &Tx<'_>, name: &BucketName) -> Outcome<()> {
    let bucket = row(tx, name)?;
    let in_use = tx.one(
        "SELECT EXISTS (SELECT 1 FROM files WHERE bucket = ?1)
             OR EXISTS (SELECT 1 FROM uploads WHERE bucket = ?1 AND state = 'open')",
        [bucket.id],
        |row| Ok(row.get(0)?),
    )?;
    if in_use == Some(true) {
        let busy = Error::new(ErrorKind::Conflict, "delete bucket").about(name);
        return Err(busy.because("files or open uploads are in the bucket; delete them first").into());
    }
    tx.run("DELETE FROM uploads WHERE bucket = ?1", [bucket.id])?;
    tx.run("DELETE FROM buckets WHERE id = ?1", [bucket.id])?;
    tx.run("DELETE FROM domains WHERE id = ?1 AND name IS NULL", [bucket.domain])?;
    Ok(())
}

/// A change of a bucket's sums.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UsageChange {
    pub(super) file_count: i64,
    pub(super) version_count: i64,
    pub(super) current_bytes: i64,
    pub(super) logical_bytes: i64,
    pub(super) stored_bytes: i64,
    pub(super) deduplicated_bytes: i64,
}

impl UsageChange {
    /// One more version, beside the change of what is current.
    pub(super) fn of_version(size_bytes: u64, stored: StoredBytes) -> Self {
        Self {
            version_count: 1,
            logical_bytes: int(size_bytes),
            stored_bytes: int(stored.bytes),
            deduplicated_bytes: int(stored.deduplicated_bytes),
            ..Self::default()
        }
    }

    pub(super) fn apply(self, tx: &Tx<'_>, bucket: i64) -> Outcome<()> {
        tx.run(
            "UPDATE usage SET file_count = file_count + ?2, version_count = version_count + ?3,
                 current_bytes = current_bytes + ?4, logical_bytes = logical_bytes + ?5,
                 stored_bytes = stored_bytes + ?6, deduplicated_bytes = deduplicated_bytes + ?7
             WHERE bucket = ?1",
            (
                bucket,
                self.file_count,
                self.version_count,
                self.current_bytes,
                self.logical_bytes,
                self.stored_bytes,
                self.deduplicated_bytes,
            ),
        )?;
        Ok(())
    }
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
