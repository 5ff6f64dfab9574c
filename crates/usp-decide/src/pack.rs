//! The life of a pack: `open → sealed → doomed → gone`, or `set aside`.
//!
//! A doomed pack is one that no row names. Its file is erased two cycles later at the earliest, so that whoever still holds
//! a place in it has long been answered (docs/adr/0010-collection.md).

use usp_model::{ByteRange, Error, ErrorKind, PackDamage, PackId, PackRecord, PackState, Result, Timestamp};

/// Epochs between the doom of a pack and the end of its file.
pub const ERASE_CYCLE_COUNT: i64 = 2;

/// Whether rows may come to name frames of the pack.
pub fn takes_rows(state: PackState) -> bool {
    match state {
        PackState::Open | PackState::Sealed | PackState::SetAside => true,
        PackState::Doomed => false,
    }
}

/// Whether frames of the pack that nobody holds a copy of can be relied on.
pub fn is_sound(state: PackState) -> bool {
    match state {
        PackState::Open | PackState::Sealed => true,
        PackState::SetAside | PackState::Doomed => false,
    }
}

/// Whether every frame of the pack is on the disk, so that what is kept to write them again can go.
pub fn is_synced(state: PackState) -> bool {
    match state {
        PackState::Sealed | PackState::Doomed => true,
        PackState::Open | PackState::SetAside => false,
    }
}

/// Whether frames that are kept to be written again have no place to go to: they are stored anew, elsewhere.
pub fn strands_frames(state: PackState) -> bool {
    match state {
        PackState::SetAside => true,
        PackState::Open | PackState::Sealed | PackState::Doomed => false,
    }
}

/// Ends appending at `size_bytes`. Idempotent.
///
/// Errors: `Conflict` when the pack has no row, was set aside, or holds more than that.
pub fn seal(pack: PackId, standing: Option<&PackRecord>, size_bytes: u64) -> Result<PackRecord> {
    match standing {
        Some(record)
            if matches!(record.state, PackState::Open | PackState::Sealed)
                && record.committed_bytes <= size_bytes =>
        {
            Ok(PackRecord { pack, state: PackState::Sealed, committed_bytes: size_bytes })
        }
        _ => {
            let reason = "the pack has no row, was set aside, or is longer than said";
            Err(Error::new(ErrorKind::Conflict, "seal pack").about(pack).because(reason))
        }
    }
}

/// The state of a pack that failed. A doomed one stays doomed: nothing in it is needed, so nothing of it is kept to be
/// looked at.
pub fn set_aside(state: PackState) -> PackState {
    match state {
        PackState::Doomed => PackState::Doomed,
        PackState::Open | PackState::Sealed | PackState::SetAside => PackState::SetAside,
    }
}

/// What a scrub of a pack comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// The pack is set aside, as [`set_aside`] has it.
    pub is_set_aside: bool,
    /// Chunks whose frames begin in one of these are doubted.
    pub doubted: Vec<ByteRange>,
}

/// What the damage that was found in a pack makes of it, and of its chunks. Without any, nothing changes.
pub fn scrubbed(damage: &[PackDamage]) -> Scrubbed {
    let doubted = damage.iter().map(|damage| ByteRange::at(damage.offset, damage.size_bytes)).collect();
    Scrubbed { is_set_aside: !damage.is_empty(), doubted }
}

/// Whether a pack may be doomed: it is sealed, and no row names it.
pub fn may_be_doomed(state: PackState, live_chunks: u64) -> bool {
    state == PackState::Sealed && live_chunks == 0
}

/// When a pack was doomed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doom {
    pub epoch: i64,
    pub at: Timestamp,
}

/// Whether the file of a doomed pack may be erased: two cycles have ended since, it was doomed not after `doomed_before`,
/// and still no row names it.
pub fn may_be_erased(doom: Doom, live_chunks: u64, epoch: i64, doomed_before: Timestamp) -> bool {
    live_chunks == 0 && doom.epoch <= erasable_epoch(epoch) && doom.at <= doomed_before
}

/// The newest epoch of a doom whose two cycles have ended.
pub fn erasable_epoch(epoch: i64) -> i64 {
    epoch - ERASE_CYCLE_COUNT
}

/// Lets the row of an erased pack go. Errors: `Conflict` unless it is doomed and without rows.
pub fn forget(pack: PackId, standing: Option<(PackState, u64)>) -> Result<()> {
    match standing {
        Some((PackState::Doomed, 0)) => Ok(()),
        _ => {
            let reason = "the pack is not doomed, or a chunk is said to stand in it";
            Err(Error::new(ErrorKind::Conflict, "forget pack").about(pack).because(reason))
        }
    }
}

#[cfg(test)]
mod tests;
