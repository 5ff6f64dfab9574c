//! The content of a file, read in pieces, counted, and stoppable.

use std::io::{ErrorKind, Read};

use crate::bounds::PIECE_BYTES;
use crate::{Progress, StepError};

/// Hands out the content in pieces of up to 256 KiB; the first one can be looked at beforehand.
pub(crate) struct Source<'a> {
    content: &'a mut dyn Read,
    progress: &'a dyn Progress,
    piece: Vec<u8>,
    filled: usize,
    /// The piece was looked at, but not yet handed out.
    held: bool,
    ended: bool,
    read_bytes: u64,
    told_bytes: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(content: &'a mut dyn Read, progress: &'a dyn Progress) -> Self {
        let piece = vec![0; PIECE_BYTES];
        Self { content, progress, piece, filled: 0, held: false, ended: false, read_bytes: 0, told_bytes: 0 }
    }

    /// The first piece, which `next` will hand out again. Only for use before the first `next`.
    pub(crate) fn head(&mut self) -> Result<&[u8], StepError> {
        if !self.held {
            self.fill()?;
            self.held = true;
        }
        Ok(self.piece.get(..self.filled).unwrap_or_default())
    }

    /// The next piece: full, unless it is the last. Empty at the end.
    pub(crate) fn next(&mut self) -> Result<&[u8], StepError> {
        if !self.held {
            self.fill()?;
        }
        self.held = false;
        Ok(self.piece.get(..self.filled).unwrap_or_default())
    }

    /// Whether the content ended with the piece handed out last.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    fn fill(&mut self) -> Result<(), StepError> {
        self.filled = 0;
        while !self.ended {
            if self.progress.is_cancelled() {
                return Err(StepError::Cancelled);
            }
            let Some(room) = self.piece.get_mut(self.filled..).filter(|room| !room.is_empty()) else { break };
            match self.content.read(room) {
                Ok(0) => self.ended = true,
                // A reader that claims more than it was given room for must not push us over the end.
                Ok(count) => self.filled = (self.filled + count).min(PIECE_BYTES),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let at = self.read_bytes + self.filled as u64;
                    return Err(StepError::Temporary(format!(
                        "reading the content failed at byte {at}: {error}"
                    )));
                }
            }
        }
        self.read_bytes += self.filled as u64;
        if self.read_bytes != self.told_bytes {
            self.told_bytes = self.read_bytes;
            self.progress.bytes_read(self.read_bytes);
        }
        Ok(())
    }
}
