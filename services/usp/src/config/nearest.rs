//! Which known key a misspelt one was meant to be.

/// More changes than this and a hint would mislead.
const DISTANCE_MAX: usize = 3;

/// The known key closest to `unknown`: the same name in another section, or one that is a few letters away.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name_of = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let unknown_name = name_of(unknown);
    known
        .map(|path| {
            let by_path = distance(unknown, path);
            // The right name in the wrong place comes before any misspelling of two letters or more.
            let by_name = if name_of(path) == unknown_name { 2 } else { usize::MAX };
            (by_path.min(by_name), path)
        })
        .filter(|(distance, _)| *distance <= DISTANCE_MAX)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, path)| path)
}

/// Insertions, deletions and replacements that turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (pair, to) in row.windows(2).zip(&b) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => continue,
            };
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] =
        ["data_dir", "gateway.http", "gateway.drain_timeout", "processor.drain_timeout", "log.filter"];

    fn hint(unknown: &str) -> Option<&'static str> {
        nearest(unknown, KNOWN.into_iter())
    }

    #[test]
    fn a_few_wrong_letters_or_the_wrong_section_find_the_key() {
        assert_eq!(hint("gateway.htp"), Some("gateway.http"));
        assert_eq!(hint("data-dir"), Some("data_dir"));
        assert_eq!(hint("http"), Some("gateway.http"));
        assert_eq!(hint("storage.filter"), Some("log.filter"));
        assert_eq!(hint("gateway.drain_timeuot"), Some("gateway.drain_timeout"));
    }

    #[test]
    fn what_resembles_nothing_gets_no_hint() {
        assert_eq!(hint("gateway.colour_of_the_door"), None);
        assert_eq!(hint(""), None);
    }

    #[test]
    fn the_distance_counts_single_changes() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
