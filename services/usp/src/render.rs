//! How tables, sizes and events look to people.

mod event_line;

use crate::output::shown;

pub(crate) use event_line::event_line;

/// Bytes with a binary unit: `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Rows as columns that line up. The last column is not padded, and every cell is one line.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let column_count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..column_count).map(width).collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// The first characters of an id: enough to tell a handful apart.
pub(crate) fn short_id(id: &str) -> String {
    const CHARS: usize = 8;
    id.chars().take(CHARS).collect()
}

/// The end of a key, which is what tells files apart.
pub(crate) fn short_key(key: &str) -> String {
    const CHARS_MAX: usize = 40;
    let name = key.rsplit('/').next().unwrap_or(key);
    let count = name.chars().count();
    if count <= CHARS_MAX {
        return shown(name);
    }
    let tail: String = name.chars().skip(count - CHARS_MAX + 1).collect();
    shown(&format!("…{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_stay_one_line() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = table(&[row(&["a", "long name", "x"]), row(&["日本", "b\n", ""]), row(&["c"])]);
        assert_eq!(text, "a   long name  x\n日本  b\\u{a}\nc");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn long_keys_show_their_end() {
        assert_eq!(short_key("2026/11/orders.csv"), "orders.csv");
        let long = format!("a/{}.csv", "x".repeat(60));
        assert_eq!(short_key(&long).chars().count(), 40);
        assert!(short_key(&long).starts_with('…') && short_key(&long).ends_with(".csv"));
    }
}
