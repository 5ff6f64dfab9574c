//! What stands where in JSON: a tree of paths such as `$.items[].name`, with counts for each.

use serde_json::{Value, json};

use crate::bounds::{JSON_DEPTH_MAX, PATH_CHARS_MAX, PATH_COUNT_MAX, VALUE_CHARS_MAX};
use crate::hash::{HashMap64, combine, hash};
use crate::json::Sink;
use crate::report::cut_to;

const KIND_NAMES: [&str; 6] = ["object", "array", "string", "number", "boolean", "null"];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Object,
    Array,
    Text,
    Number,
    Boolean,
    Null,
}

/// The smallest and largest of some numbers.
#[derive(Debug, Clone, Copy)]
struct Extent {
    min: f64,
    max: f64,
}

impl Extent {
    fn add(extent: &mut Option<Self>, value: f64) {
        let own = extent.get_or_insert(Self { min: value, max: value });
        own.min = own.min.min(value);
        own.max = own.max.max(value);
    }
}

#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    /// `.name` or `[]`; `$` for the root.
    label: String,
    counts: [u64; 6],
    numbers: Option<Extent>,
    lengths: Option<Extent>,
    text_chars: Option<Extent>,
}

/// An open object or array. `node` is absent once there are too many paths.
#[derive(Debug)]
struct Level {
    node: Option<usize>,
    /// Where the next value stands: behind a key, or the items of the array.
    child: Option<usize>,
    is_array: bool,
    length: u64,
}

/// Collects the profile of one text or of many.
#[derive(Debug)]
pub(crate) struct Paths {
    nodes: Vec<Node>,
    index: HashMap64<usize>,
    levels: Vec<Level>,
    depth_max: usize,
    totals: [u64; 6],
    /// Values whose path has no node.
    beyond: u64,
}

impl Default for Paths {
    fn default() -> Self {
        Self::new()
    }
}

impl Paths {
    pub(crate) fn new() -> Self {
        let mut own = Self {
            nodes: Vec::new(),
            index: HashMap64::default(),
            levels: Vec::new(),
            depth_max: 0,
            totals: [0; 6],
            beyond: 0,
        };
        own.add_node(None, "$".to_owned());
        own
    }

    /// Forgets the levels that a faulty text left open.
    pub(crate) fn reset(&mut self) {
        self.levels.clear();
    }

    /// The kinds of the outermost values, most frequent first.
    pub(crate) fn root(&self) -> Value {
        let Some(root) = self.nodes.first() else { return Value::Null };
        let kinds = root.counts.iter().zip(KIND_NAMES);
        kinds
            .filter(|(count, _)| **count > 0)
            .max_by_key(|(count, _)| **count)
            .map_or(Value::Null, |(_, n)| json!(n))
    }

    pub(crate) fn depth_max(&self) -> usize {
        self.depth_max
    }

    pub(crate) fn totals(&self) -> Value {
        let plural = ["objects", "arrays", "strings", "numbers", "booleans", "nulls"];
        plural.iter().zip(self.totals).map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
    }

    /// Values that were only counted, because there were too many paths.
    pub(crate) fn beyond(&self) -> u64 {
        self.beyond
    }

    /// One entry per path, in order of first appearance.
    pub(crate) fn entries(&self) -> Vec<Value> {
        self.nodes
            .iter()
            .filter(|node| node.counts.iter().any(|count| *count > 0))
            .map(|n| self.entry(n))
            .collect()
    }

    fn entry(&self, node: &Node) -> Value {
        let types: serde_json::Map<String, Value> = KIND_NAMES
            .iter()
            .zip(node.counts)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| ((*name).to_owned(), json!(count)))
            .collect();
        let mut entry =
            json!({"path": self.path(node), "count": node.counts.iter().sum::<u64>(), "types": types});
        if let Some(members) = entry.as_object_mut() {
            if let Some(numbers) = node.numbers {
                members.insert("min".to_owned(), plain(numbers.min));
                members.insert("max".to_owned(), plain(numbers.max));
            }
            for (name, extent) in [("array_length", node.lengths), ("string_length", node.text_chars)] {
                if let Some(extent) = extent {
                    members
                        .insert(name.to_owned(), json!({"min": plain(extent.min), "max": plain(extent.max)}));
                }
            }
        }
        entry
    }

    fn path(&self, node: &Node) -> String {
        let mut labels = vec![node.label.as_str()];
        let mut above = node.parent;
        while let Some(parent) = above.and_then(|index| self.nodes.get(index)) {
            labels.push(&parent.label);
            above = parent.parent;
        }
        labels.reverse();
        cut_to(labels.concat().as_bytes(), PATH_CHARS_MAX)
    }

    fn add_node(&mut self, parent: Option<usize>, label: String) -> Option<usize> {
        if self.nodes.len() >= PATH_COUNT_MAX {
            return None;
        }
        self.nodes.push(Node {
            parent,
            label,
            counts: [0; 6],
            numbers: None,
            lengths: None,
            text_chars: None,
        });
        Some(self.nodes.len() - 1)
    }

    /// Counts a value where it stands.
    fn value(&mut self, kind: Kind) -> Option<usize> {
        let slot = kind as usize;
        if let Some(total) = self.totals.get_mut(slot) {
            *total += 1;
        }
        let place = match self.levels.last_mut() {
            None => Some(0),
            Some(level) => {
                level.length += 1;
                match (level.is_array, level.child, level.node) {
                    (true, None, Some(array)) => {
                        let items = self.add_node(Some(array), "[]".to_owned());
                        self.remember_items(array, items);
                        items
                    }
                    (_, child, _) => child,
                }
            }
        };
        match place.and_then(|index| self.nodes.get_mut(index)).and_then(|node| node.counts.get_mut(slot)) {
            Some(count) => *count += 1,
            None => self.beyond += 1,
        }
        place
    }

    fn remember_items(&mut self, array: usize, items: Option<usize>) {
        if let Some(items) = items {
            self.index.insert(items_key(array), items);
        }
        if let Some(level) = self.levels.last_mut() {
            level.child = items;
            level.node = level.node.filter(|_| items.is_some());
        }
    }

    fn open(&mut self, node: Option<usize>, is_array: bool) {
        let child = match (is_array, node) {
            (true, Some(array)) => self.index.get(&items_key(array)).copied(),
            _ => None,
        };
        // The parser has the same bound, so that this only says what holds.
        if self.levels.len() < JSON_DEPTH_MAX {
            self.levels.push(Level { node, child, is_array, length: 0 });
        }
        self.depth_max = self.depth_max.max(self.levels.len());
    }
}

impl Sink for Paths {
    fn begin_object(&mut self) {
        let place = self.value(Kind::Object);
        self.open(place, false);
    }

    fn begin_array(&mut self) {
        let place = self.value(Kind::Array);
        self.open(place, true);
    }

    fn end(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        if let Some(node) = level.node.and_then(|index| self.nodes.get_mut(index)).filter(|_| level.is_array)
        {
            Extent::add(&mut node.lengths, level.length as f64);
        }
    }

    fn key(&mut self, key: &[u8]) {
        let Some(parent) = self.levels.last().and_then(|level| level.node) else { return };
        let slot = combine(parent as u64, hash(key));
        let child = match self.index.get(&slot) {
            Some(child) => Some(*child),
            None => {
                let child = self.add_node(Some(parent), key_label(key));
                if let Some(child) = child {
                    self.index.insert(slot, child);
                }
                child
            }
        };
        if let Some(level) = self.levels.last_mut() {
            level.child = child;
        }
    }

    fn text(&mut self, chars: u64) {
        let place = self.value(Kind::Text);
        if let Some(node) = place.and_then(|index| self.nodes.get_mut(index)) {
            Extent::add(&mut node.text_chars, chars as f64);
        }
    }

    fn number(&mut self, value: Option<f64>) {
        let place = self.value(Kind::Number);
        if let (Some(value), Some(node)) = (value, place.and_then(|index| self.nodes.get_mut(index))) {
            Extent::add(&mut node.numbers, value);
        }
    }

    fn boolean(&mut self) {
        self.value(Kind::Boolean);
    }

    fn null(&mut self) {
        self.value(Kind::Null);
    }
}

/// No key hashes to this by design: keys go through `hash` before they are combined.
fn items_key(array: usize) -> u64 {
    combine(array as u64, u64::MAX)
}

fn key_label(key: &[u8]) -> String {
    let text = cut_to(key, VALUE_CHARS_MAX);
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') && !text.is_empty();
    if is_plain { format!(".{text}") } else { format!("[{}]", json!(text)) }
}

/// Whole numbers without a point, as they stand in most documents.
pub(crate) fn plain(value: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
        let whole = value as i64;
        return json!(whole);
    }
    json!(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Parser;

    fn paths_of(text: &str) -> Paths {
        let (mut parser, mut paths) = (Parser::new(), Paths::new());
        parser.feed(text.as_bytes(), &mut paths).unwrap();
        parser.finish(&mut paths).unwrap();
        paths
    }

    #[test]
    fn each_path_has_its_types_and_extents() {
        let paths = paths_of(r#"{"items": [{"name": "é", "n": 1}, {"name": null, "n": -2.5}], "a b": []}"#);
        assert_eq!(
            paths.entries(),
            [
                json!({"path": "$", "count": 1, "types": {"object": 1}}),
                json!({"path": "$.items", "count": 1, "types": {"array": 1}, "array_length": {"min": 2, "max": 2}}),
                json!({"path": "$.items[]", "count": 2, "types": {"object": 2}}),
                json!({"path": "$.items[].name", "count": 2, "types": {"string": 1, "null": 1},
                       "string_length": {"min": 1, "max": 1}}),
                json!({"path": "$.items[].n", "count": 2, "types": {"number": 2}, "min": -2.5, "max": 1}),
                json!({"path": "$[\"a b\"]", "count": 1, "types": {"array": 1}, "array_length": {"min": 0, "max": 0}}),
            ]
        );
        assert_eq!((paths.depth_max(), paths.root(), paths.beyond()), (3, json!("object"), 0));
    }

    #[test]
    fn paths_beyond_the_bound_are_counted() {
        let members: Vec<String> = (0..5_000).map(|n| format!("\"key {n}\": {{\"x\": 1}}")).collect();
        let paths = paths_of(&format!("{{{}}}", members.join(",")));
        assert_eq!(paths.nodes.len(), PATH_COUNT_MAX);
        assert_eq!(paths.totals.iter().sum::<u64>(), 10_001);
        assert_eq!(
            paths.beyond() + paths.nodes.iter().map(|n| n.counts.iter().sum::<u64>()).sum::<u64>(),
            10_001
        );
    }
}
