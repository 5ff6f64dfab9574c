//! From paths to files and the keys under which they are stored.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use usp_model::{BucketName, Error, ErrorKind, FileKey};
use walkdir::{DirEntry, WalkDir};

use crate::place::Place;

/// Files found but not yet taken up by an upload.
const WAITING_COUNT_MAX: usize = 64;

/// One content and where it goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) source: Source,
    pub(super) bucket: BucketName,
    pub(super) key: FileKey,
    /// For messages.
    pub(super) name: String,
    /// As it was when it was found.
    pub(super) size_bytes: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    /// A pipe or a device: it can be read once, and nobody knows how long it is.
    Stream(PathBuf),
    Stdin,
}

/// What was named on the command line.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    paths: Vec<PathBuf>,
    place: Place,
}

impl Sources {
    /// Errors: `NotFound` for a path that is not there; `InvalidInput` for standard input without a key.
    pub(super) fn new(paths: &[PathBuf], place: Place) -> Result<Self> {
        for path in paths {
            if is_stdin(path) {
                if paths.len() > 1 || place.is_folder() {
                    return Err(Error::new(ErrorKind::InvalidInput, "read standard input")
                        .because("standard input has no name: store it alone, under usp://BUCKET/KEY")
                        .into());
                }
                continue;
            }
            if let Err(source) = fs::metadata(path) {
                let kind = match source.kind() {
                    std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                    _ => ErrorKind::InvalidInput,
                };
                let reason = format!("{}: {source}", path.display());
                return Err(Error::new(kind, "find file").because(reason).into());
            }
        }
        Ok(Self { paths: paths.to_vec(), place })
    }

    /// Whether there is one content, whose failure is the command's.
    pub(super) fn is_single(&self) -> bool {
        matches!(self.paths.as_slice(), [path] if !path.is_dir())
    }

    /// Files and bytes of all sources. Reads every directory once.
    pub(super) fn measure(&self) -> (u64, u64) {
        let sizes = self.walk().filter_map(|job| Some(job.ok()?.size_bytes.unwrap_or_default()));
        sizes.fold((0, 0), |(count, bytes), size_bytes| (count + 1, bytes + size_bytes))
    }

    /// The files as they are found, on a thread of its own.
    pub(super) fn jobs(&self) -> impl Stream<Item = Result<Job>> + use<> {
        let (found, waiting) = mpsc::channel(WAITING_COUNT_MAX);
        let sources = self.clone();
        tokio::task::spawn_blocking(move || {
            for job in sources.walk() {
                // Nobody waits for more.
                if found.blocking_send(job).is_err() {
                    break;
                }
            }
        });
        ReceiverStream::new(waiting).boxed()
    }

    fn walk(&self) -> impl Iterator<Item = Result<Job>> {
        self.paths.iter().flat_map(|path| self.walk_path(path))
    }

    fn walk_path(&self, path: &Path) -> Box<dyn Iterator<Item = Result<Job>> + '_> {
        if is_stdin(path) {
            let job = self.place.key().map(|key| self.job(Source::Stdin, key, "standard input", None));
            return Box::new(std::iter::once(job.map_err(anyhow::Error::from)));
        }
        if !path.is_dir() {
            return Box::new(std::iter::once(self.file_job(path)));
        }
        let root = match folder_name(path) {
            Ok(root) => root,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let path = path.to_owned();
        let entries = WalkDir::new(&path).sort_by_file_name().into_iter();
        Box::new(entries.filter_map(move |entry| self.entry_job(&path, &root, entry).transpose()))
    }

    fn file_job(&self, path: &Path) -> Result<Job> {
        let name = path.file_name().context("the path names no file").and_then(|name| utf8(name, path))?;
        let key = match self.paths.len() == 1 && !self.place.is_folder() {
            true => self.place.key()?,
            false => self.place.below(name)?,
        };
        let found = fs::metadata(path).with_context(|| path.display().to_string())?;
        let (source, size_bytes) = match found.is_file() {
            true => (Source::File(path.to_owned()), Some(found.len())),
            false => (Source::Stream(path.to_owned()), None),
        };
        Ok(self.job(source, key, &path.to_string_lossy(), size_bytes))
    }

    /// `None` for directories, symbolic links and devices.
    fn entry_job(&self, top: &Path, root: &str, entry: walkdir::Result<DirEntry>) -> Result<Option<Job>> {
        let entry = entry?;
        if !entry.file_type().is_file() {
            return Ok(None);
        }
        let path = entry.path();
        let mut key = root.to_owned();
        for part in path.strip_prefix(top).unwrap_or(path).components() {
            if !key.is_empty() {
                key.push('/');
            }
            key.push_str(utf8(part.as_os_str(), path)?);
        }
        let key = self.place.below(&key).with_context(|| path.display().to_string())?;
        let size_bytes = entry.metadata().ok().map(|found| found.len());
        Ok(Some(self.job(Source::File(path.to_owned()), key, &path.to_string_lossy(), size_bytes)))
    }

    fn job(&self, source: Source, key: FileKey, name: &str, size_bytes: Option<u64>) -> Job {
        Job { source, bucket: self.place.bucket.clone(), key, name: name.to_owned(), size_bytes }
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// What keys below a directory begin with: its name, or nothing for `DIR/.`.
fn folder_name(path: &Path) -> Result<String> {
    // `Path` drops a '.' at the end, and that is just what tells `dir/.` from `dir`.
    let text = path.as_os_str().as_encoded_bytes();
    if text == b"." || text.ends_with(b"/.") || text.ends_with(b"/./") {
        return Ok(String::new());
    }
    match path.components().next_back() {
        Some(Component::Normal(name)) => utf8(name, path).map(str::to_owned),
        _ => bail!("{} has no name of its own; write it as {}/.", path.display(), path.display()),
    }
}

fn utf8<'a>(name: &'a OsStr, path: &Path) -> Result<&'a str> {
    name.to_str().ok_or_else(|| anyhow!("{}: the name is not UTF-8 and cannot be a key", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/sub")).unwrap();
        for (name, text) in [("one.csv", "1"), ("d/a.csv", "22"), ("d/sub/b c.csv", "333")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("d/link")).unwrap();
        dir
    }

    fn keys(dir: &Path, names: &[&str], place: &str) -> Vec<String> {
        let paths: Vec<PathBuf> =
            names.iter().map(|name| PathBuf::from(format!("{}/{name}", dir.display()))).collect();
        let sources = Sources::new(&paths, place.parse().unwrap()).unwrap();
        sources.walk().map(|job| job.unwrap().key.to_string()).collect()
    }

    #[test]
    fn one_file_goes_exactly_there_or_below_a_slash() {
        let dir = tree();
        assert_eq!(keys(dir.path(), &["one.csv"], "usp://abc/x.csv"), ["x.csv"]);
        assert_eq!(keys(dir.path(), &["one.csv"], "usp://abc/x/"), ["x/one.csv"]);
        assert_eq!(keys(dir.path(), &["one.csv"], "usp://abc"), ["one.csv"]);
        assert_eq!(keys(dir.path(), &["one.csv", "d/a.csv"], "usp://abc/x"), ["x/one.csv", "x/a.csv"]);
    }

    #[test]
    fn directories_keep_their_name_unless_it_is_left_out() {
        let dir = tree();
        assert_eq!(keys(dir.path(), &["d"], "usp://abc/x"), ["x/d/a.csv", "x/d/sub/b c.csv"]);
        assert_eq!(keys(dir.path(), &["d/"], "usp://abc"), ["d/a.csv", "d/sub/b c.csv"]);
        assert_eq!(keys(dir.path(), &["d/."], "usp://abc/x/"), ["x/a.csv", "x/sub/b c.csv"]);
    }

    #[test]
    fn all_sources_are_measured_without_links() {
        let dir = tree();
        let sources = Sources::new(&[dir.path().to_owned()], Place::default_bucket().unwrap()).unwrap();
        assert_eq!(sources.measure(), (3, 6));
        assert!(!sources.is_single());
    }

    #[test]
    fn what_is_not_there_or_has_no_name_is_refused_before_anything_is_sent() {
        let place = || "usp://abc".parse::<Place>().unwrap();
        let error = Sources::new(&[PathBuf::from("/nonexistent")], place()).unwrap_err();
        assert_eq!(error.downcast_ref::<Error>().map(Error::kind), Some(ErrorKind::NotFound));
        assert!(Sources::new(&[PathBuf::from("-")], place()).is_err());
        assert!(Sources::new(&[PathBuf::from("-")], "usp://abc/k".parse().unwrap()).is_ok());
    }
}
