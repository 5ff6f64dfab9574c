//! Backups of a data directory, made while a server works in it, and put back.
//!
//! A backup (what a crash behind each step leaves in brackets: the backup before stays whole until step 6):
//!
//! 1. The directory of the backup is locked, and packs are kept from being erased. [both locks end with the process]
//! 2. The catalogue is copied in one snapshot under a new name. [a file that the next backup removes]
//! 3. Every pack that the snapshot speaks of is copied: sealed ones once and for ever, of others the bytes that commits rely
//!    on. What a commit adds meanwhile lies behind them. [files that the next backup uses or removes]
//! 4. Keys, rules and settings are copied. [as 3]
//! 5. All of it is synced.
//! 6. `backup.json` takes its name: it lists every file with its length and digest, and from now on it is the backup.
//! 7. What only the backup before needed goes. [the next backup removes it]
//!
//! The snapshot is older than the packs, so every frame that it speaks of is in them; and a pack is only erased two
//! collections after its last row went, never while step 1 holds.

mod digest;
mod listing;
mod restore;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use usp_catalog::{CatalogCopy, copy_catalog};
use usp_content::DeleteLock;
use usp_content::pack::{PACK_HEADER_BYTES, TRAILER_BYTES, Trailer};
use usp_model::{Error, ErrorKind, PackId, PackRecord, PackState, Timestamp};

use crate::paths;
use digest::{Rate, copy, digest_of};
use listing::{FORMAT, Listed, Listing, PackCopy};
pub(crate) use restore::restore;

/// What a backup is to hold and how fast it may read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackupOptions {
    /// Bytes per second; 0: as fast as the disk.
    pub(crate) pace_bytes_per_s: u64,
    /// Without it sessions and node credentials end with a restore.
    pub(crate) with_keys: bool,
    /// Reads again what an earlier backup copied, and copies anew what is damaged.
    pub(crate) verify: bool,
}

/// What a backup did.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BackupReport {
    pub(crate) number: u64,
    pub(crate) packs: u64,
    /// Of all files of the backup.
    pub(crate) bytes: u64,
    pub(crate) copied_packs: u64,
    pub(crate) copied_bytes: u64,
    /// Packs that are absent or shorter than commits rely on: the store is damaged, and so is this copy of it, but for
    /// those of `kept`.
    pub(crate) incomplete: Vec<i64>,
    /// Packs that the store has lost and an earlier backup has not.
    pub(crate) kept: Vec<i64>,
}

/// Makes a backup of `data_dir`, with the rules of `rules_dir`, in `target`, which may hold an earlier one. Blocks on the disk.
pub(crate) fn make(
    data_dir: &Path,
    rules_dir: &Path,
    target: &Path,
    options: BackupOptions,
) -> Result<BackupReport> {
    refuse_inside(data_dir, target)?;
    make_private_dir(target)?;
    let _only_one = lock(target)?;
    let before = Listing::read(target)?;
    let packs_stay = DeleteLock::share(data_dir)?;
    let number = before.as_ref().map_or(1, |before| before.number.saturating_add(1));
    let mut backup = Backup {
        data_dir,
        target,
        options,
        rate: Rate::of(options.pace_bytes_per_s),
        number,
        known: before.iter().flat_map(|before| &before.packs).map(|pack| (pack.pack, pack.clone())).collect(),
        report: BackupReport { number, ..BackupReport::default() },
    };
    let (catalog, copied) = backup.catalog()?;
    if let Err(refused) = backup.check(&copied, before.as_ref()) {
        let _next_time = fs::remove_file(target.join(&catalog.file));
        return Err(refused);
    }
    let packs = backup.packs(&copied.packs)?;
    drop(packs_stay);
    let files = backup.small_files(rules_dir)?;
    let listing = Listing {
        format: FORMAT,
        usp_version: env!("CARGO_PKG_VERSION").to_owned(),
        number,
        made_at: now(),
        store_id: copied.store_id,
        catalog,
        packs,
        files,
    };
    backup.report.bytes = listing.all().map(|listed| listed.bytes).sum();
    backup.report.packs = listing.packs.len() as u64;
    for dir in listing.directories(target) {
        sync_dir(&dir)?;
    }
    listing.write(target)?;
    listing.remove_others(target, before.as_ref())?;
    Ok(backup.report)
}

struct Backup<'a> {
    data_dir: &'a Path,
    target: &'a Path,
    options: BackupOptions,
    rate: Rate,
    number: u64,
    known: BTreeMap<i64, PackCopy>,
    report: BackupReport,
}

impl Backup<'_> {
    fn catalog(&mut self) -> Result<(Listed, CatalogCopy)> {
        let file = format!("catalog-{}.db", self.number);
        let path = self.target.join(&file);
        if path.exists() {
            // Of a backup that did not come to its end.
            fs::remove_file(&path).with_context(|| format!("failed to remove {}", path.display()))?;
        }
        let copied = copy_catalog(&paths::catalog(self.data_dir), &path)?;
        let (bytes, blake3) = digest_of(&path, &mut self.rate)?;
        self.report.copied_bytes += bytes;
        Ok((Listed { file, bytes, blake3 }, copied))
    }

    /// What is there is only replaced by a later state of the same store. Errors: `Conflict` for a backup of another one,
    /// `Corrupt` for a store that has lost its catalogue.
    fn check(&self, copied: &CatalogCopy, before: Option<&Listing>) -> Result<()> {
        let refused = |kind, reason: String| Err(Error::new(kind, "make a backup").because(reason).into());
        if copied.packs.is_empty() && paths::has_packs(self.data_dir)? {
            return refused(
                ErrorKind::Corrupt,
                "the catalogue knows no pack and packs are there: it was lost, and the backup before is the better one"
                    .to_owned(),
            );
        }
        let other = |before: &&Listing| before.store_id.is_some() && before.store_id != copied.store_id;
        if let Some(before) = before.filter(other) {
            return refused(
                ErrorKind::Conflict,
                format!(
                    "{} holds backup {} of another store; name another directory",
                    self.target.display(),
                    before.number
                ),
            );
        }
        Ok(())
    }

    fn packs(&mut self, rows: &[PackRecord]) -> Result<Vec<PackCopy>> {
        let mut copies = Vec::with_capacity(rows.len());
        for row in rows.iter().filter(|row| row.state != PackState::Doomed) {
            let from = pack_path(self.data_dir, row.pack);
            let size_bytes = size_of(&from)?;
            let bytes = row.committed_bytes.min(size_bytes.unwrap_or(0));
            if bytes < row.committed_bytes
                && (size_bytes.is_some() || row.committed_bytes > PACK_HEADER_BYTES)
            {
                self.report.incomplete.push(row.pack.0);
                if let Some(known) = self.whole_copy(row)? {
                    self.report.kept.push(row.pack.0);
                    copies.push(known);
                    continue;
                }
            }
            if bytes > 0 {
                copies.push(self.pack(row, &from, bytes)?);
            }
        }
        Ok(copies)
    }

    /// The copy of a pack that an earlier backup made of all that commits rely on.
    fn whole_copy(&self, row: &PackRecord) -> Result<Option<PackCopy>> {
        let Some(known) = self.known.get(&row.pack.0) else { return Ok(None) };
        let is_whole = known.listed.bytes >= row.committed_bytes
            && size_of(&self.target.join(&known.listed.file))? == Some(known.listed.bytes);
        Ok(is_whole.then(|| known.clone()))
    }

    fn pack(&mut self, row: &PackRecord, from: &Path, bytes: u64) -> Result<PackCopy> {
        let sealed = row.state == PackState::Sealed;
        if let Some(known) = self.known.get(&row.pack.0).cloned()
            && sealed
            && known.sealed
            && known.listed.bytes == bytes
            && self.is_same(from, &known, bytes)?
        {
            return Ok(known);
        }
        let plain = pack_name(row.pack);
        // A sealed pack never changes, so its copy has the name for ever. Others are of this backup only.
        let is_taken = self.target.join(&plain).exists() && self.known.contains_key(&row.pack.0);
        let file = if sealed && !is_taken { plain } else { format!("{plain}.{}", self.number) };
        let to = self.target.join(&file);
        if let Some(dir) = to.parent() {
            make_private_dir(dir)?;
        }
        let blake3 = copy(from, &to, Some(bytes), &mut self.rate)?.1;
        self.report.copied_packs += 1;
        self.report.copied_bytes += bytes;
        Ok(PackCopy { pack: row.pack.0, sealed, listed: Listed { file, bytes, blake3 } })
    }

    /// Whether the copy that is there is of this very pack. The footer lists the digest of every chunk, so packs with equal
    /// footers hold the same; after a restore a pack of the same number may be another one.
    fn is_same(&mut self, from: &Path, known: &PackCopy, bytes: u64) -> Result<bool> {
        let path = self.target.join(&known.listed.file);
        if size_of(&path)? != Some(bytes) {
            return Ok(false);
        }
        let (own, theirs) = (footer(from, bytes)?, footer(&path, bytes)?);
        if own.is_none() || own != theirs {
            return Ok(false);
        }
        Ok(!self.options.verify || digest_of(&path, &mut self.rate)?.1 == known.listed.blake3)
    }

    /// Keys, rules and settings. Rules stand below `rules/`, wherever the server reads them.
    fn small_files(&mut self, rules_dir: &Path) -> Result<Vec<Listed>> {
        let mut files = Vec::new();
        if self.options.with_keys {
            files.extend(files_of("keys", &self.data_dir.join("keys"))?);
        }
        files.extend(files_of("rules", rules_dir)?);
        let settings = self.data_dir.join("usp.toml");
        if settings.is_file() {
            files.push(("usp.toml".to_owned(), settings));
        }
        let mut listed = Vec::with_capacity(files.len());
        for (name, from) in files {
            let file = format!("files-{}/{name}", self.number);
            let to = self.target.join(&file);
            if let Some(dir) = to.parent() {
                make_private_dir(dir)?;
            }
            let (bytes, blake3) = copy(&from, &to, None, &mut self.rate)?;
            listed.push(Listed { file, bytes, blake3 });
        }
        Ok(listed)
    }
}

/// The footer of a sealed pack; `None` when there is none that can be read.
fn footer(path: &Path, bytes: u64) -> Result<Option<Vec<u8>>> {
    let failed = || format!("failed to read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    let mut end = [0; TRAILER_BYTES];
    let Some(start) = bytes.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    file.read_exact_at(&mut end, start).with_context(failed)?;
    let Some(trailer) = Trailer::decode(&end, bytes) else { return Ok(None) };
    let mut whole = vec![0; usize::try_from(bytes - trailer.offset)?];
    file.read_exact_at(&mut whole, trailer.offset).with_context(failed)?;
    Ok(Some(whole))
}

/// Where a pack stands in a data directory, and in a backup.
fn pack_name(pack: PackId) -> String {
    format!("packs/{:02x}/{:016x}.pack", pack.0 & 0xff, pack.0)
}

fn pack_path(dir: &Path, pack: PackId) -> PathBuf {
    dir.join(pack_name(pack))
}

fn size_of(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to look at {}", path.display())),
    }
}

/// The files of a directory, each with its name below `folder` of a data directory; none when it is absent.
fn files_of(folder: &str, dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let failed = || format!("failed to list {}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        if entry.path().is_file()
            && let Some(name) = entry.file_name().to_str()
        {
            names.push((format!("{folder}/{name}"), entry.path()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn make_private_dir(dir: &Path) -> Result<()> {
    const OWNER_ONLY: u32 = 0o700;
    let made = DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(dir);
    made.with_context(|| format!("failed to create {}", dir.display()))
}

fn sync_dir(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("failed to sync {}", dir.display()))
}

/// Errors: `InvalidInput` when the target is the data directory or lies in it, where it would be taken for a part of the store.
fn refuse_inside(data_dir: &Path, target: &Path) -> Result<()> {
    let real =
        |path: &Path| path.canonicalize().with_context(|| format!("failed to find {}", path.display()));
    let data_dir = real(data_dir)?;
    let target = std::path::absolute(target).context("failed to find the working directory")?;
    // What is not there yet lies where the part of it lies that is.
    let standing = target.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"));
    if !real(standing)?.starts_with(&data_dir) {
        return Ok(());
    }
    let reason = format!("{} lies in the data directory; name a place on another disk", target.display());
    Err(Error::new(ErrorKind::InvalidInput, "make a backup").because(reason).into())
}

/// One backup at a time works in a directory.
fn lock(dir: &Path) -> Result<File> {
    let file = File::open(dir).with_context(|| format!("failed to open {}", dir.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let reason = format!("another backup or restore works in {}; wait for its end", dir.display());
        return Err(Error::new(ErrorKind::Locked, "lock the backup").because(reason).into());
    }
    Ok(file)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
