//! Where fetched content goes: standard output, or a file that appears whole or not at all.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use usp_model::FileId;

use crate::output::write_bytes;

/// Whether the path says only where, so that the content's own name is needed.
pub(super) fn needs_name(output: Option<&Path>) -> bool {
    match output {
        None => true,
        Some(path) => path != Path::new("-") && path.is_dir(),
    }
}

pub(super) enum Target {
    Stdout,
    File {
        file: File,
        temp: TempPath,
        path: PathBuf,
    },
    /// A pipe or a device: nothing to rename onto.
    Direct {
        file: File,
        path: PathBuf,
    },
}

impl Target {
    pub(super) async fn open(output: Option<&Path>, name: &str) -> Result<Self> {
        let path = match output {
            Some(path) if path == Path::new("-") => return Ok(Self::Stdout),
            Some(path) if path.is_dir() => path.join(name),
            Some(path) => path.to_owned(),
            None => PathBuf::from(name),
        };
        let open_failed = || format!("failed to write {}", path.display());
        let standing = tokio::fs::metadata(&path).await.ok();
        if standing.as_ref().is_some_and(|found| !found.is_file()) {
            let file = OpenOptions::new().write(true).open(&path).await.with_context(open_failed)?;
            return Ok(Self::Direct { file, path });
        }
        // What a link leads to is replaced, not the link.
        let path =
            if standing.is_some() { tokio::fs::canonicalize(&path).await.unwrap_or(path) } else { path };
        // A name of its own: with that of the file in it, it might be longer than names may be.
        let temp = path.with_file_name(format!(".usp-{}.part", FileId::random()?));
        let mut options = OpenOptions::new();
        if let Some(standing) = &standing {
            options.mode(standing.permissions().mode() & 0o777);
        }
        let open_failed = || format!("failed to write {}", path.display());
        let file = options.write(true).create_new(true).open(&temp).await.with_context(open_failed)?;
        Ok(Self::File { file, temp: TempPath(Some(temp)), path })
    }

    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    pub(super) async fn write(&mut self, piece: Bytes) -> Result<()> {
        match self {
            // A pipe that is full blocks: that must not be a thread of the runtime.
            Self::Stdout => tokio::task::spawn_blocking(move || write_bytes(&piece)).await?,
            Self::File { file, path, .. } | Self::Direct { file, path } => {
                file.write_all(&piece).await.with_context(|| format!("failed to write {}", path.display()))
            }
        }
    }

    /// Gives the file its name. `None`: it went to standard output.
    pub(super) async fn finish(self) -> Result<Option<PathBuf>> {
        match self {
            Self::Stdout => {
                io::Write::flush(&mut io::stdout().lock()).context("failed to write to standard output")?;
                Ok(None)
            }
            Self::Direct { mut file, path } => {
                file.flush().await.with_context(|| format!("failed to write {}", path.display()))?;
                Ok(Some(path))
            }
            Self::File { mut file, temp, path } => {
                let written = async {
                    file.flush().await?;
                    file.sync_all().await?;
                    temp.rename_to(&path).await
                };
                written.await.with_context(|| format!("failed to write {}", path.display()))?;
                Ok(Some(path))
            }
        }
    }
}

/// Removed unless it was renamed, also when the command is interrupted.
pub(super) struct TempPath(Option<PathBuf>);

impl TempPath {
    async fn rename_to(mut self, path: &Path) -> io::Result<()> {
        match self.0.take() {
            Some(temp) => {
                let renamed = tokio::fs::rename(&temp, path).await;
                if renamed.is_err() {
                    self.0 = Some(temp);
                }
                renamed
            }
            None => Ok(()),
        }
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        if let Some(temp) = &self.0 {
            let _gone = std::fs::remove_file(temp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_appears_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut target = Target::open(Some(dir.path()), "a.csv").await.unwrap();
        target.write(Bytes::from_static(b"hello")).await.unwrap();
        assert!(!dir.path().join("a.csv").exists());
        assert_eq!(target.finish().await.unwrap(), Some(dir.path().join("a.csv")));
        assert_eq!(std::fs::read(dir.path().join("a.csv")).unwrap(), b"hello");
        assert_eq!(names(dir.path()), ["a.csv"]);
    }

    #[tokio::test]
    async fn what_breaks_off_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "old").unwrap();
        let mut target = Target::open(Some(&path), "ignored").await.unwrap();
        target.write(Bytes::from_static(b"hel")).await.unwrap();
        drop(target);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.csv"]);
    }

    #[tokio::test]
    async fn what_is_replaced_keeps_its_rights_and_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("n".repeat(255)), dir.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut target = Target::open(Some(&link), "ignored").await.unwrap();
        target.write(Bytes::from_static(b"new")).await.unwrap();
        target.finish().await.unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_name_is_needed_where_none_was_given() {
        assert!(needs_name(None) && needs_name(Some(Path::new("/"))));
        assert!(!needs_name(Some(Path::new("-"))) && !needs_name(Some(Path::new("x.csv"))));
    }
}
