//! All packs, wherever they lie: open ones in the place where they are written, sealed ones there too, or in a second place.
//!
//! Sealing, each step of which is taken after the one before it succeeded:
//!
//! 1. The row of the pack is `open` since before its first byte, so nothing lies in either place without a row. Fails: there
//!    is no pack.
//! 2. Footer and truncation, in the open place. No space: the pack stays open. Any other error: it is set aside and never
//!    put.
//! 3. Sync of the open place. Fails: never tried again, the pack is set aside.
//! 4. [`PackStore::hand_over`]: with one place nothing, the pack lies where it belongs. With two, the pack is put whole and
//!    only if its id is free. Fails, or the answer is lost: the length and the trailer in the sealed place tell (a HEAD and a
//!    ranged GET where that is remote). Both equal: it is there. Absent: it stays complete in the open place, where it is
//!    read, and the next pack that is complete, a request to seal it, or the next start tries again. Different: `Conflict`,
//!    and never overwritten; the pack stays in the open place until someone looks.
//! 5. The row becomes `sealed`. Fails: tried again like 4, which finds the pack in its place.
//! 6. [`PackStore::release`]: the open place lets go of its descriptor, and with two places of its copy. Fails: the copy
//!    stays, is read, and the next start deletes it.
//!
//! After a crash the row decides. `open`, and the sealed place has the pack: 4 ended, so what lies there is taken as it is,
//! if it holds every committed frame; nothing else is ever put under the id. `open`, and it has not: recovery cuts the pack
//! in the open place to its committed length and goes through 2 to 6. `sealed`, and both places have it: 6. With one place
//! only the second of these occurs.
//!
//! A read asks the open place first and goes on to the sealed one when the pack is not there. The pack is in the second
//! before it leaves the first, so a reader that meets step 6 finds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use usp_model::{ByteRange, Error, ErrorKind, PackId, Result};

use crate::pack::TRAILER_BYTES;
use crate::places::{OpenPacks, PackSource, SealedPacks};

/// Reads any pack by its id, whether it is open or sealed, and moves packs from one state to the other.
///
/// Shape: clones share the places. Errors of all calls: those of [`OpenPacks`].
#[derive(Debug, Clone)]
pub struct PackStore {
    open: Arc<dyn OpenPacks>,
    /// `None`: sealed packs stay where they were written.
    sealed: Option<Arc<dyn SealedPacks>>,
}

/// Which packs lie where. With one place all of them are in `open`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    pub(crate) open: BTreeSet<PackId>,
    pub(crate) sealed: BTreeSet<PackId>,
}

/// What scans need of a pack: its bytes.
pub(crate) trait ReadPacks: Sync {
    fn read(&self, pack: PackId, range: ByteRange) -> impl Future<Output = Result<Bytes>> + Send;
}

impl PackStore {
    /// Packs that stay where they are written. Sealing copies nothing.
    pub fn in_one_place(packs: Arc<dyn OpenPacks>) -> Self {
        Self { open: packs, sealed: None }
    }

    /// Packs that move to a second place once they are complete.
    ///
    /// Shape: the two share no pack; a place that implements both traits is no second place to itself.
    pub fn in_two_places(open: Arc<dyn OpenPacks>, sealed: Arc<dyn SealedPacks>) -> Self {
        Self { open, sealed: Some(sealed) }
    }

    /// Shape: exactly `range.len()` bytes. Errors: `NotFound`, `OutOfRange` when the pack ends before the range does.
    pub async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        match (self.open.read(pack, range).await, &self.sealed) {
            (Err(error), Some(sealed)) if error.kind() == ErrorKind::NotFound => {
                sealed.read(pack, range).await
            }
            (read, _) => read,
        }
    }

    /// Bytes of the pack. Errors: `NotFound`.
    pub async fn len(&self, pack: PackId) -> Result<u64> {
        match (self.open.len(pack).await, &self.sealed) {
            (Err(error), Some(sealed)) if error.kind() == ErrorKind::NotFound => sealed.len(pack).await,
            (len, _) => len,
        }
    }

    /// Every pack there is, in order of the ids.
    pub async fn list(&self) -> Result<Vec<PackId>> {
        let Listing { mut open, mut sealed } = self.listing().await?;
        open.append(&mut sealed);
        Ok(open.into_iter().collect())
    }

    /// What lies where packs are written and is none, by name.
    pub async fn strays(&self) -> Result<Vec<String>> {
        self.open.strays().await
    }

    pub(crate) async fn listing(&self) -> Result<Listing> {
        let open = self.open.list().await?.into_iter().collect();
        let sealed = match &self.sealed {
            Some(sealed) => sealed.list().await?.into_iter().collect(),
            None => BTreeSet::new(),
        };
        Ok(Listing { open, sealed })
    }

    /// Where packs are written.
    pub(crate) fn open(&self) -> &dyn OpenPacks {
        &*self.open
    }

    /// The second place, if there is one.
    pub(crate) fn sealed(&self) -> Option<&dyn SealedPacks> {
        self.sealed.as_deref()
    }

    /// Has the next read come from the medium.
    pub(crate) async fn drop_cache(&self, pack: PackId) -> Result<()> {
        match (self.open.drop_cache(pack).await, &self.sealed) {
            (Err(error), Some(sealed)) if error.kind() == ErrorKind::NotFound => {
                sealed.drop_cache(pack).await
            }
            (dropped, _) => dropped,
        }
    }

    /// Step 4: brings a complete and synced pack of `size_bytes` to where sealed packs lie. May be called again.
    ///
    /// Errors: `Conflict` when another pack lies there under its id, `StorageFull`, `Unavailable`; the pack stays in the
    /// open place.
    pub(crate) async fn hand_over(&self, pack: PackId, size_bytes: u64) -> Result<()> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        let source = PackSource::new(Arc::clone(&self.open), pack, size_bytes);
        let Err(refusal) = sealed.put(source.clone()).await else { return Ok(()) };
        match is_there(&**sealed, &source).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(ErrorKind::Conflict, "put pack")
                .about(pack)
                .because("another pack lies under its id where sealed packs are kept")
                .caused_by(refusal)),
            Err(_absent_or_unknown) => Err(refusal),
        }
    }

    /// Step 6: lets go of what the open place kept of a pack whose row is `sealed`.
    pub(crate) async fn release(&self, pack: PackId) {
        self.open.retire(pack).await;
        if self.sealed.is_some()
            && let Err(error) = self.open.delete(pack).await
        {
            tracing::warn!(pack.id = %pack, error = %error.chain(), "a copy of a sealed pack stays until the next start");
        }
    }

    /// Deletes the pack wherever it lies; an absent pack is no error.
    pub(crate) async fn delete(&self, pack: PackId) -> Result<()> {
        if let Some(sealed) = &self.sealed {
            sealed.delete(pack).await?;
        }
        self.open.delete(pack).await
    }
}

impl ReadPacks for PackStore {
    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        self.read(pack, range).await
    }
}

impl ReadPacks for dyn SealedPacks + '_ {
    async fn read(&self, pack: PackId, range: ByteRange) -> Result<Bytes> {
        SealedPacks::read(self, pack, range).await
    }
}

/// Whether `sealed` holds the pack of `source`. The trailer holds a checksum of the digests and places of all frames.
///
/// Errors: `NotFound` when it holds no pack of that id.
async fn is_there(sealed: &dyn SealedPacks, source: &PackSource) -> Result<bool> {
    let size_bytes = sealed.len(source.pack()).await?;
    if size_bytes != source.size_bytes() {
        return Ok(false);
    }
    let trailer = ByteRange::new(size_bytes.saturating_sub(TRAILER_BYTES as u64), size_bytes)?;
    Ok(SealedPacks::read(sealed, source.pack(), trailer).await? == source.read(trailer).await?)
}
