//! How many different values a stream has: exact while they are few, HyperLogLog from then on.
//!
//! Source: O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017 (improved raw estimator).

use crate::hash::HashSet64;

/// 2^12 registers of one byte: a standard error of 1.04 / √4096 ≈ 1.6 %.
const INDEX_BITS: u32 = 12;
const REGISTER_COUNT: usize = 1 << INDEX_BITS;
/// The rank of a hash whose other 52 bits are all zero.
const RANK_MAX: u8 = 64 - 12 + 1;

/// Counts different hashes.
#[derive(Debug)]
pub(crate) struct Distinct {
    exact_count_max: usize,
    exact: HashSet64,
    /// Empty while the count is exact.
    registers: Vec<u8>,
}

impl Distinct {
    pub(crate) fn new(exact_count_max: usize) -> Self {
        Self { exact_count_max, exact: HashSet64::default(), registers: Vec::new() }
    }

    pub(crate) fn add(&mut self, hash: u64) {
        if self.is_approximate() {
            self.raise(hash);
        } else if self.exact.insert(hash) && self.exact.len() > self.exact_count_max {
            self.registers = vec![0; REGISTER_COUNT];
            for hash in std::mem::take(&mut self.exact) {
                self.raise(hash);
            }
        }
    }

    pub(crate) fn is_approximate(&self) -> bool {
        !self.registers.is_empty()
    }

    pub(crate) fn count(&self) -> u64 {
        if self.is_approximate() { rounded(self.estimate()) } else { self.exact.len() as u64 }
    }

    fn raise(&mut self, hash: u64) {
        let index = usize::try_from(hash >> (64 - INDEX_BITS)).unwrap_or_default();
        let rank = u8::try_from((hash << INDEX_BITS).leading_zeros() + 1).unwrap_or(RANK_MAX).min(RANK_MAX);
        if let Some(register) = self.registers.get_mut(index) {
            *register = rank.max(*register);
        }
    }

    fn estimate(&self) -> f64 {
        let mut histogram = [0_u32; RANK_MAX as usize + 1];
        for register in &self.registers {
            if let Some(count) = histogram.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let m = REGISTER_COUNT as f64;
        let (zeros, rest) = histogram.split_first().map_or((0, &[][..]), |(zeros, rest)| (*zeros, rest));
        let (full, middle) = rest.split_last().map_or((0, &[][..]), |(full, middle)| (*full, middle));
        let mut z = m * tau(1.0 - f64::from(full) / m);
        for count in middle.iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(zeros) / m);
        m * m / (2.0 * std::f64::consts::LN_2) / z
    }
}

/// What registers that are still zero say.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// What registers that are full say.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an estimate over 2^64 saturates, and loses only its fraction"
)]
fn rounded(estimate: f64) -> u64 {
    estimate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash;

    fn counted(values: u32, exact_count_max: usize) -> Distinct {
        let mut distinct = Distinct::new(exact_count_max);
        for round in 0..2 {
            for value in 0..values {
                distinct.add(hash(format!("value {value}").as_bytes()));
            }
            assert!(round == 0 || distinct.count() > 0);
        }
        distinct
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let distinct = counted(1_024, 1_024);
        assert_eq!((distinct.count(), distinct.is_approximate()), (1_024, false));
    }

    #[test]
    fn many_values_are_estimated_within_five_per_cent() {
        for values in [1_025, 5_000, 20_000, 100_000, 500_000] {
            let distinct = counted(values, 1_024);
            assert!(distinct.is_approximate());
            let error = (distinct.count() as f64 / f64::from(values) - 1.0).abs();
            assert!(error < 0.05, "{values}: {} is off by {error}", distinct.count());
        }
    }
}
