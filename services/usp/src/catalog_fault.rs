//! Recovery by copy: what a start does after the disk under the catalogue failed.
//!
//! After a fault nobody knows what of the database is on the disk: the kernel may hold pages that it could not write and
//! calls them clean. So the process ends (exit code 74) and leaves a mark, and the next start, before anything else opens the
//! database, writes every row into a new file and goes on with that one (what a crash behind each step leaves in brackets):
//!
//! 1. The catalogue is copied whole into a new file, checked and synced. [the copy begins anew]
//! 2. The copy takes the name `catalog.db.copied`. From now on it is the catalogue. [step 3]
//! 3. The old database and its log go to lost+found. [the rest of them goes]
//! 4. The copy takes the name of the catalogue. [the copy begins anew, from the copy]
//! 5. The mark goes. [as 4]
//!
//! A database that cannot be copied whole is left as it is, with its mark, and the start is refused.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use usp_catalog::copy_catalog;
use usp_model::{Error, ErrorKind};

use crate::paths;

/// Says why the catalogue is not to be trusted.
fn mark_path(dir: &Path) -> PathBuf {
    dir.join("catalog.fault")
}

/// Leaves the mark. The disk may refuse it: then the next start finds out by itself, or not at all.
pub(crate) fn mark(dir: &Path, fault: &Error) {
    const OWNER_ONLY: u32 = 0o600;
    let options = OpenOptions::new().create(true).truncate(true).write(true).mode(OWNER_ONLY).to_owned();
    let marked = options.open(mark_path(dir)).and_then(|mut file| {
        writeln!(file, "{}", fault.chain())?;
        file.sync_all()?;
        File::open(dir)?.sync_all()
    });
    if let Err(error) = marked {
        tracing::error!(%error, "the mark of the fault could not be written");
    }
}

/// Copies the catalogue if it has the mark. Blocks on the disk. `true`: it did.
///
/// Errors: `Corrupt` when it cannot be copied whole; nothing was changed then.
pub(crate) fn recover(dir: &Path) -> Result<bool> {
    let copied = copied_path(dir);
    if !mark_path(dir).exists() && !copied.exists() {
        return Ok(false);
    }
    if !copied.exists() {
        let copying = fresh(dir, "catalog.db.copying")?;
        tracing::warn!("the catalogue failed before: it is copied into a new file");
        copy_catalog(&paths::catalog(dir), &copying).map_err(|error| refused(error, &copying))?;
        rename(&copying, &copied)?;
        sync_dir(dir)?;
    }
    put_in_place(dir)?;
    tracing::warn!("the catalogue was copied whole; the old file is in lost+found");
    Ok(true)
}

/// Where a catalogue may be built that is to replace the one that is there.
pub(crate) fn rebuilding(dir: &Path) -> Result<PathBuf> {
    fresh(dir, "catalog.db.rebuilding")
}

/// Puts a new catalogue, whole and closed, in the place of the one that is there, by steps 2 to 5.
pub(crate) fn replace(dir: &Path, new: &Path) -> Result<()> {
    File::open(new)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("failed to sync {}", new.display()))?;
    mark(dir, &Error::new(ErrorKind::Corrupt, "use the old catalogue").because("it was rebuilt"));
    rename(new, &copied_path(dir))?;
    sync_dir(dir)?;
    put_in_place(dir)
}

/// Steps 3 to 5. Done again after a crash it goes on.
fn put_in_place(dir: &Path) -> Result<()> {
    let aside = dir.join("lost+found");
    fs::create_dir_all(&aside).with_context(|| format!("failed to create {}", aside.display()))?;
    for name in ["catalog.db-wal", "catalog.db-shm", "catalog.db"] {
        let old = dir.join(name);
        if old.exists() {
            rename(&old, &unused(&aside, name))?;
        }
    }
    sync_dir(&aside)?;
    sync_dir(dir)?;
    rename(&copied_path(dir), &paths::catalog(dir))?;
    sync_dir(dir)?;
    let mark = mark_path(dir);
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to remove {}", mark.display()));
        }
        Ok(()) | Err(_) => {}
    }
    sync_dir(dir)
}

fn copied_path(dir: &Path) -> PathBuf {
    dir.join("catalog.db.copied")
}

/// A name that nothing has: what a try before left there goes.
fn fresh(dir: &Path, name: &str) -> Result<PathBuf> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let path = dir.join(format!("{name}{ending}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("failed to remove {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(dir.join(name))
}

fn refused(error: Error, copying: &Path) -> Error {
    let _begun = fs::remove_file(copying);
    let kind = error.kind();
    let reason = match kind {
        ErrorKind::StorageFull => {
            "the catalogue failed before and is copied into a new file, for which there is no space: \
             free as much as catalog.db takes, and start again"
                .to_owned()
        }
        ErrorKind::Corrupt => format!(
            "the catalogue failed before and is damaged: {}. Nothing was changed. Look at the disk; then restore the last \
             backup (`usp admin restore`), or try `usp admin rebuild-index`",
            error.detail()
        ),
        _ => format!("the catalogue failed before and could not be copied: {}", error.detail()),
    };
    Error::new(kind, "recover the catalogue").because(reason).caused_by(error)
}

fn unused(dir: &Path, name: &str) -> PathBuf {
    let plain = dir.join(name);
    let numbered = (1_u32..).map(|copy| dir.join(format!("{name}.{copy}")));
    std::iter::once(plain.clone()).chain(numbered).find(|path| !path.exists()).unwrap_or(plain)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("failed to rename {} to {}", from.display(), to.display()))
}

fn sync_dir(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("failed to sync {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use usp_catalog::{BucketFacts, SqliteCatalog, SqliteConfig};
    use usp_model::{Act, BucketName, BucketPolicy, Timestamp};

    use super::*;

    async fn store() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(SqliteConfig::new(paths::catalog(dir.path()))).unwrap();
        for n in 0..50 {
            let name = BucketName::parse(&format!("bucket-{n}")).unwrap();
            let act = Act::duty("test", Timestamp::from_unix_ms(1));
            catalog.create_bucket(act, name, BucketPolicy::default()).await.unwrap();
        }
        dir
    }

    async fn bucket_count(dir: &Path) -> usize {
        let catalog = SqliteCatalog::open(SqliteConfig::new(paths::catalog(dir))).unwrap();
        catalog.list_buckets(None).await.unwrap().len()
    }

    fn fault() -> Error {
        Error::new(ErrorKind::Unavailable, "commit catalogue changes").because("disk I/O error")
    }

    #[tokio::test]
    async fn a_marked_catalogue_is_copied_and_the_old_one_kept() {
        let dir = store().await;
        assert!(!recover(dir.path()).unwrap(), "without a mark nothing happens");
        mark(dir.path(), &fault());
        assert!(recover(dir.path()).unwrap());
        assert!(!mark_path(dir.path()).exists() && dir.path().join("lost+found/catalog.db").exists());
        assert_eq!(bucket_count(dir.path()).await, 50);
        mark(dir.path(), &fault());
        assert!(recover(dir.path()).unwrap());
        assert!(dir.path().join("lost+found/catalog.db.1").exists());
        assert_eq!(bucket_count(dir.path()).await, 50);
    }

    #[tokio::test]
    async fn a_crash_behind_each_step_loses_nothing() {
        let states: [&dyn Fn(&Path); 4] = [
            // Half a copy.
            &|dir| fs::write(dir.join("catalog.db.copying"), "half").unwrap(),
            // A whole copy, and the log of the old database beside it.
            &|dir| {
                copy_catalog(&paths::catalog(dir), &dir.join("catalog.db.copied")).unwrap();
                fs::write(dir.join("catalog.db-wal"), "of the old one").unwrap();
            },
            // The old one is gone already.
            &|dir| {
                copy_catalog(&paths::catalog(dir), &dir.join("catalog.db.copied")).unwrap();
                fs::remove_file(paths::catalog(dir)).unwrap();
            },
            // Only the mark is left.
            &|dir| {
                let copied = dir.join("catalog.db.copied");
                copy_catalog(&paths::catalog(dir), &copied).unwrap();
                fs::rename(&copied, paths::catalog(dir)).unwrap();
            },
        ];
        for (step, crash) in states.iter().enumerate() {
            let dir = store().await;
            mark(dir.path(), &fault());
            crash(dir.path());
            assert!(recover(dir.path()).unwrap(), "step {step}");
            assert_eq!(bucket_count(dir.path()).await, 50, "step {step}");
        }
    }

    #[tokio::test]
    async fn a_damaged_catalogue_is_refused_and_left_alone() {
        let dir = store().await;
        let path = paths::catalog(dir.path());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0x5a; 4096], 8192).unwrap();
        let before = fs::read(&path).unwrap();
        mark(dir.path(), &fault());
        let refused = recover(dir.path()).unwrap_err();
        let error: &Error = refused.downcast_ref().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{refused:#}");
        assert!(error.detail().contains("usp admin restore"), "{}", error.detail());
        assert!(fs::read(&path).unwrap() == before && mark_path(dir.path()).exists());
        assert!(!dir.path().join("catalog.db.copying").exists());
    }
}
