//! Pins: who is about to commit references to frames of a pack holds one, so that the pack is not doomed meanwhile.
//!
//! A pin is taken when a frame is found or appended and given up after the commit. A pack that is condemned gives no pins,
//! so its chunks are misses, and a pack that is pinned cannot be condemned. One process writes to a store, so memory is
//! the right place for this; the catalogue refuses rows in a doomed pack all the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use usp_model::PackId;

use super::{Entries, Pending};

/// Keeps one pack from being condemned until it is dropped.
pub(crate) struct Pin {
    pending: Arc<Pending>,
    pack: PackId,
}

impl Pin {
    /// `None` for a condemned pack.
    pub(super) fn take(pending: &Arc<Pending>, entries: &mut Entries, pack: PackId) -> Option<Self> {
        if entries.condemned.contains(&pack) {
            return None;
        }
        *entries.pinned.entry(pack).or_default() += 1;
        Some(Self { pending: Arc::clone(pending), pack })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut entries = self.pending.entries.lock();
        if let Some(count) = entries.pinned.get_mut(&self.pack) {
            *count -= 1;
            if *count == 0 {
                entries.pinned.remove(&self.pack);
            }
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.pack)
    }
}

/// Keeps the packs of chunks that are about to be committed from being doomed. Hold it until the commit has answered;
/// without it the commit may be refused as `Unavailable`, never be wrong.
#[derive(Debug, Clone, Default)]
pub struct PackPins(BTreeMap<PackId, Arc<Pin>>);

impl PackPins {
    /// Pins the pack unless it is pinned already. `false`: it is condemned, and what stands in it must not be used.
    pub(crate) fn hold(&mut self, pending: &Arc<Pending>, pack: PackId) -> bool {
        if self.0.contains_key(&pack) {
            return true;
        }
        if usp_rt::is_planted("forgotten-pin") {
            return true;
        }
        let pin = Pin::take(pending, &mut pending.entries.lock(), pack);
        pin.map(|pin| self.keep(pin)).is_some()
    }

    pub(crate) fn keep(&mut self, pin: Pin) {
        self.0.entry(pin.pack).or_insert_with(|| Arc::new(pin));
    }

    /// Holds what `other` held as well.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Pins say how long packs must stay, not what was stored: batches compare without them.
impl PartialEq for PackPins {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for PackPins {}

impl Pending {
    /// From here on no frame of the pack is offered or referred to. `false` while someone is about to.
    pub(crate) fn condemn(&self, pack: PackId) -> bool {
        let mut entries = self.entries.lock();
        if entries.pinned.contains_key(&pack) {
            return false;
        }
        entries.condemned.insert(pack);
        entries.placed.retain(|_, place| place.pack != pack);
        true
    }

    /// The pack is not doomed after all.
    pub(crate) fn acquit(&self, pack: PackId) {
        self.entries.lock().condemned.remove(&pack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: PackId = PackId(7);

    #[test]
    fn a_pinned_pack_is_not_condemned_and_a_condemned_one_not_pinned() {
        let pending = Arc::new(Pending::default());
        let mut pins = PackPins::default();
        assert!(pins.hold(&pending, PACK) && pins.hold(&pending, PACK));
        let same = pins.clone();
        drop(pins);
        assert!(!pending.condemn(PACK), "a clone holds it too");
        drop(same);
        assert!(pending.condemn(PACK));
        assert!(!PackPins::default().hold(&pending, PACK));
        pending.acquit(PACK);
        assert!(PackPins::default().hold(&pending, PACK));
    }
}
