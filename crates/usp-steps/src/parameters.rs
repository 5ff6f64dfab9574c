//! Reads the parameters of a step, and says all that is wrong with them at once.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;
use usp_model::{Error, ErrorKind, Result, Violation};

/// One JSON object of parameters. Every key that nobody asked for is a violation.
#[derive(Debug)]
pub(crate) struct Parameters<'a> {
    pointer: String,
    values: BTreeMap<&'a str, &'a Value>,
    violations: Vec<Violation>,
}

impl<'a> Parameters<'a> {
    pub(crate) fn new(with: &'a BTreeMap<String, Value>) -> Self {
        let values = with.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Self { pointer: "/with".to_owned(), values, violations: Vec::new() }
    }

    /// The members of an object that is itself a value of parameters.
    pub(crate) fn nested(pointer: String, value: &'a Value) -> Self {
        let mut own = Self { pointer, values: BTreeMap::new(), violations: Vec::new() };
        match value.as_object() {
            Some(object) => own.values = object.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            None => own.violations.push(Violation::new(own.pointer.as_str(), "an object is expected")),
        }
        own
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<&'a Value> {
        self.values.remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }

    pub(crate) fn violate(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = self.pointer(name);
        self.violations.push(Violation::new(pointer, detail));
    }

    /// For one entry of a list.
    pub(crate) fn violate_at(&mut self, name: &str, index: usize, detail: impl Into<String>) {
        let pointer = format!("{}/{index}", self.pointer(name));
        self.violations.push(Violation::new(pointer, detail));
    }

    /// For something inside a value; `below` is a pointer from there.
    pub(crate) fn violate_below(&mut self, name: &str, below: &str, detail: impl Into<String>) {
        let pointer = format!("{}{below}", self.pointer(name));
        self.violations.push(Violation::new(pointer, detail));
    }

    pub(crate) fn absorb(&mut self, found: Vec<Violation>) {
        self.violations.extend(found);
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        let text = self.take(name)?.as_str();
        if text.is_none() {
            self.violate(name, "a string is expected");
        }
        text
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?.as_bool();
        if value.is_none() {
            self.violate(name, "true or false is expected");
        }
        value
    }

    pub(crate) fn count(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let count = self.take(name)?.as_u64().filter(|count| range.contains(count));
        if count.is_none() {
            self.violate(name, format!("an integer from {} to {} is expected", range.start(), range.end()));
        }
        count
    }

    /// One of a closed set of words.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.violate(name, format!("one of {} is expected", known.join(", ")));
        }
        found
    }

    pub(crate) fn list(&mut self, name: &str, count_max: usize) -> Option<&'a [Value]> {
        let list = self.take(name)?.as_array().map(Vec::as_slice);
        match list {
            Some(items) if !items.is_empty() && items.len() <= count_max => return list,
            _ => self.violate(name, format!("a list of 1 to {count_max} entries is expected")),
        }
        None
    }

    /// All violations, those for unknown names included.
    pub(crate) fn into_violations(mut self) -> Vec<Violation> {
        let unknown: Vec<&str> = self.values.keys().copied().collect();
        for name in unknown {
            self.violate(name, "there is no such parameter");
        }
        self.violations
    }

    /// Errors: `InvalidInput` if anything was wrong.
    pub(crate) fn finish(self, step: &'static str) -> Result<()> {
        let violations = self.into_violations();
        if violations.is_empty() {
            return Ok(());
        }
        let first = violations.first().map(|v| format!("{}: {}", v.pointer, v.detail)).unwrap_or_default();
        Err(Error::new(ErrorKind::InvalidInput, "build step")
            .about(step)
            .because(format!("the parameters of step '{step}' are wrong: {first}"))
            .with_violations(violations))
    }
}
