//! A step that does what its content says, to prove what keeps such steps from harming others. Feature `poison`: no
//! release has it (`cargo xtask arrows` looks for that).

use std::io::Read;

use serde_json::json;

use crate::source::Source;
use crate::{FileFacts, Progress, Step, StepError, StepOutput};

#[derive(Debug)]
pub(crate) struct Poison;

impl Step for Poison {
    fn run(
        &self,
        _file: &FileFacts,
        content: &mut dyn Read,
        progress: &dyn Progress,
    ) -> Result<StepOutput, StepError> {
        let mut source = Source::new(content, progress);
        match source.head()?.split(|byte| *byte == b'\n').next().unwrap_or_default() {
            b"poison: panic" => fall("the poison said so"),
            b"poison: abort" => abort(),
            b"poison: memory" => take_all_memory(),
            b"poison: loop" => loop {
                std::hint::spin_loop();
            },
            b"poison: stack" => Ok(StepOutput::of(json!({"depth": fall_deep(0)}))),
            _ => count(source),
        }
    }
}

fn count(mut source: Source<'_>) -> Result<StepOutput, StepError> {
    let mut bytes = 0;
    loop {
        let piece = source.next()?;
        if piece.is_empty() {
            return Ok(StepOutput::of(json!({"bytes": bytes})));
        }
        bytes += piece.len();
    }
}

#[expect(clippy::panic, reason = "it is what this step is for")]
fn fall(why: &str) -> ! {
    panic!("{why}")
}

/// A panic while a panic unwinds ends the process.
fn abort() -> ! {
    struct Twice;
    impl Drop for Twice {
        fn drop(&mut self) {
            fall("and again");
        }
    }
    let _twice = Twice;
    fall("once");
}

fn take_all_memory() -> ! {
    const PIECE_BYTES: usize = 8 << 20;
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; PIECE_BYTES]);
        std::hint::black_box(&hoard);
    }
}

#[expect(unconditional_recursion, reason = "it is what this step is for")]
fn fall_deep(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    fall_deep(depth + 1).wrapping_add(frame.iter().sum::<u64>())
}
