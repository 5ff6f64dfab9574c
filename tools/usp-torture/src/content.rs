//! Contents that a ledger can name in a few bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use usp_testkit::generate::Numbers;

/// Pieces one after the other, each named by a seed and its length: equal pieces are equal bytes, so that contents share
/// chunks as far as they share pieces. Pieces with an even seed do not shrink; those with an odd one do.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content(pub Vec<(u64, u32)>);

impl Content {
    pub fn of(seed: u64, len: u32) -> Self {
        Self(vec![(seed, len)])
    }

    /// Some pieces out of a small stock, so that contents share a good deal.
    pub fn draw(numbers: &mut Numbers) -> Self {
        let count = numbers.below(4);
        let piece = |numbers: &mut Numbers| {
            (numbers.below(12), 200 + u32::try_from(numbers.below(9_000)).unwrap_or(0))
        };
        let mut pieces: Vec<_> = (0..count).map(|_| piece(numbers)).collect();
        // Whole pieces of one length are what others have too.
        pieces.extend((0..numbers.below(3)).map(|_| (numbers.below(8), 6_000)));
        Self(pieces)
    }

    pub fn len(&self) -> u64 {
        self.0.iter().map(|(_, len)| u64::from(*len)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|&(seed, len)| piece(seed, len).to_vec()).collect()
    }
}

type Pieces = BTreeMap<(u64, u32), Arc<[u8]>>;

/// Pieces are wanted again and again: some are kept.
fn piece(seed: u64, len: u32) -> Arc<[u8]> {
    const KEPT_COUNT_MAX: usize = 4_096;
    static KEPT: Mutex<Pieces> = Mutex::new(Pieces::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(piece) = kept.get(&(seed, len)) {
        return Arc::clone(piece);
    }
    let bytes = usize::try_from(len).unwrap_or_default();
    let piece: Arc<[u8]> =
        if seed.is_multiple_of(2) { noise(seed, bytes) } else { lines(seed, bytes) }.into();
    if kept.len() < KEPT_COUNT_MAX {
        kept.insert((seed, len), Arc::clone(&piece));
    }
    piece
}

/// Bytes that do not shrink.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Text that shrinks to a third or so.
fn lines(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut text = Vec::with_capacity(len + 64);
    while text.len() < len {
        let (order, amount) = (numbers.below(100_000), numbers.below(1_000));
        text.extend_from_slice(format!("order {order} of customer {seed} over {amount} euro\n").as_bytes());
    }
    text.truncate(len);
    text
}
