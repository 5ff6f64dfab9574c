//! Frames of short contents, kept to be committed with their rows: such a commit waits for one sync instead of two.

use usp_model::{FramePlace, RedoFrame};

use crate::frame::Frame;

/// Stored bytes of one batch that may go this way. They are written three times, which for longer ones costs more than
/// the sync that it saves (docs/adr/0012-one-sync.md).
const BATCH_BYTES_MAX: usize = 20 << 10;

/// The frames that a batch needs to be durable, as long as they are few.
#[derive(Debug)]
pub(super) enum Redo {
    Frames(Vec<RedoFrame>),
    /// Too many bytes, or frames of others: their packs have to be synced.
    Sync,
}

impl Default for Redo {
    fn default() -> Self {
        Self::Frames(Vec::new())
    }
}

impl Redo {
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Frames(frames) => frames.iter().map(|frame| frame.bytes.len()).sum(),
            Self::Sync => 0,
        }
    }

    /// Whether frames of so many bytes together may still be added.
    pub(super) fn takes(&self, size_bytes: usize) -> bool {
        matches!(self, Self::Frames(_)) && self.size_bytes().saturating_add(size_bytes) <= BATCH_BYTES_MAX
    }

    /// Shape: `takes` said so.
    pub(super) fn add(&mut self, frame: &Frame, place: FramePlace) {
        if let Self::Frames(frames) = self {
            let mut bytes = frame.header.encode();
            bytes.extend_from_slice(&frame.payload);
            frames.push(RedoFrame { place, bytes });
        }
    }

    pub(super) fn append(&mut self, later: Self) {
        *self = match (std::mem::take(self), later) {
            (Self::Frames(mut frames), Self::Frames(mut more)) => {
                frames.append(&mut more);
                Self::Frames(frames)
            }
            _ => Self::Sync,
        };
        if self.size_bytes() > BATCH_BYTES_MAX {
            *self = Self::Sync;
        }
    }
}
