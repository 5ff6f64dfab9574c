//! T1: everything that storage can do, in random order, against a map.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use usp_api::{AppendUpload, Coding, NewFile, ReadFile, StorageApi, StorageCalls};
use usp_content::{Extent, Pace};
use usp_model::{
    ByteRange, ErrorKind, FileKey, FilePatch, FileQuery, FileRef, KeyCondition, LabelKey, PackState, UploadId,
};
use usp_testkit::generate::Numbers;
use usp_torture::check::{runtime, scratch};
use usp_torture::content::Content;
use usp_torture::figures::{Plan, note, seed};
use usp_torture::record::copy_dir;
use usp_torture::store::{CHECKPOINT_BYTES, CHUNK_BYTES_MAX, PACK_BYTES, Store, admin, bucket, file_ref};

/// A file as it should stand.
#[derive(Debug, Clone, Default)]
struct File {
    /// Oldest first.
    versions: Vec<Content>,
    etag: String,
    mark: Option<String>,
}

struct Upload {
    id: UploadId,
    key: String,
    content: Content,
    received: u64,
}

struct Model {
    home: tempfile::TempDir,
    dir: PathBuf,
    /// `None` only between two stores.
    store: Option<Store>,
    files: BTreeMap<String, File>,
    uploads: Vec<Upload>,
    numbers: Numbers,
    crash_count: u64,
}

impl Model {
    async fn new(seed: u64) -> Result<Self> {
        let home = scratch()?;
        let dir = home.path().join("0");
        std::fs::create_dir(&dir)?;
        let store = Some(Store::open(&dir).await?);
        let numbers = Numbers::new(seed);
        Ok(Self { home, dir, store, files: BTreeMap::new(), uploads: Vec::new(), numbers, crash_count: 0 })
    }

    fn store(&self) -> Result<&Store> {
        self.store.as_ref().context("an open store")
    }

    fn below(&mut self, end: u64) -> u64 {
        self.numbers.below(end)
    }

    fn key(&mut self) -> String {
        let (dir, name) = (self.below(3), self.below(5));
        format!("d{dir}/{name}")
    }

    /// Lengths around the bounds of chunks, checkpoints and packs, and some others.
    fn content(&mut self) -> Content {
        let bounds = [
            0,
            1,
            CHUNK_BYTES_MAX / 16,
            CHUNK_BYTES_MAX / 4,
            CHUNK_BYTES_MAX,
            2 * CHUNK_BYTES_MAX,
            16 << 10,
            u32::try_from(CHECKPOINT_BYTES).unwrap(),
            u32::try_from(PACK_BYTES).unwrap(),
        ];
        // Long ones are rare.
        let count = if self.below(12) == 0 { bounds.len() } else { 6 };
        let bound = bounds[usize::try_from(self.below(count as u64)).unwrap()];
        let len = (bound + u32::try_from(self.below(3)).unwrap()).saturating_sub(1);
        let seed = self.below(14);
        if self.below(4) == 0 {
            return Content(vec![(seed, len), (self.below(14), 5_000)]);
        }
        Content::of(seed, len)
    }

    async fn step(&mut self) -> Result<()> {
        match self.below(1_000) {
            0..210 => self.put().await,
            210..240 => self.put_in_parts().await,
            240..330 => self.delete().await,
            330..400 => self.label().await,
            400..620 => self.read().await,
            620..680 => self.read_old_version().await,
            680..740 => self.list().await,
            740..800 => self.open_upload().await,
            800..900 => self.append().await,
            900..940 => self.finish_upload().await,
            940..960 => self.end_upload().await,
            960..985 => self.collect().await,
            985..990 => self.scrub().await,
            990..995 => self.restart().await,
            _ => self.crash().await,
        }
    }

    async fn put(&mut self) -> Result<()> {
        let (key, content) = (self.key(), self.content());
        let standing = self.files.get(&key).cloned();
        let condition = match self.below(6) {
            0 => KeyCondition::Absent,
            1 => KeyCondition::Matches(vec![
                standing.as_ref().map_or("none".to_owned(), |file| file.etag.clone()),
            ]),
            2 => KeyCondition::Matches(vec!["other".to_owned()]),
            _ => KeyCondition::Any,
        };
        let holds = match (&condition, &standing) {
            (KeyCondition::Any, _) | (KeyCondition::Absent, None) => true,
            (KeyCondition::Matches(etags), Some(file)) => etags.contains(&file.etag),
            _ => false,
        };
        let mut file = NewFile::at(bucket()?, FileKey::parse(&key)?);
        file.condition = condition;
        let pieces: Vec<_> =
            content.bytes().chunks(9_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let put = self.store()?.storage.put(&admin()?, file, stream::iter(pieces).boxed()).await;
        match put {
            Ok(outcome) => {
                ensure!(holds, "{key} was put against its condition");
                ensure!(outcome.is_new_file == standing.is_none(), "{key}: {}", outcome.is_new_file);
                self.stored(&key, content, &outcome.file)?;
            }
            Err(error) => {
                ensure!(!holds && error.kind() == ErrorKind::PreconditionFailed, "{}", error.chain())
            }
        }
        Ok(())
    }

    /// Parts that come in any order, with anything between them.
    async fn put_in_parts(&mut self) -> Result<()> {
        let (key, content) = (self.key(), self.content());
        let bytes = content.bytes();
        let mut cuts =
            [self.below(bytes.len() as u64 + 1), self.below(bytes.len() as u64 + 1), bytes.len() as u64];
        cuts.sort_unstable();
        let (mut parts, mut from) = (Vec::new(), 0);
        for to in cuts {
            let id = self.store()?.storage.start_part(&admin()?, bucket()?, Some(to - from)).await?.id;
            parts.push((id, Bytes::copy_from_slice(&bytes[usize::try_from(from)?..usize::try_from(to)?])));
            from = to;
        }
        for (id, part) in parts.iter().rev().cloned() {
            let append = AppendUpload { id, offset: 0, size_bytes: None };
            self.store()?.storage.append(&admin()?, append, stream::iter([Ok(part)]).boxed()).await?;
            self.disturb().await?;
        }
        let file = NewFile::at(bucket()?, FileKey::parse(&key)?);
        let parts: Vec<_> = parts.into_iter().map(|(id, _)| id).collect();
        let joined = self.store()?.storage.join_uploads(&admin()?, file.clone(), parts.clone()).await?;
        self.disturb().await?;
        let again = self.store()?.storage.join_uploads(&admin()?, file, parts).await?;
        ensure!(joined == again, "{joined:?} was {again:?} when it was asked for again");
        let outcome = self.store()?.storage.finish_upload(&admin()?, joined.id, Vec::new()).await?;
        self.stored(&key, content, &outcome.file)
    }

    async fn disturb(&mut self) -> Result<()> {
        match self.below(8) {
            0 => self.crash().await,
            1 => self.collect().await,
            _ => Ok(()),
        }
    }

    /// A version was committed.
    fn stored(&mut self, key: &str, content: Content, stored: &usp_model::File) -> Result<()> {
        let file = self.files.entry(key.to_owned()).or_default();
        file.versions.push(content.clone());
        file.etag.clone_from(&stored.etag);
        file.mark = None;
        ensure!(stored.version as usize == file.versions.len(), "{key} has version {}", stored.version);
        ensure!(stored.size_bytes == content.len(), "{key} has {} bytes", stored.size_bytes);
        Ok(())
    }

    async fn delete(&mut self) -> Result<()> {
        let key = self.key();
        let etags = match self.below(4) {
            0 => Some(vec!["other".to_owned()]),
            1 => self.files.get(&key).map(|file| vec![file.etag.clone()]),
            _ => None,
        };
        let holds = etags.as_ref().is_none_or(|etags| etags != &["other"]);
        let deleted = self.store()?.storage.delete_file(&admin()?, file_ref(&key)?, etags).await;
        let is_there = self.files.contains_key(&key);
        match deleted.map_err(|error| error.kind()) {
            Ok(()) => {
                ensure!(is_there && holds, "{key} was deleted");
                self.files.remove(&key);
            }
            Err(ErrorKind::NotFound) => ensure!(!is_there, "{key} is gone"),
            Err(ErrorKind::PreconditionFailed) => ensure!(is_there && !holds, "{key} was kept"),
            Err(other) => anyhow::bail!("delete {key}: {other:?}"),
        }
        Ok(())
    }

    async fn label(&mut self) -> Result<()> {
        let (key, mark) = (self.key(), format!("m{}", self.below(1_000)));
        let found = self.store()?.storage.get_file(&admin()?, file_ref(&key)?, None).await;
        let Some(file) = self.files.get_mut(&key) else {
            ensure!(found.is_err_and(|error| error.kind() == ErrorKind::NotFound), "{key} is there");
            return Ok(());
        };
        file.mark = Some(mark.clone());
        let labels = BTreeMap::from([(LabelKey::parse("mark")?, Some(mark))]);
        let patch = FilePatch { labels, ..FilePatch::default() };
        self.store()?.storage.update_file(&admin()?, found?.id, patch).await?;
        Ok(())
    }

    async fn read(&mut self) -> Result<()> {
        let key = self.key();
        let bytes = self.files.get(&key).and_then(|file| file.versions.last()).map(Content::bytes);
        let Some(bytes) = bytes else {
            let read = self.store()?.read(&key, None).await;
            ensure!(read.is_err_and(|error| error.kind() == ErrorKind::NotFound), "{key} reads");
            return Ok(());
        };
        if bytes.is_empty() || self.below(4) == 0 {
            ensure!(self.store()?.read(&key, None).await? == bytes, "{key} reads as something else");
            return Ok(());
        }
        let start = self.below(bytes.len() as u64);
        let end = start + 1 + self.below(bytes.len() as u64 - start);
        let part = self.store()?.read(&key, Some(ByteRange::new(start, end)?)).await?;
        let expected = bytes.get(usize::try_from(start)?..usize::try_from(end)?);
        ensure!(Some(part.as_slice()) == expected, "{start}..{end} of {key} reads as something else");
        Ok(())
    }

    async fn read_old_version(&mut self) -> Result<()> {
        let key = self.key();
        let count = self.files.get(&key).map_or(0, |file| file.versions.len() as u64);
        let version = 1 + self.below(count + 1);
        let read = ReadFile {
            file: file_ref(&key)?,
            version: Some(u32::try_from(version)?),
            range: None,
            coding: Coding::Plain,
        };
        let reading = self.store()?.storage.read(&admin()?, read).await;
        let expected =
            self.files.get(&key).and_then(|file| file.versions.get(usize::try_from(version - 1).ok()?));
        match (reading, expected) {
            (Ok(reading), Some(expected)) => {
                let pieces: Vec<Bytes> = reading.content.try_collect().await?;
                ensure!(
                    pieces.concat() == expected.bytes(),
                    "version {version} of {key} reads as something else"
                );
            }
            (Err(error), None) => ensure!(error.kind() == ErrorKind::NotFound, "{}", error.chain()),
            (reading, expected) => anyhow::bail!("version {version} of {key}: {reading:?}, not {expected:?}"),
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<()> {
        let prefix = format!("d{}/", self.below(3));
        let mut query =
            FileQuery { prefix: prefix.clone(), limit: 2, with_unreleased: true, ..FileQuery::default() };
        let mut listed = Vec::new();
        loop {
            let page = self.store()?.storage.list_files(&admin()?, bucket()?, query.clone()).await?;
            for file in page.files {
                let mark = file
                    .labels
                    .iter()
                    .find(|(name, _)| name.as_str() == "mark")
                    .map(|(_, mark)| mark.clone());
                listed.push((file.key.to_string(), file.size_bytes, mark));
            }
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        let size = |file: &File| file.versions.last().map_or(0, Content::len);
        let expected = self.files.iter().filter(|(key, _)| key.starts_with(&prefix));
        let expected: Vec<_> =
            expected.map(|(key, file)| (key.clone(), size(file), file.mark.clone())).collect();
        ensure!(listed == expected, "{prefix} lists {listed:?}, not {expected:?}");
        Ok(())
    }

    async fn open_upload(&mut self) -> Result<()> {
        if self.uploads.len() >= 4 {
            return Ok(());
        }
        let (key, content) = (self.key(), self.content());
        let file = NewFile::at(bucket()?, FileKey::parse(&key)?);
        let id = self.store()?.storage.start_upload(&admin()?, file).await?.id;
        self.uploads.push(Upload { id, key, content, received: 0 });
        Ok(())
    }

    /// Any of the open uploads.
    fn pick(&mut self) -> Option<usize> {
        let count = self.uploads.len() as u64;
        (count > 0).then(|| usize::try_from(self.below(count)).unwrap())
    }

    async fn append(&mut self) -> Result<()> {
        let Some(at) = self.pick() else { return Ok(()) };
        let is_wrong = self.below(8) == 0;
        let (id, received, bytes) =
            (self.uploads[at].id, self.uploads[at].received, self.uploads[at].content.bytes());
        let to = received + self.below(bytes.len() as u64 - received + 1);
        let part = Bytes::copy_from_slice(&bytes[usize::try_from(received)?..usize::try_from(to)?]);
        let offset = received + u64::from(is_wrong);
        let append = AppendUpload { id, offset, size_bytes: None };
        let appended =
            self.store()?.storage.append(&admin()?, append, stream::iter([Ok(part)]).boxed()).await;
        match appended {
            Ok(upload) => {
                ensure!(
                    !is_wrong && upload.received_bytes == to,
                    "{} received, not {to}",
                    upload.received_bytes
                );
                self.uploads[at].received = to;
            }
            Err(error) => {
                ensure!(is_wrong && error.kind() == ErrorKind::PreconditionFailed, "{}", error.chain())
            }
        }
        Ok(())
    }

    async fn finish_upload(&mut self) -> Result<()> {
        let Some(at) = self.pick() else { return Ok(()) };
        let Upload { id, key, content, received } = self.uploads.swap_remove(at);
        let rest = Bytes::copy_from_slice(&content.bytes()[usize::try_from(received)?..]);
        let append = AppendUpload { id, offset: received, size_bytes: None };
        self.store()?.storage.append(&admin()?, append, stream::iter([Ok(rest)]).boxed()).await?;
        let outcome = self.store()?.storage.finish_upload(&admin()?, id, Vec::new()).await?;
        self.stored(&key, content, &outcome.file)
    }

    async fn end_upload(&mut self) -> Result<()> {
        let Some(at) = self.pick() else { return Ok(()) };
        let Upload { id, .. } = self.uploads.swap_remove(at);
        self.store()?.storage.terminate_upload(&admin()?, id).await?;
        let append = AppendUpload { id, offset: 0, size_bytes: None };
        let appended = self.store()?.storage.append(&admin()?, append, stream::empty().boxed()).await;
        ensure!(appended.is_err(), "an upload that was ended took bytes");
        Ok(())
    }

    async fn collect(&mut self) -> Result<()> {
        self.store()?.storage.collect(&admin()?, false).await?;
        Ok(())
    }

    async fn scrub(&mut self) -> Result<()> {
        for row in self.store()?.catalog.packs().await? {
            let extent = match row.state {
                PackState::Sealed => Extent::Sealed(row.committed_bytes),
                PackState::Open => Extent::Committed(row.committed_bytes),
                PackState::Doomed => continue,
                PackState::SetAside => anyhow::bail!("{} was set aside", row.pack),
            };
            let report =
                self.store()?.content.inspector().scrub(row.pack, extent, &mut Pace::unlimited()).await?;
            ensure!(report.is_sound(), "{}: {report:?}", row.pack);
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        if let Some(store) = self.store.take() {
            store.content.close().await?;
        }
        self.reopen().await
    }

    /// What `kill -9` leaves: the files as they are, while the old process still has them open.
    async fn crash(&mut self) -> Result<()> {
        self.crash_count += 1;
        let dir = self.home.path().join(self.crash_count.to_string());
        copy_dir(&self.dir, &dir)?;
        self.store = None;
        std::fs::remove_dir_all(&self.dir)?;
        self.dir = dir;
        self.reopen().await
    }

    async fn reopen(&mut self) -> Result<()> {
        let store = Store::open(&self.dir).await?;
        let recovery = &store.recovery;
        ensure!(recovery.damaged.is_empty() && recovery.missing.is_empty(), "{recovery:?}");
        self.store = Some(store);
        self.compare().await
    }

    /// Everything, from the first byte to the last.
    async fn compare(&mut self) -> Result<()> {
        let mut query = FileQuery { limit: 1_000, with_unreleased: true, ..FileQuery::default() };
        query.prefix = "d".to_owned();
        let page = self.store()?.storage.list_files(&admin()?, bucket()?, query).await?;
        ensure!(page.files.len() == self.files.len(), "{} files, not {}", page.files.len(), self.files.len());
        for (key, file) in &self.files {
            let read = self.store()?.read(key, None).await.with_context(|| format!("read {key}"))?;
            ensure!(Some(read) == file.versions.last().map(Content::bytes), "{key} reads as something else");
            let found = self.store()?.storage.get_file(&admin()?, file_ref(key)?, None).await?;
            ensure!(found.etag == file.etag, "{key} has another etag");
            let versions = self.store()?.storage.list_versions(&admin()?, found.id).await?;
            ensure!(versions.len() == file.versions.len(), "{key} has {} versions", versions.len());
            let by_id = self.store()?.storage.get_file(&admin()?, FileRef::Id(found.id), None).await?;
            ensure!(by_id.key.as_str() == key, "{key} is found as {}", by_id.key);
        }
        for upload in &self.uploads {
            let found = self.store()?.storage.get_upload(&admin()?, upload.id).await?;
            ensure!(found.received_bytes == upload.received, "an upload is at {}", found.received_bytes);
        }
        Ok(())
    }
}

#[test]
fn storage_equals_a_map_whatever_is_done_to_it() -> Result<()> {
    const HISTORY: u64 = 4_000;
    let (runtime, seed) = (runtime()?, seed());
    let plan = Plan::new(24_000, 1_000_000, 45);
    let mut numbers = Numbers::new(seed);
    let (mut done, mut crashes) = (0, 0);
    while plan.goes_on(done) {
        let history = numbers.draw();
        runtime.block_on(async {
            let mut model = Model::new(history).await?;
            for number in 0..HISTORY {
                if !plan.goes_on(done) {
                    break;
                }
                let stepped = Box::pin(model.step()).await;
                stepped
                    .with_context(|| format!("USP_SEED={seed}, operation {number} of history {history}"))?;
                done += 1;
            }
            crashes += model.crash_count;
            Box::pin(model.compare()).await.with_context(|| format!("USP_SEED={seed}, at the end"))
        })?;
    }
    println!("T1: {done} operations, {crashes} crashes");
    note("T1 model", &[("operations", done), ("crashes", crashes), ("divergences", 0)]);
    Ok(())
}
