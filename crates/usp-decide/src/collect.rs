//! Collection: which chunks nobody refers to, and what becomes of rows whose frames moved.
//!
//! Why none of this races with a commit: docs/adr/0010-collection.md.

use usp_model::{Error, ErrorKind, FramePlace, PackId, PackState, Result, StoredChunk};

use crate::chunk::{PackChange, TotalsChange};
use crate::pack;

/// Whether a row may be swept: it was last referred to before `epoch` began. A commit that refers to a chunk raises the
/// epoch of its row in its own transaction: either that was before, and the row stays, or the commit finds no row and
/// makes one.
pub fn is_stale(row_epoch: i64, epoch: i64) -> bool {
    row_epoch < epoch
}

/// What sums lose with a row.
pub fn swept(chunk: &StoredChunk) -> (PackChange, TotalsChange) {
    let stored_bytes = i64::from(chunk.place.stored_bytes);
    let pack = PackChange { live_chunks: -1, live_bytes: -stored_bytes, end: 0 };
    let totals =
        TotalsChange { chunks: -1, plain_bytes: -i64::from(chunk.size_bytes), frame_bytes: -stored_bytes };
    (pack, totals)
}

/// Whether a row moves that is said to stand at `from`: only if it does. One that was swept, mended or moved meanwhile stays as
/// it is. `standing`: its place now, `None` if it is gone.
pub fn may_move(standing: Option<&FramePlace>, from: &FramePlace) -> bool {
    standing.is_some_and(|place| (place.pack, place.offset) == (from.pack, from.offset))
}

/// What the packs lose and get when a row moves from one frame to another.
pub fn moved(from: &FramePlace, to: &FramePlace) -> (PackChange, PackChange) {
    let left = PackChange { live_chunks: -1, live_bytes: -i64::from(from.stored_bytes), end: 0 };
    let end = to.offset.saturating_add(u64::from(to.stored_bytes));
    (left, PackChange { live_chunks: 1, live_bytes: i64::from(to.stored_bytes), end })
}

/// Whether rows may be moved to a pack. Errors: `Unavailable` when it is doomed or gone.
pub fn check_target(pack: PackId, state: Option<PackState>) -> Result<()> {
    if state.is_some_and(pack::takes_rows) {
        return Ok(());
    }
    let gone = Error::new(ErrorKind::Unavailable, "move chunks").about(pack);
    Err(gone.because("the pack that frames were copied to is gone"))
}

#[cfg(test)]
mod tests {
    use usp_model::{ChunkId, Digest};

    use super::*;

    #[test]
    fn only_what_was_referred_to_before_the_epoch_is_stale() {
        for (row_epoch, epoch, expected) in [(4, 5, true), (5, 5, false), (6, 5, false)] {
            assert_eq!(is_stale(row_epoch, epoch), expected, "{row_epoch} {epoch}");
        }
    }

    #[test]
    fn a_swept_row_takes_its_bytes_along() {
        let place = FramePlace { pack: PackId(1), offset: 64, stored_bytes: 70 };
        let chunk =
            StoredChunk { id: ChunkId(1), digest: Digest::from_bytes([0; 32]), size_bytes: 100, place };
        let (pack, totals) = swept(&chunk);
        assert_eq!(pack, PackChange { live_chunks: -1, live_bytes: -70, end: 0 });
        assert_eq!(totals, TotalsChange { chunks: -1, plain_bytes: -100, frame_bytes: -70 });
    }

    #[test]
    fn a_row_moves_only_from_where_it_is_said_to_stand() {
        let place = |pack, offset, stored_bytes| FramePlace { pack: PackId(pack), offset, stored_bytes };
        let cases = [
            (Some(place(1, 64, 70)), true),
            (Some(place(1, 64, 71)), true),
            (Some(place(1, 65, 70)), false),
            (Some(place(2, 64, 70)), false),
            (None, false),
        ];
        for (standing, expected) in cases {
            assert_eq!(may_move(standing.as_ref(), &place(1, 64, 70)), expected, "{standing:?}");
        }
    }

    #[test]
    fn a_row_that_moves_takes_its_frame_from_one_pack_to_the_other() {
        let from = FramePlace { pack: PackId(1), offset: 64, stored_bytes: 70 };
        let to = FramePlace { pack: PackId(2), offset: 100, stored_bytes: 71 };
        let (left, came) = moved(&from, &to);
        assert_eq!(left, PackChange { live_chunks: -1, live_bytes: -70, end: 0 });
        assert_eq!(came, PackChange { live_chunks: 1, live_bytes: 71, end: 171 });
    }

    #[test]
    fn frames_move_to_any_pack_but_a_doomed_or_absent_one() {
        let cases = [
            (Some(PackState::Open), true),
            (Some(PackState::Sealed), true),
            (Some(PackState::SetAside), true),
            (Some(PackState::Doomed), false),
            (None, false),
        ];
        for (state, expected) in cases {
            let checked = check_target(PackId(1), state);
            assert_eq!(checked.is_ok(), expected, "{state:?}");
            assert!(checked.err().is_none_or(|error| error.kind() == ErrorKind::Unavailable));
        }
    }
}
