//! What the tests share: a file, a watcher, and a way to run a step.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;
use usp_steps::{FileFacts, Progress, Step, StepError, StepOutput};

/// Notes what it is told, and cancels after so many bytes.
#[derive(Default)]
pub(crate) struct Watcher {
    pub(crate) told: RefCell<Vec<u64>>,
    pub(crate) cancel_at: Cell<Option<u64>>,
}

impl Progress for Watcher {
    fn bytes_read(&self, total: u64) {
        self.told.borrow_mut().push(total);
    }

    fn is_cancelled(&self) -> bool {
        let read = self.told.borrow().last().copied().unwrap_or_default();
        self.cancel_at.get().is_some_and(|limit| read >= limit)
    }
}

pub(crate) fn parameters(with: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(with).unwrap()
}

pub(crate) fn step(uses: &str, with: Value) -> Box<dyn Step> {
    usp_steps::build(uses, &parameters(with)).unwrap()
}

pub(crate) fn file(key: &str) -> FileFacts {
    FileFacts { key: key.to_owned(), ..FileFacts::default() }
}

pub(crate) fn run(step: &dyn Step, key: &str, content: &mut dyn Read) -> Result<StepOutput, StepError> {
    step.run(&file(key), content, &Watcher::default())
}

/// The report of a step that must succeed.
pub(crate) fn report(uses: &str, with: Value, key: &str, mut content: &[u8]) -> Value {
    run(step(uses, with).as_ref(), key, &mut content).unwrap().report.unwrap()
}

/// Repeats a block until so many bytes have been read, as a file too large for memory would.
pub(crate) struct Repeated {
    pub(crate) block: Vec<u8>,
    pub(crate) offset: usize,
    pub(crate) left_bytes: u64,
}

impl Repeated {
    pub(crate) fn new(block: impl Into<Vec<u8>>, blocks: u64) -> Self {
        let block = block.into();
        let left_bytes = block.len() as u64 * blocks;
        Self { block, offset: 0, left_bytes }
    }
}

impl Read for Repeated {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let rest = self.block.get(self.offset..).unwrap_or_default();
        let count = rest.len().min(into.len()).min(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        let (room, _) = into.split_at_mut(count);
        room.copy_from_slice(rest.get(..count).unwrap_or_default());
        self.offset = (self.offset + count) % self.block.len();
        self.left_bytes -= count as u64;
        Ok(count)
    }
}
