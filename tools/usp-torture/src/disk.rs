//! A disk that loses what was not synced.
//!
//! It plays a [`Trace`](crate::trace::Trace) event by event and knows at every moment what a power cut may leave:
//!
//! - Bytes of a file are safe once a sync of it, begun after they were written, has ended. Until then each write may be
//!   there whole, in part, as zeros or not at all, whatever became of the writes before and after it.
//! - A name is safe once its directory was synced, no matter whether the file was. A rename is one step.
//! - After a sync that failed, the bytes it was to save are gone, and no later sync brings them back: the kernel forgets
//!   that they were dirty.
//!
//! This is weaker than any file system in use. Memory maps are not seen, and nothing under test writes through one but the
//! shared index of SQLite's log, which no recovery reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use usp_testkit::generate::Numbers;

use crate::trace::{Change, Moment};

/// What becomes of everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Nothing,
    Everything,
    /// Each change by itself.
    Some,
    /// Later changes without earlier ones.
    Reordered,
    /// Each piece of this size by itself.
    Torn(u64),
    /// New lengths, with zeros where the bytes should be.
    ZeroTail,
    /// New lengths, with what lay on the disk before.
    GarbageTail,
}

impl Fate {
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Everything,
        Self::Some,
        Self::Reordered,
        Self::Torn(512),
        Self::Torn(4096),
        Self::ZeroTail,
        Self::GarbageTail,
    ];
}

#[derive(Debug, Clone)]
enum Edit {
    Write(u64, Vec<u8>),
    Truncate(u64),
    Extend(u64),
}

#[derive(Debug, Clone)]
struct Unsynced {
    change: usize,
    edit: Edit,
    /// The event with which it ended.
    ended: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Debug, Clone)]
enum Naming {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

impl Naming {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> &Path {
        let (Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path, _)) = self;
        path.parent().unwrap_or(Path::new(""))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Link(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename(from, to, node) => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    files: Vec<Contents>,
    /// As the running process sees it.
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    unsynced_names: Vec<(Naming, usize)>,
    ledger: Vec<u8>,
    event: usize,
    /// The event with which each sync that runs began.
    syncs: BTreeMap<usize, usize>,
}

impl SimDisk {
    /// Everything below `dir`, as durable.
    pub fn of(dir: &Path, ledger: Vec<u8>) -> Result<Self> {
        let mut disk = Self { ledger, ..Self::default() };
        disk.load(dir, Path::new(""))?;
        disk.durable_names = disk.names.clone();
        Ok(disk)
    }

    fn load(&mut self, root: &Path, below: &Path) -> Result<()> {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.names.insert(path.clone(), Node::Dir);
                self.load(root, &path)?;
            } else {
                self.names.insert(path.clone(), Node::File(self.files.len()));
                self.files.push(Contents { durable: fs::read(entry.path())?, unsynced: Vec::new() });
            }
        }
        Ok(())
    }

    /// What had been written to the ledger by now.
    pub fn ledger(&self) -> &[u8] {
        &self.ledger
    }

    /// Whether a power cut now could leave anything but one state.
    pub fn is_settled(&self) -> bool {
        self.unsynced_names.is_empty() && self.files.iter().all(|file| file.unsynced.is_empty())
    }

    /// Plays the next event of a trace. `change` is the number of the change in it.
    pub fn play(&mut self, change: usize, what: &Change, moment: Moment) -> Result<()> {
        self.event += 1;
        match (what, moment) {
            (Change::Ledger { bytes }, Moment::Began) => self.ledger.extend_from_slice(bytes),
            (Change::Write { path, offset, bytes }, Moment::Began) => {
                self.edit(change, path, Edit::Write(*offset, bytes.clone()))?;
            }
            (Change::Truncate { path, len }, Moment::Began) => {
                self.edit(change, path, Edit::Truncate(*len))?
            }
            (Change::Extend { path, len }, Moment::Began) => self.edit(change, path, Edit::Extend(*len))?,
            (
                Change::Write { path, .. } | Change::Truncate { path, .. } | Change::Extend { path, .. },
                Moment::Ended,
            ) => {
                self.end_edit(change, path);
            }
            (Change::Sync { .. }, Moment::Began) => drop(self.syncs.insert(change, self.event)),
            (Change::Sync { path, has_failed }, Moment::Ended) => {
                let began = self.syncs.remove(&change).context("the beginning of a sync")?;
                self.sync(path, began, *has_failed)?;
            }
            (Change::Create { path }, Moment::Ended) => {
                // Opened with permission to make it, but it was there.
                if !self.names.contains_key(path) {
                    let node = Node::File(self.files.len());
                    self.files.push(Contents::default());
                    self.name(Naming::Link(path.clone(), node));
                }
            }
            (Change::MakeDir { path }, Moment::Ended) => self.name(Naming::Link(path.clone(), Node::Dir)),
            (Change::Unlink { path }, Moment::Ended) => self.name(Naming::Unlink(path.clone())),
            (Change::Rename { from, to }, Moment::Ended) => {
                let node = *self.names.get(from).with_context(|| format!("{} to rename", from.display()))?;
                self.name(Naming::Rename(from.clone(), to.clone(), node));
            }
            (
                Change::Create { .. }
                | Change::MakeDir { .. }
                | Change::Unlink { .. }
                | Change::Rename { .. },
                Moment::Began,
            )
            | (Change::Ledger { .. }, Moment::Ended) => {}
        }
        Ok(())
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.unsynced_names.push((naming, self.event));
    }

    fn file(&mut self, path: &Path) -> Option<&mut Contents> {
        match self.names.get(path) {
            Some(Node::File(number)) => self.files.get_mut(*number),
            _ => None,
        }
    }

    fn edit(&mut self, change: usize, path: &Path, edit: Edit) -> Result<()> {
        let file = self.file(path).with_context(|| format!("{} to write to", path.display()))?;
        file.unsynced.push(Unsynced { change, edit, ended: None });
        Ok(())
    }

    fn end_edit(&mut self, change: usize, path: &Path) {
        let event = self.event;
        if let Some(file) = self.file(path) {
            file.unsynced
                .iter_mut()
                .filter(|edit| edit.change == change)
                .for_each(|edit| edit.ended = Some(event));
        }
    }

    fn sync(&mut self, path: &Path, began: usize, has_failed: bool) -> Result<()> {
        if path == Path::new("") || self.names.get(path) == Some(&Node::Dir) {
            if !has_failed {
                let (safe, open) = std::mem::take(&mut self.unsynced_names)
                    .into_iter()
                    .partition(|(naming, ended)| *ended < began && naming.dir() == path);
                self.unsynced_names = open;
                let safe: Vec<(Naming, usize)> = safe;
                safe.iter().for_each(|(naming, _)| naming.apply(&mut self.durable_names));
            }
            return Ok(());
        }
        let Some(file) = self.file(path) else { bail!("{} was synced and is not there", path.display()) };
        let (covered, open) = std::mem::take(&mut file.unsynced)
            .into_iter()
            .partition(|edit| edit.ended.is_some_and(|ended| ended < began));
        file.unsynced = open;
        let covered: Vec<Unsynced> = covered;
        if !has_failed {
            covered.iter().for_each(|edit| edit.edit.apply(&mut file.durable));
        }
        Ok(())
    }

    /// What a power cut at this moment leaves.
    pub fn cut(&self, fate: Fate, numbers: &mut Numbers) -> Image {
        let mut names = self.durable_names.clone();
        for (naming, _) in &self.unsynced_names {
            let stays = match fate {
                Fate::Nothing => false,
                Fate::Everything => true,
                _ => numbers.below(2) == 0,
            };
            if stays {
                naming.apply(&mut names);
            }
        }
        let mut image = Image::default();
        for (path, node) in &names {
            let mut parents = path.ancestors().skip(1).filter(|parent| *parent != Path::new(""));
            if !parents.all(|parent| names.get(parent) == Some(&Node::Dir)) {
                continue;
            }
            let contents = match node {
                Node::Dir => None,
                Node::File(number) => self.files.get(*number).map(|file| file.cut(fate, numbers)),
            };
            image.0.insert(path.clone(), contents);
        }
        image
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => overwrite(bytes, *offset, written),
            Self::Truncate(len) => bytes.resize(as_len(*len), 0),
            Self::Extend(len) => bytes.resize(bytes.len().max(as_len(*len)), 0),
        }
    }

    /// Applies the pieces that `stays` takes.
    fn apply_torn(&self, bytes: &mut Vec<u8>, piece_bytes: u64, mut stays: impl FnMut() -> bool) {
        let Self::Write(offset, written) = self else {
            if stays() {
                self.apply(bytes);
            }
            return;
        };
        let (mut offset, mut rest) = (*offset, written.as_slice());
        while !rest.is_empty() {
            let len = as_len(piece_bytes - offset % piece_bytes).min(rest.len());
            let (piece, later) = rest.split_at(len);
            if stays() {
                overwrite(bytes, offset, piece);
            }
            offset += len as u64;
            rest = later;
        }
    }
}

impl Contents {
    fn cut(&self, fate: Fate, numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let edits = || self.unsynced.iter().map(|unsynced| &unsynced.edit);
        match fate {
            Fate::Nothing => {}
            Fate::Everything => edits().for_each(|edit| edit.apply(&mut bytes)),
            Fate::Some => edits().filter(|_| numbers.below(2) == 0).for_each(|edit| edit.apply(&mut bytes)),
            Fate::Reordered => {
                let lost = numbers.below(self.unsynced.len() as u64 + 1);
                edits().skip(as_len(lost)).for_each(|edit| edit.apply(&mut bytes));
            }
            Fate::Torn(piece_bytes) => {
                edits().for_each(|edit| edit.apply_torn(&mut bytes, piece_bytes, || numbers.below(2) == 0));
            }
            Fate::ZeroTail | Fate::GarbageTail => {
                let mut all = bytes.clone();
                edits().for_each(|edit| edit.apply(&mut all));
                while bytes.len() < all.len() {
                    bytes.push(if fate == Fate::ZeroTail { 0 } else { numbers.draw().to_le_bytes()[0] });
                }
            }
        }
        bytes
    }
}

fn overwrite(bytes: &mut Vec<u8>, offset: u64, written: &[u8]) {
    let start = as_len(offset);
    let end = start + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(start..end) {
        place.copy_from_slice(written);
    }
}

fn as_len(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// What is left after a power cut: directories, and files with their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Image {
    /// Two images with the same digest are the same.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (path, contents) in &self.0 {
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(&[0, u8::from(contents.is_some())]);
            if let Some(bytes) = contents {
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// Lays it out below `dir`, which is emptied first.
    pub fn write_to(&self, dir: &Path) -> Result<()> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        for (path, contents) in &self.0 {
            let path = dir.join(path);
            match contents {
                None => fs::create_dir(&path)?,
                Some(bytes) => fs::write(&path, bytes)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Play {
        disk: SimDisk,
        count: usize,
    }

    impl Play {
        fn call(&mut self, change: &Change) {
            for moment in [Moment::Began, Moment::Ended] {
                self.disk.play(self.count, change, moment).unwrap();
            }
            self.count += 1;
        }

        fn cut(&self, fate: Fate) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
            self.disk.cut(fate, &mut Numbers::new(1)).0
        }
    }

    fn write(path: &str, offset: u64, bytes: &[u8]) -> Change {
        Change::Write { path: path.into(), offset, bytes: bytes.to_vec() }
    }

    fn sync(path: &str, has_failed: bool) -> Change {
        Change::Sync { path: path.into(), has_failed }
    }

    #[test]
    fn only_what_was_synced_under_a_synced_name_is_certain() {
        let mut play = Play { disk: SimDisk::default(), count: 0 };
        play.call(&Change::MakeDir { path: "d".into() });
        play.call(&Change::Create { path: "d/f".into() });
        play.call(&write("d/f", 0, b"abc"));
        play.call(&sync("d/f", false));
        assert_eq!(play.cut(Fate::Nothing).len(), 0, "neither the directory nor the name was synced");
        assert_eq!(play.cut(Fate::Everything).get(Path::new("d/f")), Some(&Some(b"abc".to_vec())));
        play.call(&sync("d", false));
        assert_eq!(play.cut(Fate::Nothing).len(), 0, "the directory's own name was not");
        play.call(&sync("", false));
        assert_eq!(play.cut(Fate::Nothing).get(Path::new("d/f")), Some(&Some(b"abc".to_vec())));
        play.call(&write("d/f", 3, b"def"));
        assert_eq!(play.cut(Fate::Nothing).get(Path::new("d/f")), Some(&Some(b"abc".to_vec())));
        assert_eq!(play.cut(Fate::ZeroTail).get(Path::new("d/f")), Some(&Some(b"abc\0\0\0".to_vec())));
        assert_eq!(play.cut(Fate::Everything).get(Path::new("d/f")), Some(&Some(b"abcdef".to_vec())));
        assert!(!play.disk.is_settled());
        play.call(&sync("d/f", false));
        assert!(play.disk.is_settled());
    }

    #[test]
    fn what_a_failed_sync_was_to_save_is_gone_for_good() {
        let mut play = Play { disk: SimDisk::default(), count: 0 };
        play.call(&Change::Create { path: "f".into() });
        play.call(&sync("", false));
        play.call(&write("f", 0, b"abc"));
        play.call(&sync("f", true));
        play.call(&sync("f", false));
        assert_eq!(play.cut(Fate::Everything).get(Path::new("f")), Some(&Some(Vec::new())));
    }

    #[test]
    fn a_write_that_was_under_way_when_a_sync_began_is_not_covered() {
        let mut disk = SimDisk::default();
        let created = Change::Create { path: "f".into() };
        disk.play(0, &created, Moment::Ended).unwrap();
        disk.play(1, &write("f", 0, b"abc"), Moment::Began).unwrap();
        disk.play(2, &sync("f", false), Moment::Began).unwrap();
        disk.play(1, &write("f", 0, b"abc"), Moment::Ended).unwrap();
        disk.play(2, &sync("f", false), Moment::Ended).unwrap();
        assert!(!disk.is_settled());
    }

    #[test]
    fn torn_writes_keep_whole_pieces() {
        let edit = Edit::Write(500, vec![7; 1_000]);
        let mut bytes = vec![1; 2_000];
        let mut piece = 0;
        edit.apply_torn(&mut bytes, 512, || {
            piece += 1;
            piece % 2 == 0
        });
        assert!(bytes[..512].iter().all(|&byte| byte == 1));
        assert!(bytes[512..1_024].iter().all(|&byte| byte == 7));
        assert!(bytes[1_024..].iter().all(|&byte| byte == 1));
    }
}
