//! Which chunks are referred to: one bit each.

use std::collections::BTreeMap;

use usp_model::ChunkId;

/// A set of chunk ids. Shape: 8 KiB for each run of 65,536 ids in which one is marked, so at most 1 bit per id that was
/// ever given, and nothing for ranges that were collected long ago.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pages: BTreeMap<i64, Box<[u64; WORDS]>>,
}

/// Words of one page.
const WORDS: usize = 1_024;
const WORD_BITS: i64 = 64;
const PAGE_IDS: i64 = WORD_BITS * 1_024;

impl Marks {
    pub(super) fn add(&mut self, chunk: ChunkId) {
        let (page, word, bit) = place(chunk);
        let page = self.pages.entry(page).or_insert_with(|| Box::new([0; WORDS]));
        if let Some(word) = page.get_mut(word) {
            *word |= bit;
        }
    }

    pub(super) fn has(&self, chunk: ChunkId) -> bool {
        let (page, word, bit) = place(chunk);
        self.pages.get(&page).and_then(|page| page.get(word)).is_some_and(|word| word & bit != 0)
    }
}

/// Page, word in it, bit in that.
fn place(chunk: ChunkId) -> (i64, usize, u64) {
    let in_page = chunk.0.rem_euclid(PAGE_IDS);
    let word = usize::try_from(in_page / WORD_BITS).unwrap_or_default();
    (chunk.0.div_euclid(PAGE_IDS), word, 1 << (in_page % WORD_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_on_one_id_and_no_other() {
        for id in [0, 1, 63, 64, 65_535, 65_536, 1 << 40, i64::MAX] {
            let mut marks = Marks::default();
            marks.add(ChunkId(id));
            assert!(marks.has(ChunkId(id)));
            for other in [id ^ 1, id ^ 64, id ^ 65_536, 7_777_777] {
                assert!(!marks.has(ChunkId(other)), "{id} is not {other}");
            }
        }
    }
}
