//! The worker process: steps over standard input and output, under bounds that it sets for itself.
//!
//! 1. It gives up memory beyond its bound, files, sockets and other programs (confine.rs).
//! 2. It reads orders until its input ends, and answers each (frame.rs).
//! 3. A step that panics is told of, and the process ends: what the step left behind is nobody's. A step that aborts,
//!    takes too much memory or too much processor time ends the process without a word, and the processor reads the
//!    reason from how it ended.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use usp_steps::{Progress, StepError, StepOutput};

use super::Order;
use super::frame::{self, Kind};

/// Serves orders until the input ends. Errors: a step panicked, or the other side does not keep to the protocol.
pub fn serve_steps(mut input: impl Read, output: impl Write) -> io::Result<()> {
    let output = RefCell::new(output);
    let mut body = Vec::new();
    loop {
        match frame::read(&mut input, &mut body)? {
            None => return Ok(()),
            Some(Kind::Begin) => {}
            Some(other) => return Err(out_of_turn(other)),
        }
        let order = frame::decode_order(&body)?;
        let mut content = Pieces { input: &mut input, piece: Vec::new(), at: 0, has_ended: false };
        let ran = catch_unwind(AssertUnwindSafe(|| run(&order, &mut content, &PipeProgress(&output))));
        let mut out = output.borrow_mut();
        match ran {
            Ok(answer) => {
                let (kind, body) = frame::encode_answer(answer)?;
                frame::write(&mut *out, kind, &body)?;
                out.flush()?;
            }
            Err(panic) => {
                frame::write(&mut *out, Kind::Panicked, text_of(panic.as_ref()).as_bytes())?;
                out.flush()?;
                return Err(io::Error::other("a step panicked"));
            }
        }
        drop(out);
        content.pass_over()?;
    }
}

fn run(order: &Order, content: &mut dyn Read, progress: &dyn Progress) -> Result<StepOutput, StepError> {
    allow_processor_time(order.timeout_s)?;
    let built = usp_steps::build(&order.uses, &order.with);
    built.map_err(|error| StepError::Permanent(error.detail()))?.run(&order.facts, content, progress)
}

/// The process serves many steps, so each is counted from what was used before.
fn allow_processor_time(more_s: u64) -> Result<(), StepError> {
    let used_s = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = used_s.saturating_add(more_s).saturating_add(1);
    let current = maximum.map_or(current, |maximum| current.min(maximum));
    setrlimit(Resource::Cpu, Rlimit { current: Some(current), maximum })
        .map_err(|error| StepError::Temporary(format!("the processor time could not be bounded: {error}")))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn out_of_turn(kind: Kind) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame {kind:?} out of turn"))
}

/// The content as it comes through the pipe.
struct Pieces<'a, R> {
    input: &'a mut R,
    piece: Vec<u8>,
    at: usize,
    has_ended: bool,
}

impl<R: Read> Pieces<'_, R> {
    /// Takes the next piece; nothing more comes once the content has ended.
    fn next(&mut self) -> io::Result<()> {
        self.at = 0;
        let kind = frame::read(self.input, &mut self.piece)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match kind {
            Kind::Piece => Ok(()),
            Kind::End => {
                self.has_ended = true;
                self.piece.clear();
                Ok(())
            }
            Kind::Broken => {
                self.has_ended = true;
                let reason = String::from_utf8_lossy(&self.piece).into_owned();
                self.piece.clear();
                Err(io::Error::other(reason))
            }
            other => Err(out_of_turn(other)),
        }
    }

    /// Leaves the input behind the content, where the next order begins.
    fn pass_over(mut self) -> io::Result<()> {
        while !self.has_ended {
            match self.next() {
                // The content was broken, which nobody wants to know any more.
                Err(_) if self.has_ended => {}
                other => other?,
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Pieces<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.piece.len() && !self.has_ended {
            self.next()?;
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

/// Tells the processor how far the step has read. The processor ends this process when the step is to stop.
struct PipeProgress<'a, W>(&'a RefCell<W>);

impl<W: Write> Progress for PipeProgress<'_, W> {
    fn bytes_read(&self, total: u64) {
        let mut out = self.0.borrow_mut();
        // Without a reader the step's next read fails, or its answer does.
        let _unheard = frame::write(&mut *out, Kind::Read, &total.to_le_bytes()).and_then(|()| out.flush());
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use usp_steps::FileFacts;

    use super::*;

    fn order(uses: &str) -> Order {
        Order { uses: uses.to_owned(), with: BTreeMap::new(), facts: FileFacts::default(), timeout_s: 60 }
    }

    /// What the worker says to these frames.
    fn answers(frames: &[(Kind, &[u8])]) -> (io::Result<()>, Vec<(Kind, Vec<u8>)>) {
        let mut input = Vec::new();
        for (kind, body) in frames {
            frame::write(&mut input, *kind, body).unwrap();
        }
        let mut output = Vec::new();
        let served = serve_steps(input.as_slice(), &mut output);
        let (mut rest, mut body, mut found) = (output.as_slice(), Vec::new(), Vec::new());
        while let Some(kind) = frame::read(&mut rest, &mut body).unwrap() {
            found.push((kind, body.clone()));
        }
        (served, found)
    }

    fn end(found: &[(Kind, Vec<u8>)]) -> Vec<&(Kind, Vec<u8>)> {
        found.iter().filter(|(kind, _)| *kind != Kind::Read).collect()
    }

    #[test]
    fn a_worker_serves_one_order_after_the_other() {
        let digest = frame::encode_order(&order("digest")).unwrap();
        let frames = [
            (Kind::Begin, digest.as_slice()),
            (Kind::Piece, b"ab"),
            (Kind::Piece, b"c"),
            (Kind::End, b""),
            (Kind::Begin, &digest),
            (Kind::Piece, b"abc"),
            (Kind::End, b""),
        ];
        let (served, found) = answers(&frames);
        served.unwrap();
        let ends = end(&found);
        assert_eq!((ends.len(), ends[0].0), (2, Kind::Output));
        assert_eq!(ends[0], ends[1], "the same content makes the same report, however it is cut");
        assert!(frame::decode_output(&ends[0].1).unwrap().report.unwrap()["sha256"].is_string());
    }

    #[test]
    fn content_that_a_step_leaves_unread_is_passed_over() {
        let (unknown, digest) = (frame::encode_order(&order("none")), frame::encode_order(&order("digest")));
        let (unknown, digest) = (unknown.unwrap(), digest.unwrap());
        let frames = [
            (Kind::Begin, unknown.as_slice()),
            (Kind::Piece, b"left"),
            (Kind::Broken, b"and broken"),
            (Kind::Begin, &digest),
            (Kind::End, b""),
        ];
        let (served, found) = answers(&frames);
        served.unwrap();
        let kinds: Vec<Kind> = end(&found).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Failed, Kind::Output]);
        assert!(matches!(frame::decode_failed(&found[0].1).unwrap(), StepError::Permanent(_)));
    }

    #[test]
    fn a_content_that_breaks_off_is_worth_another_attempt() {
        let digest = frame::encode_order(&order("digest")).unwrap();
        let frames =
            [(Kind::Begin, digest.as_slice()), (Kind::Piece, b"ab"), (Kind::Broken, b"the disk is gone")];
        let (served, found) = answers(&frames);
        served.unwrap();
        let StepError::Temporary(reason) = frame::decode_failed(&end(&found)[0].1).unwrap() else { panic!() };
        assert!(reason.contains("the disk is gone"), "{reason}");
        // A pipe that ends instead is a fault of the other side.
        assert!(answers(&frames[..2]).0.is_err());
    }
}
