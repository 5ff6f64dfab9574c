//! Recovers a directory with the code that ships, and compares it with what a ledger allows.
//!
//! | | what is checked | how |
//! |---|---|---|
//! | I1 | every chunk row points at durable bytes | recovery reports no damage; every file is read whole; scrub of every pack |
//! | I2 | every reference has a live chunk row in a pack that is there and not doomed | all references of the catalogue |
//! | I3 | an acknowledged offset never falls, and the upload goes on from it to the right content | resumed and finished |
//! | I4 | packs are sound up to their committed length | scrub |
//! | I5 | pack ids are never used again | ids of packs made after recovery |
//! | I6 | no wrong byte leaves | every byte is compared |
//! | I7, I8 | nothing that a row names is erased | collections after recovery, then everything is read again |
//! | I9 | one run per version and rule; what was reported stands | runs of every file |
//! | I10 | a file without its event, or an event without its file | the whole event log |

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use usp_api::{AppendUpload, NewFile, StorageApi, StorageCalls};
use usp_content::{Extent, Pace};
use usp_model::{
    ChunkId, ErrorKind, EventKind, EventQuery, File, FileKey, FileQuery, PackState, RunState, UploadId,
    UploadShape, UploadState,
};

use crate::content::Content;
use crate::ledger::{Expected, FileFacts, UploadEnd, UploadFacts};
use crate::store::{Store, admin, bucket};

/// What a check went through.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// How every key stands now.
    pub files: BTreeMap<String, FileFacts>,
    pub read_bytes: u64,
    /// How long the store took to open and mend itself.
    pub start: Duration,
}

/// How much a check does beyond reading what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Recovery, every file, every invariant.
    Look,
    /// And life goes on: a put, collections, another start, and every file again.
    GoOn,
}

/// Errors: what is not as it must be, in one sentence.
pub async fn check(dir: &Path, ledger: &[u8], depth: Depth) -> Result<Checked> {
    let mut expected = Expected::read(ledger)?;
    let packs_before = pack_files(dir)?;
    let begin = Instant::now();
    let store = Store::open(dir).await.context("open the store after the crash")?;
    let start = begin.elapsed();
    ensure!(store.recovery.damaged.is_empty(), "I1: recovery found damage: {:?}", store.recovery);
    ensure!(store.recovery.missing.is_empty(), "I8: recovery misses packs: {:?}", store.recovery);
    let files = check_files(&store, &expected).await?;
    check_catalog(dir, &store).await?;
    check_events(&store, &files).await?;
    check_runs(&store, &files, &expected).await?;
    let files = match check_uploads(&store, &mut expected).await? {
        0 => files,
        _resumed => check_files(&store, &expected).await?,
    };
    let read_bytes = files.values().map(|found| found.file.size_bytes).sum();
    let mut checked = Checked { files: facts(&files), read_bytes, start };
    if depth == Depth::GoOn {
        go_on(dir, store, &packs_before, &mut expected).await?;
        checked.files.retain(|key, _| key != AFTER);
    }
    Ok(checked)
}

const AFTER: &str = "after/put";

async fn go_on(
    dir: &Path,
    store: Store,
    packs_before: &BTreeSet<i64>,
    expected: &mut Expected,
) -> Result<()> {
    let content = Content(vec![(100, 6_000), (977, 3_000)]);
    store.put(AFTER, &content).await.context("put after the crash")?;
    expected.files.insert(AFTER.to_owned(), vec![Some(FileFacts { content, mark: None })]);
    let last = packs_before.last().copied().unwrap_or(0);
    let new = pack_files(dir)?;
    let reused = new.difference(packs_before).find(|id| **id <= last);
    ensure!(reused.is_none(), "I5: pack {reused:?} came after pack {last}");
    for _cycle in 0..3 {
        store.storage.collect(&admin()?, false).await.context("collect after the crash")?;
    }
    check_files(&store, expected).await.context("after three collections")?;
    check_packs(&store).await?;
    drop(store);
    let store = Store::open(dir).await.context("open the store a second time")?;
    ensure!(
        store.recovery.damaged.is_empty() && store.recovery.missing.is_empty(),
        "second start: {:?}",
        store.recovery
    );
    check_files(&store, expected).await.context("after a second start")?;
    check_catalog(dir, &store).await.context("after a second start")?;
    store.storage.delete_file(&admin()?, crate::store::file_ref(AFTER)?, None).await?;
    Ok(())
}

/// Ids of the packs that lie in the directory, whatever rows say.
fn pack_files(dir: &Path) -> Result<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = vec![dir.join("packs"), dir.join("lost+found")];
    while let Some(dir) = open.pop() {
        if !dir.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                let id = name.split('.').next().and_then(|hex| i64::from_str_radix(hex, 16).ok());
                found.extend(id);
            }
        }
    }
    Ok(found)
}

struct Found {
    file: File,
    facts: FileFacts,
}

fn facts(files: &BTreeMap<String, Found>) -> BTreeMap<String, FileFacts> {
    files.iter().map(|(key, found)| (key.clone(), found.facts.clone())).collect()
}

/// Every file is one that the ledger allows, and every file that it promises is there.
async fn check_files(store: &Store, expected: &Expected) -> Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for file in all_files(store).await? {
        let key = file.key.to_string();
        let states = expected.files.get(&key).with_context(|| format!("{key} stands and was never put"))?;
        let bytes = store.read(&key, None).await;
        let bytes =
            bytes.map_err(|error| anyhow::anyhow!("I1, I2: {key} cannot be read: {}", error.chain()))?;
        ensure!(
            bytes.len() as u64 == file.size_bytes,
            "{key} has {} bytes and reads as {}",
            file.size_bytes,
            bytes.len()
        );
        let mark = file.labels.iter().find(|(name, _)| name.as_str() == "mark").map(|(_, mark)| mark.clone());
        let mut same = states.iter().flatten().filter(|facts| facts.content.bytes() == bytes).peekable();
        ensure!(
            same.peek().is_some(),
            "I6: {key} has bytes that were never put there{}, of {states:?}",
            difference(&bytes, states)
        );
        let facts = same.find(|facts| facts.mark == mark).cloned();
        let facts = facts.with_context(|| format!("{key} has the label {mark:?}, of {states:?}"))?;
        found.insert(key, Found { file, facts });
    }
    for (key, states) in &expected.files {
        let may_be_absent = states.iter().any(Option::is_none);
        ensure!(may_be_absent || found.contains_key(key), "{key} was acknowledged and is gone");
    }
    Ok(found)
}

/// Where the bytes part from the newest that they might be.
fn difference(bytes: &[u8], states: &[Option<FileFacts>]) -> String {
    let Some(facts) = states.iter().rev().flatten().next() else { return String::new() };
    let expected = facts.content.bytes();
    let at = bytes.iter().zip(&expected).position(|(found, expected)| found != expected);
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    format!(" ({} bytes of {}, first other byte at {at:?}, {zeros} zeros)", bytes.len(), expected.len())
}

async fn all_files(store: &Store) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut query = FileQuery { limit: 1_000, with_unreleased: true, ..FileQuery::default() };
    loop {
        let page = store.storage.list_files(&admin()?, bucket()?, query.clone()).await?;
        files.extend(page.files);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(files),
        }
    }
}

/// What rows say of each other, and of the packs.
async fn check_catalog(dir: &Path, store: &Store) -> Result<()> {
    let mut chunks: BTreeSet<ChunkId> = BTreeSet::new();
    for pack in store.catalog.pack_usage().await? {
        let id = pack.record.pack;
        let rows = store.catalog.chunks_in_pack(id).await?;
        ensure!(
            rows.len() as u64 == pack.live_chunks,
            "{id} counts {} chunks and has {}",
            pack.live_chunks,
            rows.len()
        );
        ensure!(
            rows.is_empty() || pack.record.state != PackState::Doomed,
            "I2: rows name the doomed pack {id}"
        );
        let len = store.packs.len(id).await.ok();
        for row in rows {
            let end = row.place.offset + u64::from(row.place.stored_bytes);
            ensure!(
                end <= pack.record.committed_bytes,
                "I1: {} ends at {end}, beyond what is committed of {id}",
                row.id
            );
            ensure!(
                len.is_some_and(|len| end <= len),
                "I1: {} ends at {end} of {id}, whose file has {len:?} bytes",
                row.id
            );
            chunks.insert(row.id);
        }
    }
    let mut after = None;
    loop {
        let page = store.catalog.references(after, 64).await?;
        let dangling = page.chunks.iter().find(|chunk| !chunks.contains(chunk));
        ensure!(dangling.is_none(), "I2: a manifest names {dangling:?}, which has no row in any pack");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let path = dir.join("catalog.db");
    let found = tokio::task::spawn_blocking(move || sqlite_says(&path)).await??;
    ensure!(found == ["ok"], "the catalogue file is damaged: {found:?}");
    Ok(())
}

fn sqlite_says(path: &Path) -> Result<Vec<String>> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = rusqlite::Connection::open_with_flags(path, flags)?;
    let mut said = Vec::new();
    for check in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
        let mut statement = conn.prepare(check)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            said.push(row.get::<_, String>(0)?);
        }
    }
    Ok(said)
}

/// Every committed byte of every pack that counts.
async fn check_packs(store: &Store) -> Result<()> {
    for row in store.catalog.packs().await? {
        let extent = match row.state {
            PackState::Sealed => Extent::Sealed(row.committed_bytes),
            PackState::Open => Extent::Committed(row.committed_bytes),
            PackState::SetAside | PackState::Doomed => continue,
        };
        let report = store.content.inspector().scrub(row.pack, extent, &mut Pace::unlimited()).await?;
        ensure!(report.is_sound(), "I4: {} is damaged: {report:?}", row.pack);
    }
    Ok(())
}

/// A file and its event come together, and go together.
async fn check_events(store: &Store, files: &BTreeMap<String, Found>) -> Result<()> {
    let mut standing = BTreeMap::new();
    let mut query = EventQuery { limit: 1_000, ..EventQuery::default() };
    loop {
        let events = store.catalog.events(query.clone()).await?;
        let Some(last) = events.last() else { break };
        query.after = last.seq;
        for event in events {
            match event.kind() {
                EventKind::FileStored => *standing.entry(event.file_id).or_insert(0_u32) += 1,
                EventKind::FileDeleted => drop(standing.remove(&event.file_id)),
                _ => {}
            }
        }
    }
    for (key, found) in files {
        let told = standing.remove(&found.file.id).unwrap_or(0);
        ensure!(
            told == found.file.version,
            "I10: {key} has version {} and {told} events",
            found.file.version
        );
    }
    ensure!(standing.is_empty(), "I10: events tell of files that are not there: {standing:?}");
    Ok(())
}

async fn check_runs(store: &Store, files: &BTreeMap<String, Found>, expected: &Expected) -> Result<()> {
    for (key, found) in files.iter().filter(|(key, _)| key.ends_with(".csv")) {
        let runs = store.catalog.runs_of_file(&found.file.id).await?;
        let current: Vec<_> = runs.iter().filter(|run| run.version == found.file.version).collect();
        let [run] = current.as_slice() else { bail!("I9: {key} has {} runs", current.len()) };
        let facts = expected.runs.get(key).copied().unwrap_or_default();
        let has_succeeded = run.state == RunState::Succeeded;
        ensure!(
            !facts.has_succeeded || has_succeeded,
            "I9: the run of {key} was reported and is {}",
            run.state
        );
        ensure!(
            facts.may_have_succeeded || !has_succeeded,
            "I9: the run of {key} succeeded and nobody said so"
        );
        let current = store.catalog.file(&usp_model::FileRef::Id(found.file.id), None).await?;
        let is_published = current.file.reports.contains_key("digest");
        ensure!(
            has_succeeded == is_published,
            "I9: the run of {key} is {}, its report {is_published}",
            run.state
        );
    }
    Ok(())
}

/// Every upload goes on from an offset that was acknowledged, and becomes the file that it was to be. Answers how many did.
async fn check_uploads(store: &Store, expected: &mut Expected) -> Result<u64> {
    let mut resumed_count = 0;
    for (slot, upload) in std::mem::take(&mut expected.uploads) {
        let Some(id) = &upload.id else { continue };
        let id = UploadId::parse(id)?;
        let found = store.storage.get_upload(&admin()?, id).await;
        let (state, received) = match found {
            Ok(found) => (found.state, found.received_bytes),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Gone) => {
                (UploadState::Terminated, 0)
            }
            Err(error) => bail!("I3: the upload {slot} cannot be looked at: {}", error.chain()),
        };
        let has_ended = state != UploadState::Open;
        match upload.end {
            UploadEnd::Finished | UploadEnd::Ended => {
                ensure!(has_ended, "the upload {slot} ended and is open again");
                continue;
            }
            UploadEnd::MaybeFinished | UploadEnd::MaybeEnded if has_ended => continue,
            UploadEnd::Open | UploadEnd::MaybeFinished | UploadEnd::MaybeEnded => {}
        }
        ensure!(!has_ended, "I3: the upload {slot} was open and is {state}");
        let range = upload.received..=upload.sent;
        ensure!(range.contains(&received), "I3: the upload {slot} is at {received}, not within {range:?}");
        resume(store, id, &upload, received)
            .await
            .with_context(|| format!("I3: go on with the upload {slot}"))?;
        expected.files.insert(upload.key, vec![Some(FileFacts { content: upload.content, mark: None })]);
        resumed_count += 1;
    }
    Ok(resumed_count)
}

async fn resume(store: &Store, id: UploadId, upload: &UploadFacts, received: u64) -> Result<()> {
    use futures::{StreamExt, stream};
    let bytes = upload.content.bytes();
    let rest = bytes.get(usize::try_from(received)?..).context("the rest of the content")?;
    let pieces = stream::iter([Ok(bytes::Bytes::copy_from_slice(rest))]).boxed();
    let append = AppendUpload { id, offset: received, size_bytes: None };
    let complete = store.storage.append(&admin()?, append, pieces).await?;
    let finished = match complete.shape {
        UploadShape::Part => {
            let file = NewFile::at(bucket()?, FileKey::parse(&upload.key)?);
            store.storage.join_uploads(&admin()?, file, vec![id]).await?.id
        }
        UploadShape::Whole | UploadShape::Joined(_) => id,
    };
    store.storage.finish_upload(&admin()?, finished, Vec::new()).await?;
    Ok(())
}

/// For tests that keep going on one directory: checks it, then lets the ledger say what was found.
pub async fn check_and_settle(dir: &Path, ledger: &Path, depth: Depth) -> Result<Checked> {
    let checked = check(dir, &std::fs::read(ledger)?, depth).await?;
    crate::ledger::Ledger::settle(ledger, &checked.files)?;
    Ok(checked)
}

/// A directory of its own in memory where there is one, so that syncs of what is not under test cost nothing.
pub fn scratch() -> Result<tempfile::TempDir> {
    let shm = Path::new("/dev/shm");
    Ok(if shm.is_dir() { tempfile::TempDir::new_in(shm)? } else { tempfile::TempDir::new()? })
}

/// A runtime for checks.
pub fn runtime() -> Result<Arc<tokio::runtime::Runtime>> {
    Ok(Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?))
}
