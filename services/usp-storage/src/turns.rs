//! One request at a time writes to an upload.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use usp_model::{Error, ErrorKind, Result, UploadId};

/// The uploads that are written to right now. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashSet<UploadId>>>);

impl Turns {
    /// Errors: `Locked` while another request has the turn.
    pub(super) fn take(&self, id: UploadId) -> Result<Turn> {
        if self.0.lock().insert(id) {
            Ok(Turn { turns: self.clone(), id })
        } else {
            Err(Error::new(ErrorKind::Locked, "append to upload")
                .because("another request is writing to this upload; wait for it, then ask for the offset")
                .retry_after(Duration::from_secs(1)))
        }
    }

    /// The uploads whose turn is taken: bytes arrive in them, so they do not expire.
    pub(crate) fn taken(&self) -> HashSet<UploadId> {
        self.0.lock().clone()
    }
}

/// The right to change one upload, until it is dropped. It is taken before the upload is looked at: what a request saw
/// without it may be over by the time it writes.
pub(super) struct Turn {
    turns: Turns,
    id: UploadId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().remove(&self.id);
    }
}
