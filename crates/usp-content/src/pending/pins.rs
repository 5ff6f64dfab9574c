//! Pins: held on a pack while references to its frames are about to be committed, so that it is not doomed meanwhile.
//!
//! A pin is taken when a frame is found or appended and dropped after the commit. A blocked pack cannot be pinned, so its
//! chunks are misses, and a pinned pack cannot be blocked. One process writes to a store, so memory is the right place for
//! this; the catalogue refuses rows in a doomed pack all the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use usp_model::PackId;

use super::{Entries, Pending};

/// Keeps one pack from being blocked until it is dropped.
pub(crate) struct Pin {
    pending: Arc<Pending>,
    pack: PackId,
}

impl Pin {
    /// `None` for a blocked pack.
    pub(super) fn take(pending: &Arc<Pending>, entries: &mut Entries, pack: PackId) -> Option<Self> {
        if entries.blocked.contains(&pack) {
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
    /// Pins the pack unless it is pinned already. `false`: it is blocked, and its frames must not be used.
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
    /// From here on the pack cannot be pinned, and none of its frames is offered. `false` while it is pinned.
    pub(crate) fn block_references(&self, pack: PackId) -> bool {
        let mut entries = self.entries.lock();
        if entries.pinned.contains_key(&pack) {
            return false;
        }
        entries.blocked.insert(pack);
        entries.placed.retain(|_, place| place.pack != pack);
        true
    }

    /// Undoes `block_references`.
    pub(crate) fn allow_references(&self, pack: PackId) {
        self.entries.lock().blocked.remove(&pack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: PackId = PackId(7);

    #[test]
    fn a_pinned_pack_is_not_blocked_and_a_blocked_one_not_pinned() {
        let pending = Arc::new(Pending::default());
        let mut pins = PackPins::default();
        assert!(pins.hold(&pending, PACK) && pins.hold(&pending, PACK));
        let same = pins.clone();
        drop(pins);
        assert!(!pending.block_references(PACK), "a clone holds it too");
        drop(same);
        assert!(pending.block_references(PACK));
        assert!(!PackPins::default().hold(&pending, PACK));
        pending.allow_references(PACK);
        assert!(PackPins::default().hold(&pending, PACK));
    }
}
