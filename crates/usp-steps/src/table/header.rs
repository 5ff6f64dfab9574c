//! Whether the first record names the columns.

use crate::scalar::{Kind, Scalar};

/// Names are short.
const NAME_CHARS_MAX: usize = 100;

/// Decides by these signs, in order:
///
/// 1. An empty, repeated or overlong cell, or one that is a number, a date or a boolean, is no name.
/// 2. A text cell over a column of numbers, dates or booleans is a name.
/// 3. A text cell that its column repeats further down is a value.
/// 4. With all columns text: cells that look like words (a letter first, no sentence) are names.
pub(crate) fn is_header(rows: &[Vec<Vec<u8>>]) -> bool {
    let Some((first, rest)) = rows.split_first() else { return false };
    if first.iter().any(|cell| !may_be_name(cell)) || has_repeated(first) {
        return false;
    }
    let mut names = 0;
    let mut values = 0;
    for (index, cell) in first.iter().enumerate() {
        let column: Vec<&[u8]> = rest.iter().filter_map(|row| row.get(index)).map(Vec::as_slice).collect();
        if is_typed(&column) {
            names += 1;
        } else if column.contains(&cell.as_slice()) {
            values += 1;
        }
    }
    match (names, values) {
        (0, 0) => first.iter().all(|cell| looks_like_word(cell)),
        (names, values) => names >= values,
    }
}

fn may_be_name(cell: &[u8]) -> bool {
    matches!(Scalar::guess(cell), Scalar::Text) && cell.len() <= NAME_CHARS_MAX * 4
}

fn has_repeated(cells: &[Vec<u8>]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !cells.iter().all(|cell| seen.insert(cell.trim_ascii()))
}

/// Whether at least nine tenths of a column's values are of a type that a name cannot have.
fn is_typed(column: &[&[u8]]) -> bool {
    let kinds: Vec<Kind> = column.iter().filter_map(|cell| Scalar::guess(cell).kind()).collect();
    let typed = kinds.iter().filter(|kind| **kind != Kind::Text).count();
    !kinds.is_empty() && typed * 10 >= kinds.len() * 9
}

fn looks_like_word(cell: &[u8]) -> bool {
    const WORD_COUNT_MAX: usize = 6;
    let text = String::from_utf8_lossy(cell);
    let text = text.trim();
    text.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '#' || c == '@')
        && text.split_whitespace().count() <= WORD_COUNT_MAX
        && !text.ends_with(['.', '!', '?'])
        && !text.contains("://")
}
