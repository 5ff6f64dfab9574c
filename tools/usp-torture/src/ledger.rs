//! What a process was promised, on a disk that is not under test.
//!
//! A line stands for the beginning of an operation or for its answer, and is written in one call before anything else
//! happens. Whatever a crash leaves of the ledger says which operations had been acknowledged, and which were on their way.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::content::Content;

/// One thing that is asked of the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    Put {
        key: String,
        content: Content,
    },
    /// Sets the label `mark` of the file.
    Label {
        key: String,
        mark: String,
    },
    Delete {
        key: String,
    },
    /// Opens a resumable upload that will have `content`.
    Open {
        slot: String,
        key: String,
        content: Content,
    },
    /// Appends what lies between two offsets.
    Append {
        slot: String,
        from: u64,
        to: u64,
    },
    Finish {
        slot: String,
    },
    End {
        slot: String,
    },
    /// A worker takes the only run of the file.
    Claim {
        key: String,
    },
    /// It reports success under the number it was given.
    Report {
        key: String,
    },
    /// Something whose outcome the contents do not show: a collection, a start.
    Other {
        what: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    /// There was nothing to delete.
    NotThere,
    /// The id of an upload.
    Opened(String),
    /// How far an upload has come.
    Received(u64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Line {
    Began {
        number: u64,
        operation: Operation,
    },
    Answered {
        number: u64,
        answer: Answer,
    },
    /// The outcome is unknown.
    Failed {
        number: u64,
        error: String,
    },
    /// How a key stands, established by looking: what was known of it before counts no more.
    Stands {
        key: String,
        file: Option<FileFacts>,
    },
}

/// Appends to the file; everything before is kept.
#[derive(Debug)]
pub struct Ledger {
    file: Mutex<File>,
    next: AtomicU64,
}

impl Ledger {
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("open the ledger {}", path.display()))?;
        let next = file.metadata()?.len() << 20;
        Ok(Self { file: Mutex::new(file), next: AtomicU64::new(next) })
    }

    pub fn begin(&self, operation: Operation) -> Result<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.write(&Line::Began { number, operation })?;
        Ok(number)
    }

    pub fn answer(&self, number: u64, answer: Answer) -> Result<()> {
        self.write(&Line::Answered { number, answer })
    }

    pub fn fail(&self, number: u64, error: String) -> Result<()> {
        self.write(&Line::Failed { number, error })
    }

    /// Replaces a ledger by what a check established, so that it does not grow without end.
    pub fn settle(path: &Path, files: &BTreeMap<String, FileFacts>) -> Result<()> {
        std::fs::remove_file(path)?;
        let ledger = Self::open(path)?;
        for (key, file) in files {
            ledger.write(&Line::Stands { key: key.clone(), file: Some(file.clone()) })?;
        }
        Ok(())
    }

    fn write(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(file.write_all(&text)?)
    }
}

/// What is expected of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    pub content: Content,
    pub mark: Option<String>,
}

/// What is expected of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadFacts {
    pub key: String,
    pub content: Content,
    /// `None` until its opening was acknowledged.
    pub id: Option<String>,
    /// Acknowledged offset.
    pub received: u64,
    /// The furthest that was ever sent.
    pub sent: u64,
    pub end: UploadEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadEnd {
    Open,
    /// Asked for, not acknowledged.
    MaybeFinished,
    MaybeEnded,
    Finished,
    Ended,
}

/// What a run must have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunFacts {
    pub is_claimed: bool,
    pub may_have_succeeded: bool,
    pub has_succeeded: bool,
}

/// All that a ledger allows.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Every state that each key may be in. One: it is certain.
    pub files: BTreeMap<String, Vec<Option<FileFacts>>>,
    pub uploads: BTreeMap<String, UploadFacts>,
    pub runs: BTreeMap<String, RunFacts>,
    /// Operations that were acknowledged.
    pub answered: u64,
}

impl Expected {
    /// Shape: a last line without its end is left out.
    pub fn read(ledger: &[u8]) -> Result<Self> {
        let mut expected = Self::default();
        let mut under_way = BTreeMap::new();
        let whole = ledger.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let whole = ledger.get(..whole).unwrap_or_default();
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line).context("read a line of the ledger")? {
                Line::Began { number, operation } => {
                    expected.begin(&operation)?;
                    under_way.insert(number, operation);
                }
                Line::Answered { number, answer } => {
                    let operation = under_way.remove(&number).context("an answer without a question")?;
                    expected.settle(&operation, &answer)?;
                    expected.answered += 1;
                }
                Line::Failed { number, .. } => drop(under_way.remove(&number)),
                Line::Stands { key, file } => drop(expected.files.insert(key, vec![file])),
            }
        }
        Ok(expected)
    }

    fn states(&mut self, key: &str) -> &mut Vec<Option<FileFacts>> {
        self.files.entry(key.to_owned()).or_insert_with(|| vec![None])
    }

    fn allow(&mut self, key: &str, state: Option<FileFacts>) {
        let states = self.states(key);
        if !states.contains(&state) {
            states.push(state);
        }
    }

    fn upload(&mut self, slot: &str) -> Result<&mut UploadFacts> {
        self.uploads.get_mut(slot).with_context(|| format!("the ledger never opened the upload {slot}"))
    }

    /// From now on it may have happened.
    fn begin(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Put { key, content } => {
                // A new version has no labels of its own until somebody sets them.
                self.allow(key, Some(FileFacts { content: content.clone(), mark: None }));
            }
            Operation::Label { key, mark } => {
                for facts in self.states(key).clone().into_iter().flatten() {
                    self.allow(key, Some(FileFacts { mark: Some(mark.clone()), ..facts }));
                }
            }
            Operation::Delete { key } => self.allow(key, None),
            Operation::Open { slot, key, content } => {
                let upload = UploadFacts {
                    key: key.clone(),
                    content: content.clone(),
                    id: None,
                    received: 0,
                    sent: 0,
                    end: UploadEnd::Open,
                };
                self.uploads.insert(slot.clone(), upload);
            }
            Operation::Append { slot, to, .. } => {
                let upload = self.upload(slot)?;
                upload.sent = upload.sent.max(*to);
            }
            Operation::Finish { slot } => {
                let upload = self.upload(slot)?;
                upload.end = UploadEnd::MaybeFinished;
                let (key, content) = (upload.key.clone(), upload.content.clone());
                self.allow(&key, Some(FileFacts { content, mark: None }));
            }
            Operation::End { slot } => self.upload(slot)?.end = UploadEnd::MaybeEnded,
            Operation::Report { key } => self.runs.entry(key.clone()).or_default().may_have_succeeded = true,
            Operation::Claim { .. } | Operation::Other { .. } => {}
        }
        Ok(())
    }

    /// It has happened.
    fn settle(&mut self, operation: &Operation, answer: &Answer) -> Result<()> {
        match (operation, answer) {
            (Operation::Put { key, content }, _) => {
                *self.states(key) = vec![Some(FileFacts { content: content.clone(), mark: None })];
            }
            (Operation::Label { key, mark }, _) => {
                let labelled = |facts: &mut Option<FileFacts>| {
                    facts.as_mut().is_some_and(|facts| {
                        facts.mark = Some(mark.clone());
                        true
                    })
                };
                let states = self.states(key);
                states.retain_mut(labelled);
                states.dedup();
                ensure!(!states.is_empty(), "{key} was given a label and cannot have been there");
            }
            (Operation::Delete { key }, answer) => {
                let states = self.states(key);
                let may_be_absent = *answer == Answer::Done || states.iter().any(Option::is_none);
                ensure!(may_be_absent, "{key} was acknowledged, and a delete did not find it");
                *states = vec![None];
            }
            (Operation::Open { slot, .. }, Answer::Opened(id)) => self.upload(slot)?.id = Some(id.clone()),
            (Operation::Append { slot, .. }, Answer::Received(offset)) => {
                let upload = self.upload(slot)?;
                ensure!(*offset >= upload.received, "the offset of {slot} fell to {offset}");
                upload.received = *offset;
            }
            (Operation::Finish { slot }, _) => {
                let upload = self.upload(slot)?;
                upload.end = UploadEnd::Finished;
                let (key, content) = (upload.key.clone(), upload.content.clone());
                *self.states(&key) = vec![Some(FileFacts { content, mark: None })];
            }
            (Operation::End { slot }, _) => self.upload(slot)?.end = UploadEnd::Ended,
            (Operation::Claim { key }, _) => self.runs.entry(key.clone()).or_default().is_claimed = true,
            (Operation::Report { key }, _) => self.runs.entry(key.clone()).or_default().has_succeeded = true,
            (Operation::Other { .. }, _) => {}
            (operation, answer) => bail!("{operation:?} was answered with {answer:?}"),
        }
        Ok(())
    }
}
