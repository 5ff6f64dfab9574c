//! The profile of one column.

use serde_json::{Map, Value, json};

use crate::bounds::{SKETCH_ENTRY_COUNT_MAX, TOP_COUNT_MAX, VALUE_CHARS_MAX};
use crate::hash::hash;
use crate::json::chars_in;
use crate::report::cut;
use crate::scalar::{Kind, Scalar};
use crate::sketch::{Distinct, Frequent, Moments, Quantiles};

/// Bytes kept of the least and greatest text.
const EXTREME_BYTES_MAX: usize = (VALUE_CHARS_MAX + 1) * 4;
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 0.95];
const SHARE_NAMES: [&str; 4] = ["p25", "p50", "p75", "p95"];

/// How large the sketches of one column may be: the wider the table, the smaller, so that all fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SketchSizes {
    distinct_exact_max: usize,
    counter_count_max: usize,
    quantile_k: usize,
}

impl SketchSizes {
    pub(crate) fn for_columns(columns: usize) -> Self {
        let share = SKETCH_ENTRY_COUNT_MAX / columns.max(1);
        Self {
            distinct_exact_max: share.clamp(256, 10_000),
            counter_count_max: (share / 32).clamp(32, 256),
            quantile_k: (share / 8).clamp(128, 512),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Column {
    name: String,
    nulls: u64,
    /// Values per kind, in the order of `Kind::ALL`.
    kinds: [u64; 6],
    distinct: Distinct,
    frequent: Frequent<Scalar>,
    moments: Moments,
    quantiles: Quantiles,
    number_min: f64,
    number_max: f64,
    integer_min: i64,
    integer_max: i64,
    /// Some integer did not fit 64 bits.
    is_wide: bool,
    text_min: Option<Vec<u8>>,
    text_max: Option<Vec<u8>>,
    /// The first and the last moment, each with its text: dates are written in more than one way.
    time_min: Option<(i64, Vec<u8>)>,
    time_max: Option<(i64, Vec<u8>)>,
    chars_min: u64,
    chars_max: u64,
}

impl Column {
    pub(crate) fn new(name: String, sizes: SketchSizes) -> Self {
        Self {
            name,
            nulls: 0,
            kinds: [0; 6],
            distinct: Distinct::new(sizes.distinct_exact_max),
            frequent: Frequent::new(sizes.counter_count_max),
            moments: Moments::default(),
            quantiles: Quantiles::new(sizes.quantile_k),
            number_min: f64::INFINITY,
            number_max: f64::NEG_INFINITY,
            integer_min: i64::MAX,
            integer_max: i64::MIN,
            is_wide: false,
            text_min: None,
            text_max: None,
            time_min: None,
            time_max: None,
            chars_min: u64::MAX,
            chars_max: 0,
        }
    }

    pub(crate) fn add(&mut self, field: &[u8]) {
        let hash = hash(field);
        // A value with a counter was read, counted as distinct and compared when it got it.
        let scalar = match self.frequent.hit(hash) {
            Some(scalar) => scalar,
            None => {
                let scalar = Scalar::guess(field);
                if scalar == Scalar::Null {
                    self.nulls += 1;
                    return;
                }
                self.frequent.insert(hash, field, scalar);
                self.distinct.add(hash);
                self.add_extremes(field);
                if let Some(moment) = scalar.moment() {
                    self.add_moment(moment, field);
                }
                scalar
            }
        };
        if let Some(count) = scalar.kind().and_then(|kind| self.kinds.get_mut(kind as usize)) {
            *count += 1;
        }
        match scalar {
            Scalar::Integer { value, exact } => {
                match exact {
                    Some(exact) => {
                        self.integer_min = self.integer_min.min(exact);
                        self.integer_max = self.integer_max.max(exact);
                    }
                    None => self.is_wide = true,
                }
                self.add_number(value);
            }
            Scalar::Float(value) => self.add_number(value),
            _ => {}
        }
    }

    fn add_number(&mut self, value: f64) {
        self.number_min = self.number_min.min(value);
        self.number_max = self.number_max.max(value);
        self.moments.add(value);
        self.quantiles.add(value);
    }

    fn add_extremes(&mut self, field: &[u8]) {
        let chars = chars_in(field);
        self.chars_min = self.chars_min.min(chars);
        self.chars_max = self.chars_max.max(chars);
        let field = field.get(..EXTREME_BYTES_MAX).unwrap_or(field);
        let replace = |kept: &mut Option<Vec<u8>>| {
            let kept = kept.get_or_insert_default();
            kept.clear();
            kept.extend_from_slice(field);
        };
        if self.text_min.as_deref().is_none_or(|min| field < min) {
            replace(&mut self.text_min);
        }
        if self.text_max.as_deref().is_none_or(|max| field > max) {
            replace(&mut self.text_max);
        }
    }

    fn add_moment(&mut self, moment: i64, field: &[u8]) {
        let kept = || (moment, field.get(..EXTREME_BYTES_MAX).unwrap_or(field).to_vec());
        if self.time_min.as_ref().is_none_or(|(min, _)| moment < *min) {
            self.time_min = Some(kept());
        }
        if self.time_max.as_ref().is_none_or(|(max, _)| moment > *max) {
            self.time_max = Some(kept());
        }
    }

    fn count_of(&self, kind: Kind) -> u64 {
        self.kinds.get(kind as usize).copied().unwrap_or_default()
    }

    /// An estimate may be off upwards, but there cannot be more different values than values.
    fn distinct_count(&self) -> u64 {
        self.distinct.count().min(self.kinds.iter().sum())
    }

    /// The one type that takes all values: integers are floats too, dates are datetimes too, anything is a string.
    fn inferred(&self) -> Option<Kind> {
        let present: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| self.count_of(*kind) > 0).collect();
        match present.as_slice() {
            [] => None,
            [one] => Some(*one),
            [Kind::Integer, Kind::Float] => Some(Kind::Float),
            [Kind::Date, Kind::Datetime] => Some(Kind::Datetime),
            _ => Some(Kind::Text),
        }
    }

    pub(crate) fn report(&self) -> Value {
        let inferred = self.inferred();
        let types: Map<String, Value> = Kind::ALL
            .into_iter()
            .filter(|kind| self.count_of(*kind) > 0)
            .map(|kind| (kind.as_str().to_owned(), json!(self.count_of(kind))))
            .collect();
        let (min, max) = self.extremes(inferred);
        let mut report = json!({
            "name": self.name,
            "type": inferred.map_or("empty", Kind::as_str),
            "types": types,
            "nulls": self.nulls,
            "distinct": self.distinct_count(),
            "distinct_approximate": self.distinct.is_approximate(),
            "min": min,
            "max": max,
            "top": self.top(),
        });
        let Some(members) = report.as_object_mut() else { return report };
        if matches!(inferred, Some(Kind::Integer | Kind::Float)) {
            members.insert("mean".to_owned(), json!(self.moments.mean()));
            members.insert("stddev".to_owned(), json!(self.moments.stddev()));
            let at = self.quantiles.at(&SHARES).unwrap_or_default();
            let quantiles: Map<String, Value> = SHARE_NAMES
                .iter()
                .zip(at)
                .map(|(name, value)| ((*name).to_owned(), self.number(value)))
                .collect();
            members.insert("quantiles".to_owned(), Value::Object(quantiles));
            members.insert("quantiles_approximate".to_owned(), json!(self.quantiles.is_approximate()));
        }
        if inferred == Some(Kind::Text) {
            members.insert("length".to_owned(), json!({"min": self.chars_min, "max": self.chars_max}));
        }
        report
    }

    fn top(&self) -> Vec<Value> {
        let tops = self.frequent.top(TOP_COUNT_MAX);
        let entry = |top: crate::sketch::Top<'_>| match top.error {
            0 => json!({"value": cut(top.value), "count": top.count}),
            error => json!({"value": cut(top.value), "count": top.count, "count_max": top.count + error}),
        };
        tops.into_iter().map(entry).collect()
    }

    fn extremes(&self, inferred: Option<Kind>) -> (Value, Value) {
        match inferred {
            None => (Value::Null, Value::Null),
            Some(Kind::Integer) if !self.is_wide => (json!(self.integer_min), json!(self.integer_max)),
            Some(Kind::Integer | Kind::Float) => (self.number(self.number_min), self.number(self.number_max)),
            Some(Kind::Date | Kind::Datetime) => {
                let text = |kept: &Option<(i64, Vec<u8>)>| {
                    kept.as_ref().map_or(Value::Null, |(_, value)| json!(cut(value.trim_ascii())))
                };
                (text(&self.time_min), text(&self.time_max))
            }
            Some(_) => {
                let text =
                    |kept: &Option<Vec<u8>>| kept.as_deref().map_or(Value::Null, |value| json!(cut(value)));
                (text(&self.text_min), text(&self.text_max))
            }
        }
    }

    /// Integers print as such.
    fn number(&self, value: f64) -> Value {
        if self.count_of(Kind::Float) == 0 { crate::json::plain(value) } else { json!(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_of<'a>(values: impl IntoIterator<Item = &'a str>) -> Value {
        let mut column = Column::new("c".to_owned(), SketchSizes::for_columns(1));
        for value in values {
            column.add(value.as_bytes());
        }
        column.report()
    }

    #[test]
    fn types_unite_to_the_narrowest_that_takes_all() {
        for (values, kind) in [
            (vec![], "empty"),
            (vec!["", "NA"], "empty"),
            (vec!["1", "2", ""], "integer"),
            (vec!["1", "2.5"], "float"),
            (vec!["2024-01-01", "2024-01-01T10:00"], "datetime"),
            (vec!["true", "no"], "boolean"),
            (vec!["1", "x"], "string"),
            (vec!["1", "2024-01-01"], "string"),
        ] {
            assert_eq!(report_of(values.clone())["type"], kind, "{values:?}");
        }
    }

    #[test]
    fn numbers_are_summed_up_by_value() {
        let report = report_of(["10", "9", "-3", "NA", "10"]);
        assert_eq!(report["min"], -3);
        assert_eq!(report["max"], 10);
        assert_eq!(report["mean"], 6.5);
        assert_eq!(report["nulls"], 1);
        assert_eq!(report["distinct"], 3);
        assert_eq!(report["quantiles"], json!({"p25": -3, "p50": 9, "p75": 10, "p95": 10}));
        assert_eq!(report["top"][0], json!({"value": "10", "count": 2}));
    }

    #[test]
    fn texts_are_compared_as_text_and_measured_in_characters() {
        let report = report_of(["b", "añb", "1"]);
        assert_eq!((&report["min"], &report["max"]), (&json!("1"), &json!("b")));
        assert_eq!(report["length"], json!({"min": 1, "max": 3}));
        assert_eq!(report["types"], json!({"integer": 1, "string": 2}));
    }

    #[test]
    fn there_are_never_more_different_values_than_values() {
        let is_over = |count: u32| {
            let mut column = Column::new("c".to_owned(), SketchSizes::for_columns(1));
            for value in 0..count {
                column.add(format!("id-{value:06}").as_bytes());
                column.add(b"");
            }
            let report = column.report();
            assert_eq!(report["distinct_approximate"], true);
            assert!(report["distinct"].as_u64().unwrap() <= u64::from(count), "{report}");
            column.distinct.count() > u64::from(count)
        };
        assert!([20_000, 50_000, 100_000, 250_000].map(is_over).contains(&true), "no estimate was too high");
    }

    #[test]
    fn integers_beyond_64_bits_stay_integers() {
        let report = report_of(["1", "99999999999999999999"]);
        assert_eq!(report["type"], "integer");
        assert_eq!(report["max"], json!(1e20));
    }
}
