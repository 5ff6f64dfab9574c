//! The log of events: what a query asks for, and what is forgotten of it.

use std::collections::BTreeSet;

use usp_model::{BucketName, EventKind, EventQuery, EventSeq, Timestamp};

/// The buckets whose events a query asks for, within what the caller may see: `Some(empty)` means all, `None` that nothing
/// can match.
pub fn asked_buckets(query: &EventQuery) -> Option<BTreeSet<&BucketName>> {
    let visible = query.buckets.as_ref().map(|buckets| buckets.iter().collect::<BTreeSet<_>>());
    match (&query.bucket, visible) {
        (None, None) => Some(BTreeSet::new()),
        (Some(one), None) => Some(BTreeSet::from([one])),
        (Some(one), Some(visible)) => visible.contains(one).then(|| BTreeSet::from([one])),
        (None, Some(visible)) => (!visible.is_empty()).then_some(visible),
    }
}

/// Whether a query asks for an event of this number and kind, of a file and bucket that it asks for.
pub fn is_asked_for(query: &EventQuery, seq: EventSeq, kind: EventKind) -> bool {
    seq > query.after && (query.kinds.is_empty() || query.kinds.contains(&kind))
}

/// The last event that is forgotten, and with it all before it: from the oldest on up to the first that is young enough.
/// `oldest`: the first events that are left, in the order of their numbers.
///
/// What a clock that was ahead dated after `now` says nothing: it holds up nobody, and goes with those behind it. An engine
/// may leave it out of `oldest`.
pub fn pruned_to(
    oldest: impl IntoIterator<Item = (EventSeq, Timestamp)>,
    now: Timestamp,
    before: Timestamp,
) -> Option<EventSeq> {
    let dated = oldest.into_iter().filter(|(_, at)| *at <= now);
    dated.take_while(|(_, at)| *at < before).last().map(|(seq, _)| seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BucketName {
        BucketName::parse(text).unwrap()
    }

    #[test]
    fn a_query_is_about_the_bucket_that_it_names_within_those_that_may_be_seen() {
        type Names = Option<&'static [&'static str]>;
        let table: [(Option<&str>, Names, Names); 7] = [
            (None, None, Some(&[])),
            (Some("a"), None, Some(&["a"])),
            (Some("a"), Some(&["b", "a"]), Some(&["a"])),
            (Some("a"), Some(&["b"]), None),
            (Some("a"), Some(&[]), None),
            (None, Some(&["b", "a", "b"]), Some(&["a", "b"])),
            (None, Some(&[]), None),
        ];
        for (bucket, visible, expected) in table {
            let query = EventQuery {
                bucket: bucket.map(|text| name(&text.repeat(3))),
                buckets: visible.map(|names| names.iter().map(|text| name(&text.repeat(3))).collect()),
                ..EventQuery::default()
            };
            let expected = expected.map(|names| names.iter().map(|text| text.repeat(3)).collect::<Vec<_>>());
            let found = asked_buckets(&query)
                .map(|names| names.into_iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>());
            assert_eq!(found, expected, "{bucket:?} {visible:?}");
        }
    }

    #[test]
    fn a_query_asks_for_what_comes_behind_a_number_and_is_of_its_kinds() {
        let kinds = vec![EventKind::FileReady, EventKind::RunDead];
        let table = [
            (vec![], 7, EventKind::FileStored, false),
            (vec![], 8, EventKind::FileStored, true),
            (kinds.clone(), 8, EventKind::FileStored, false),
            (kinds.clone(), 8, EventKind::RunDead, true),
            (kinds, 7, EventKind::RunDead, false),
        ];
        for (kinds, seq, kind, expected) in table {
            let query = EventQuery { after: 7, kinds, ..EventQuery::default() };
            assert_eq!(is_asked_for(&query, seq, kind), expected, "{seq} {kind:?}");
        }
    }

    #[test]
    fn events_go_from_the_oldest_on_up_to_the_first_that_is_young_enough() {
        // Now it is 2,000, and what is of 1,000 stays.
        let table: [(&[i64], Option<EventSeq>); 9] = [
            (&[], None),
            (&[999], Some(1)),
            (&[1_000], None),
            (&[10, 999, 1_000, 10], Some(2)),
            (&[2_001, 10], Some(2)),
            (&[10, 2_001], Some(1)),
            (&[2_001], None),
            (&[2_001, 2_000, 10], None),
            (&[10, 2_001, 20, 2_001, 1_500], Some(3)),
        ];
        for (times, expected) in table {
            let oldest = (1..).zip(times).map(|(seq, ms)| (seq, Timestamp::from_unix_ms(*ms)));
            let pruned = pruned_to(oldest, Timestamp::from_unix_ms(2_000), Timestamp::from_unix_ms(1_000));
            assert_eq!(pruned, expected, "{times:?}");
        }
    }

    #[test]
    fn an_event_of_this_moment_is_not_ahead() {
        let now = Timestamp::from_unix_ms(2_000);
        assert_eq!(pruned_to([(1, now)], now, Timestamp::from_unix_ms(2_001)), Some(1));
        assert_eq!(pruned_to([(1, now.plus_ms(1))], now, Timestamp::from_unix_ms(9_000)), None);
    }
}
