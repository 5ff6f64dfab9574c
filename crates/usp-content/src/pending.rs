//! Frames that were appended but that the index may not know yet, so that streams that bring the same bytes at the
//! same time store them once.
//!
//! A stream that misses a chunk in the index claims its digest here. The first to claim it stores it; the others wait
//! for that and use its frame, or claim again if the first gave up. A stream appends what it claimed before it waits
//! for others, so no two wait for each other.
//!
//! An entry is a hint like every other hit. The commit makes sure that the pack is still there.
//!
//! References that are about to be committed to a pack and its deletion exclude each other here, too: the first hold a pin on
//! it, the second blocks new pins, and neither begins while the other lasts ([`pins`]).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;
use usp_model::{Digest, FramePlace, PackId};

#[cfg(test)]
use crate::schedules::Mutex;
#[cfg(not(test))]
use parking_lot::Mutex;

mod pins;

pub use pins::PackPins;
pub(crate) use pins::Pin;

/// Remembered frames. At 40 KiB a chunk they stand for 2.5 GiB of new content; the index knows older ones by then.
const PLACED_COUNT_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    claimed: HashMap<Digest, watch::Receiver<()>>,
    placed: HashMap<Digest, FramePlace>,
    /// Digests of `placed`, oldest first; may name some that are gone.
    order: VecDeque<Digest>,
    /// Packs that failed or were erased: a frame that was appended just before is not offered to others.
    gone: HashSet<PackId>,
    /// How many pins hold each pack.
    pinned: HashMap<PackId, usize>,
    /// Packs that are doomed or about to be: none of their frames is offered or referred to.
    blocked: HashSet<PackId>,
}

/// Whose task it is to store a chunk.
#[derive(Debug)]
pub(crate) enum Claimed {
    Ours(Claim),
    Placed(FramePlace, Pin),
    Theirs(Wait),
}

/// The task of storing a chunk. Dropped without `settle`, the next who claims the chunk gets it.
#[derive(Debug)]
pub(crate) struct Claim {
    pending: Arc<Pending>,
    digest: Digest,
    _ends_waits: watch::Sender<()>,
}

/// Ends when the claim of another has ended.
#[derive(Debug)]
pub(crate) struct Wait(watch::Receiver<()>);

impl Pending {
    pub(crate) fn claim(self: &Arc<Self>, digest: Digest) -> Claimed {
        let mut entries = self.entries.lock();
        if let Some(&place) = entries.placed.get(&digest)
            && let Some(pin) = Pin::take(self, &mut entries, place.pack)
        {
            return Claimed::Placed(place, pin);
        }
        if let Some(receiver) = entries.claimed.get(&digest) {
            return Claimed::Theirs(Wait(receiver.clone()));
        }
        let (sender, receiver) = watch::channel(());
        entries.claimed.insert(digest, receiver);
        Claimed::Ours(Claim { pending: Arc::clone(self), digest, _ends_waits: sender })
    }

    /// Forgets where the chunk stands: its frame failed a check.
    pub(crate) fn forget(&self, digest: &Digest) {
        self.entries.lock().placed.remove(digest);
    }

    /// Forgets the frames of a pack that failed or is erased, and those of it that are yet to be settled.
    pub(crate) fn forget_pack(&self, pack: PackId) {
        let mut entries = self.entries.lock();
        entries.gone.insert(pack);
        entries.placed.retain(|_, place| place.pack != pack);
    }
}

impl Claim {
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn settle(self, place: FramePlace) {
        let mut entries = self.pending.entries.lock();
        if entries.gone.contains(&place.pack) || entries.blocked.contains(&place.pack) {
            return;
        }
        if entries.placed.insert(self.digest, place).is_none() {
            entries.order.push_back(self.digest);
        }
        while entries.order.len() > PLACED_COUNT_MAX {
            if let Some(oldest) = entries.order.pop_front() {
                entries.placed.remove(&oldest);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.pending.entries.lock().claimed.remove(&self.digest);
    }
}

impl Wait {
    pub(crate) async fn ended(mut self) {
        // Nothing is ever sent: the channel closes with the claim.
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u32) -> Digest {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        Digest::from_bytes(bytes)
    }

    fn ours(pending: &Arc<Pending>, n: u32) -> Claim {
        match pending.claim(digest(n)) {
            Claimed::Ours(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    const PLACE: FramePlace = FramePlace { pack: PackId(1), offset: 64, stored_bytes: 100 };

    #[tokio::test]
    async fn the_second_to_ask_waits_for_the_first_and_uses_its_frame() {
        let pending = Arc::new(Pending::default());
        let claim = ours(&pending, 1);
        let Claimed::Theirs(wait) = pending.claim(digest(1)) else { panic!("not claimed") };
        claim.settle(PLACE);
        wait.ended().await;
        assert!(matches!(pending.claim(digest(1)), Claimed::Placed(place, _) if place == PLACE));
    }

    #[tokio::test]
    async fn a_claim_that_was_given_up_is_free_for_the_next() {
        let pending = Arc::new(Pending::default());
        let claim = ours(&pending, 1);
        let Claimed::Theirs(wait) = pending.claim(digest(1)) else { panic!("not claimed") };
        drop(claim);
        wait.ended().await;
        drop(ours(&pending, 1));
    }

    #[test]
    fn frames_of_a_lost_pack_are_forgotten() {
        let pending = Arc::new(Pending::default());
        ours(&pending, 1).settle(PLACE);
        let claim = ours(&pending, 2);
        pending.forget_pack(PLACE.pack);
        claim.settle(PLACE);
        drop((ours(&pending, 1), ours(&pending, 2)));
    }

    #[test]
    fn the_oldest_frames_make_room() {
        let pending = Arc::new(Pending::default());
        let count = u32::try_from(PLACED_COUNT_MAX).unwrap() + 10;
        for n in 0..count {
            ours(&pending, n).settle(PLACE);
        }
        let entries = pending.entries.lock();
        assert_eq!(entries.placed.len(), PLACED_COUNT_MAX);
        assert!(!entries.placed.contains_key(&digest(9)) && entries.placed.contains_key(&digest(10)));
    }
}
