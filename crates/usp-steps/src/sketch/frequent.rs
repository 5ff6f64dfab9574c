//! The most frequent values of a stream, in a fixed number of counters.
//!
//! When all counters are taken, their median is subtracted from each and those that reach zero are freed. The sum
//! of what was subtracted bounds how far any count may be too low.
//! Source: J. Misra, D. Gries, "Finding repeated elements", 1982; D. Anderson et al., "A high-performance algorithm
//! for identifying frequent items in data streams", 2017 (subtracting the median makes an update cost O(1)).

use crate::hash::HashMap64;

/// Bytes kept of a value: enough for the characters of a report.
const VALUE_BYTES_MAX: usize = (crate::bounds::VALUE_CHARS_MAX + 1) * 4;

#[derive(Debug)]
struct Counter<T> {
    hash: u64,
    count: u64,
    value: Vec<u8>,
    meaning: T,
}

/// Counts values, and remembers of those that have a counter what they mean, so that it need not be read again.
#[derive(Debug)]
pub(crate) struct Frequent<T> {
    counter_count_max: usize,
    index: HashMap64<usize>,
    counters: Vec<Counter<T>>,
    /// Buffers of freed counters, so that a column of unique values does not allocate for each.
    spare: Vec<Vec<u8>>,
    subtracted: u64,
}

/// A value, and that it occurred at least `count` and at most `count + error` times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Top<'a> {
    pub value: &'a [u8],
    pub count: u64,
    pub error: u64,
}

impl<T: Copy> Frequent<T> {
    pub(crate) fn new(counter_count_max: usize) -> Self {
        Self {
            counter_count_max: counter_count_max.max(2),
            index: HashMap64::default(),
            counters: Vec::new(),
            spare: Vec::new(),
            subtracted: 0,
        }
    }

    /// Counts a value that has a counter; `None` if it has none and must be inserted.
    pub(crate) fn hit(&mut self, hash: u64) -> Option<T> {
        let counter = self.counters.get_mut(*self.index.get(&hash)?)?;
        counter.count += 1;
        Some(counter.meaning)
    }

    /// Gives a value its counter, after `hit` found none.
    pub(crate) fn insert(&mut self, hash: u64, value: &[u8], meaning: T) {
        if self.counters.len() >= self.counter_count_max {
            self.subtract_median();
        }
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.extend_from_slice(value.get(..VALUE_BYTES_MAX).unwrap_or(value));
        self.index.insert(hash, self.counters.len());
        self.counters.push(Counter { hash, count: 1, value: kept, meaning });
    }

    /// The most frequent values, most frequent first, ties by value. Values that may as well be noise are left out.
    pub(crate) fn top(&self, count_max: usize) -> Vec<Top<'_>> {
        let error = self.subtracted;
        let mut tops: Vec<Top<'_>> = self
            .counters
            .iter()
            .filter(|counter| error == 0 || counter.count > error)
            .map(|counter| Top { value: &counter.value, count: counter.count, error })
            .collect();
        tops.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(b.value)));
        tops.truncate(count_max);
        tops
    }

    fn subtract_median(&mut self) {
        let mut counts: Vec<u64> = self.counters.iter().map(|counter| counter.count).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        self.subtracted += median;
        let spare = &mut self.spare;
        self.counters.retain_mut(|counter| {
            counter.count = counter.count.saturating_sub(median);
            if counter.count == 0 {
                let mut value = std::mem::take(&mut counter.value);
                value.clear();
                spare.push(value);
            }
            counter.count > 0
        });
        self.index.clear();
        self.index.extend(self.counters.iter().enumerate().map(|(index, counter)| (counter.hash, index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash;

    fn add(frequent: &mut Frequent<()>, value: &[u8]) {
        if frequent.hit(hash(value)).is_none() {
            frequent.insert(hash(value), value, ());
        }
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let mut frequent = Frequent::new(8);
        for value in ["b", "a", "c", "a", "b", "a"] {
            add(&mut frequent, value.as_bytes());
        }
        let tops: Vec<(&[u8], u64, u64)> =
            frequent.top(2).iter().map(|top| (top.value, top.count, top.error)).collect();
        assert_eq!(tops, [(&b"a"[..], 3, 0), (&b"b"[..], 2, 0)]);
    }

    #[test]
    fn a_frequent_value_is_found_among_many_unique_ones() {
        let mut frequent = Frequent::new(32);
        let (rows, hits) = (100_000_u64, 20_000);
        for row in 0..rows {
            let value = if row % 5 == 0 { "often".to_owned() } else { row.to_string() };
            add(&mut frequent, value.as_bytes());
        }
        let tops = frequent.top(10);
        let top = tops.first().unwrap();
        assert_eq!(top.value, b"often");
        assert!(top.count <= hits && hits <= top.count + top.error);
        assert!(top.error <= rows / 16, "the error is bounded by rows / half the counters");
        assert_eq!(tops.len(), 1, "unique values are noise");
    }

    #[test]
    fn counters_and_buffers_stay_within_their_bound() {
        let mut frequent = Frequent::new(32);
        for row in 0..10_000_u32 {
            add(&mut frequent, &[&row.to_le_bytes()[..], &[b'x'; 10_000]].concat());
        }
        assert!(frequent.counters.len() + frequent.spare.len() <= 33);
        assert!(frequent.counters.iter().all(|counter| counter.value.len() <= VALUE_BYTES_MAX));
    }
}
