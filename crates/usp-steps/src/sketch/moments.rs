//! Mean and standard deviation in one pass.
//!
//! Source: B. P. Welford, "Note on a method for calculating corrected sums of squares and products", 1962.

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0 && self.mean.is_finite()).then_some(self.mean)
    }

    /// Of a sample: divided by one less than the count.
    pub(crate) fn stddev(&self) -> Option<f64> {
        let variance = self.squares / (self.count.checked_sub(1)? as f64);
        (self.count > 1 && variance.is_finite()).then(|| variance.max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_offset_does_not_eat_the_deviation() {
        let mut moments = Moments::default();
        for value in [4.0, 7.0, 13.0, 16.0] {
            moments.add(1e9 + value);
        }
        assert_eq!(moments.mean(), Some(1e9 + 10.0));
        assert!((moments.stddev().unwrap() - 30_f64.sqrt()).abs() < 1e-6);
        assert_eq!(Moments::default().mean(), None);
        assert_eq!(Moments::default().stddev(), None);
    }
}
