//! A process that works on a store and writes what it was promised into a ledger.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::{StreamExt, stream};
use usp_api::{AppendUpload, ByteStream, NewFile, StorageApi, StorageCalls};
use usp_catalog::records::{ClaimRuns, ReportRun, Turn};
use usp_model::{
    Act, ErrorKind, FileKey, FilePatch, LabelKey, ReportOutcome, RunOutcome, RunReport, StepReport,
    StepState, Timestamp, UploadId,
};

use crate::content::Content;
use crate::ledger::{Answer, Ledger, Operation};
use crate::store::{OnFault, START_MS, Store, admin, bucket, file_ref};

/// How a process ends whose disk failed under the catalogue, like the binary does.
pub const EXIT_FAULT: i32 = 74;

/// Bytes that a client sends in one piece.
const PIECE_BYTES: usize = 7_000;

/// Works on one store. Clones share it.
#[derive(Debug, Clone)]
pub struct Actor {
    dir: PathBuf,
    ledger: Arc<Ledger>,
    store: Option<Store>,
    /// Failed operations are what the test is about: they are noted, and the work goes on.
    is_lenient: bool,
}

impl Actor {
    /// Opens the store; that is an operation too.
    pub async fn open(dir: &Path, ledger: &Path, is_lenient: bool) -> Result<Self> {
        let ledger = Arc::new(Ledger::open(ledger)?);
        let mut actor = Self { dir: dir.to_path_buf(), ledger, store: None, is_lenient };
        actor.start().await?;
        Ok(actor)
    }

    async fn start(&mut self) -> Result<()> {
        let number = self.ledger.begin(Operation::Other { what: "start".to_owned() })?;
        self.store = Some(Store::open_with(&self.dir, stop_after_fault()).await?);
        self.ledger.answer(number, Answer::Done)
    }

    pub fn store(&self) -> Result<&Store> {
        self.store.as_ref().context("the store is closed")
    }

    /// A stop and a start. A graceful one closes the content store first.
    pub async fn restart(&mut self, is_graceful: bool) -> Result<()> {
        if let Some(store) = self.store.take()
            && is_graceful
        {
            store.content.close().await?;
        }
        self.start().await
    }

    /// Notes the operation, runs it, notes the answer.
    async fn run(
        &self,
        operation: Operation,
        work: impl Future<Output = usp_model::Result<Answer>>,
    ) -> Result<Option<Answer>> {
        let number = self.ledger.begin(operation.clone())?;
        match work.await {
            Ok(answer) => {
                self.ledger.answer(number, answer.clone())?;
                Ok(Some(answer))
            }
            Err(error) if self.is_lenient => {
                self.ledger.fail(number, error.chain())?;
                Ok(None)
            }
            Err(error) => bail!("{operation:?} failed: {}", error.chain()),
        }
    }

    pub async fn put(&self, key: &str, content: &Content) -> Result<()> {
        let operation = Operation::Put { key: key.to_owned(), content: content.clone() };
        let storage = &self.store()?.storage;
        let (caller, file) = (admin()?, new_file(key)?);
        let work =
            async { storage.put(&caller, file, pieces(&content.bytes(), false)).await.map(|_| Answer::Done) };
        self.run(operation, work).await.map(drop)
    }

    /// A file of parts, each an upload that comes in two pieces.
    pub async fn join(&self, key: &str, parts: &[Content]) -> Result<()> {
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for (number, part) in parts.iter().enumerate() {
            let slot = format!("{key}.{number}");
            let Some(id) = self.open_part(&slot, part).await? else { return Ok(()) };
            for (from, to) in [(0, part.len() / 3), (part.len() / 3, part.len())] {
                if !self.append(&slot, id, part, from, to).await? {
                    return Ok(());
                }
            }
            ids.push(id);
        }
        let whole = Content(parts.iter().flat_map(|part| part.0.clone()).collect());
        for number in 0..parts.len() {
            ends.push(self.ledger.begin(Operation::End { slot: format!("{key}.{number}") })?);
        }
        let operation = Operation::Put { key: key.to_owned(), content: whole };
        let storage = &self.store()?.storage;
        let (caller, file) = (admin()?, new_file(key)?);
        let work = async {
            let joined = storage.join_uploads(&caller, file, ids).await?;
            storage.finish_upload(&caller, joined.id, Vec::new()).await.map(|_| Answer::Done)
        };
        if self.run(operation, work).await?.is_some() {
            for number in ends {
                self.ledger.answer(number, Answer::Done)?;
            }
        }
        Ok(())
    }

    /// An upload that becomes a file under the name of its slot only if whoever looks after a crash makes it one.
    async fn open_part(&self, slot: &str, part: &Content) -> Result<Option<UploadId>> {
        let operation =
            Operation::Open { slot: slot.to_owned(), key: slot.to_owned(), content: part.clone() };
        let storage = &self.store()?.storage;
        let (caller, bucket) = (admin()?, bucket()?);
        let work = async {
            let part = storage.start_part(&caller, bucket, Some(part.len())).await?;
            Ok(Answer::Opened(part.id.to_string()))
        };
        match self.run(operation, work).await? {
            Some(Answer::Opened(id)) => Ok(Some(UploadId::parse(&id)?)),
            _ => Ok(None),
        }
    }

    /// A client that goes away in the middle: nothing of it may show.
    pub async fn abandon(&self, key: &str, content: &Content) -> Result<()> {
        let operation = Operation::Other { what: format!("abandon {key}") };
        let storage = &self.store()?.storage;
        let (caller, file) = (admin()?, new_file(key)?);
        let work = async {
            let ended = storage.put(&caller, file, pieces(&content.bytes(), true)).await;
            Ok(if ended.is_ok() { Answer::NotThere } else { Answer::Done })
        };
        let answer = self.run(operation, work).await?;
        ensure!(answer == Some(Answer::Done), "a put whose content broke off was acknowledged");
        Ok(())
    }

    pub async fn label(&self, key: &str, mark: &str) -> Result<()> {
        let operation = Operation::Label { key: key.to_owned(), mark: mark.to_owned() };
        let storage = &self.store()?.storage;
        let caller = admin()?;
        let file = file_ref(key)?;
        let labels = BTreeMap::from([(LabelKey::parse("mark")?, Some(mark.to_owned()))]);
        let patch = FilePatch { labels, ..FilePatch::default() };
        let work = async {
            let file = storage.get_file(&caller, file, None).await?;
            storage.update_file(&caller, file.id, patch).await.map(|_| Answer::Done)
        };
        self.run(operation, work).await.map(drop)
    }

    pub async fn delete(&self, key: &str) -> Result<()> {
        let operation = Operation::Delete { key: key.to_owned() };
        let storage = &self.store()?.storage;
        let (caller, file) = (admin()?, file_ref(key)?);
        let work = async {
            match storage.delete_file(&caller, file, None).await {
                Ok(()) => Ok(Answer::Done),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Answer::NotThere),
                Err(error) => Err(error),
            }
        };
        self.run(operation, work).await.map(drop)
    }

    /// `None` when it could not be opened.
    pub async fn open_upload(&self, slot: &str, key: &str, content: &Content) -> Result<Option<UploadId>> {
        let operation =
            Operation::Open { slot: slot.to_owned(), key: key.to_owned(), content: content.clone() };
        let storage = &self.store()?.storage;
        let (caller, file) = (admin()?, new_file(key)?);
        let work = async {
            storage.start_upload(&caller, file).await.map(|upload| Answer::Opened(upload.id.to_string()))
        };
        match self.run(operation, work).await? {
            Some(Answer::Opened(id)) => Ok(Some(UploadId::parse(&id)?)),
            _ => Ok(None),
        }
    }

    pub async fn append(
        &self,
        slot: &str,
        id: UploadId,
        content: &Content,
        from: u64,
        to: u64,
    ) -> Result<bool> {
        let operation = Operation::Append { slot: slot.to_owned(), from, to };
        let storage = &self.store()?.storage;
        let caller = admin()?;
        let bytes = content.bytes();
        let part =
            bytes.get(usize::try_from(from)?..usize::try_from(to)?).context("a part of the content")?;
        let work = async {
            let append = AppendUpload { id, offset: from, size_bytes: None };
            let upload = storage.append(&caller, append, pieces(part, false)).await?;
            Ok(Answer::Received(upload.received_bytes))
        };
        Ok(self.run(operation, work).await?.is_some())
    }

    pub async fn finish(&self, slot: &str, id: UploadId) -> Result<()> {
        let operation = Operation::Finish { slot: slot.to_owned() };
        let storage = &self.store()?.storage;
        let caller = admin()?;
        let work = async { storage.finish_upload(&caller, id, Vec::new()).await.map(|_| Answer::Done) };
        self.run(operation, work).await.map(drop)
    }

    pub async fn end_upload(&self, slot: &str, id: UploadId) -> Result<()> {
        let operation = Operation::End { slot: slot.to_owned() };
        let storage = &self.store()?.storage;
        let caller = admin()?;
        let work = async { storage.terminate_upload(&caller, id).await.map(|()| Answer::Done) };
        self.run(operation, work).await.map(drop)
    }

    /// An upload from its opening to its end, in as many parts as there are offsets.
    pub async fn upload(&self, slot: &str, key: &str, content: &Content, cuts: &[u64]) -> Result<()> {
        let Some(id) = self.open_upload(slot, key, content).await? else { return Ok(()) };
        let mut from = 0;
        for to in cuts.iter().copied().chain([content.len()]) {
            if !self.append(slot, id, content, from, to).await? {
                return Ok(());
            }
            from = to;
        }
        self.finish(slot, id).await
    }

    pub async fn collect(&self) -> Result<()> {
        let operation = Operation::Other { what: "collect".to_owned() };
        let storage = &self.store()?.storage;
        let caller = admin()?;
        let work = async {
            match storage.collect(&caller, false).await {
                // Another one runs.
                Err(error) if error.kind() == ErrorKind::Locked => Ok(Answer::Done),
                ended => ended.map(|_| Answer::Done),
            }
        };
        self.run(operation, work).await.map(drop)
    }

    /// Takes the run of a file and reports that it succeeded.
    pub async fn process(&self, key: &str) -> Result<()> {
        let catalog = Arc::clone(&self.store()?.catalog);
        let file = file_ref(key)?;
        let now = Timestamp::from_unix_ms(START_MS);
        let act = || Act::duty("torture", now);
        let mut lease = None;
        let work = async {
            let file = catalog.file(&file, None).await?.file;
            let asked = ClaimRuns {
                count_max: 1,
                lease_until: now.plus_ms(30_000),
                bounds: Arc::default(),
                turn: Turn::default(),
            };
            // Of the few files that wait only this one is of a kind that has runs.
            let claimed = catalog
                .claim_runs(act(), asked)
                .await?
                .runs
                .into_iter()
                .find(|leased| leased.file.id == file.id);
            lease = claimed.map(|leased| (leased.run.id, leased.lease_no));
            Ok(Answer::Done)
        };
        self.run(Operation::Claim { key: key.to_owned() }, work).await?;
        let Some((run, lease_no)) = lease else { return Ok(()) };
        let step = StepReport {
            name: "digest".to_owned(),
            state: StepState::Succeeded,
            percent: 100,
            error: None,
            began_ms_ago: Some(2),
            ended_ms_ago: Some(1),
            report: Some(serde_json::json!({ "sum": key })),
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        let report = RunReport { run, lease_no, steps: vec![step], outcome: Some(RunOutcome::Succeeded) };
        let said = ReportRun { report, lease_until: now, jitter: 1.0 };
        let catalog = &self.store()?.catalog;
        let work = async {
            let told = catalog.report_run(act(), said).await?;
            Ok(if told == ReportOutcome::Lost { Answer::NotThere } else { Answer::Done })
        };
        let told = self.run(Operation::Report { key: key.to_owned() }, work).await?;
        ensure!(told != Some(Answer::NotThere), "a worker lost a lease that nobody else had");
        Ok(())
    }

    /// What was put is read back at once.
    pub async fn read(&self, key: &str, content: &Content) -> Result<()> {
        match self.store()?.read(key, None).await {
            Ok(bytes) => ensure!(bytes == content.bytes(), "{key} reads back as something else"),
            Err(error) if self.is_lenient => drop(error),
            Err(error) => bail!("{key} cannot be read: {}", error.chain()),
        }
        Ok(())
    }
}

fn new_file(key: &str) -> usp_model::Result<NewFile> {
    Ok(NewFile::at(bucket()?, FileKey::parse(key)?))
}

/// The bytes as a client sends them; one that breaks off ends with an error.
fn pieces(bytes: &[u8], breaks_off: bool) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(PIECE_BYTES).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let gone = || usp_model::Error::new(ErrorKind::Unavailable, "receive content");
    stream::iter(pieces).chain(stream::iter(breaks_off.then(|| Err(gone())))).boxed()
}

fn stop_after_fault() -> OnFault {
    Arc::new(|_fault| std::process::exit(EXIT_FAULT))
}
