//! A walk over files in key order, forwards or backwards, along the narrowest index that the query allows.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use usp_decide::list::{FileFilter, sha256};
use usp_model::{FileQuery, FileSort, FileState};

use super::fail::Outcome;
use super::file_list::Page;
use super::filter::Examined;
use super::tags::TagKind;
use super::version_row::{FILE_COLUMNS, version};

/// What the index of digests has of each.
pub(super) const SHA256_PREFIX_BYTES: usize = 8;

/// What the walk goes along.
#[derive(Debug, Clone)]
pub(super) enum Along {
    Key,
    Sha256(Vec<u8>),
    Tag(TagKind, String, String),
    /// Any state but `ready`, which most files are in.
    State(FileState),
}

/// Where the walk stands: keys from `low` on and before `high`. A place in a cursor is the bound that moves.
#[derive(Debug)]
pub(super) struct KeyWalk {
    along: Along,
    bucket_row: i64,
    is_ascending: bool,
    low: String,
    /// `None`: no end.
    high: Option<String>,
    prefix: String,
    delimiter: Option<String>,
}

/// What to do with the row that the walk stands on.
enum Step {
    Next,
    /// Behind all keys with this prefix.
    Behind(String),
}

impl KeyWalk {
    pub(super) fn new(query: &FileQuery, bucket_row: i64) -> Self {
        Self {
            along: along(query),
            bucket_row,
            is_ascending: query.sort == FileSort::KeyAscending,
            low: query.prefix.clone(),
            high: after_prefix(&query.prefix),
            prefix: query.prefix.clone(),
            delimiter: query.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
        }
    }

    /// Continues where an earlier page ended. A place outside the prefix leaves nothing or all of it, as it should.
    pub(super) fn go_on_at(&mut self, place: String) {
        if self.is_ascending {
            self.low = self.low.clone().max(place);
        } else if self.high.as_ref().is_none_or(|high| place < *high) {
            self.high = Some(place);
        }
    }

    /// Fills the page; gives the place at which the next one goes on, if there may be more.
    pub(super) fn run(
        mut self,
        conn: &Connection,
        filter: &FileFilter,
        page: &mut Page,
    ) -> Outcome<Option<String>> {
        let mut statement = conn.prepare_cached(&sql(&self.along, self.is_ascending))?;
        loop {
            let mut rows = statement.query(params_from_iter(self.values()))?;
            let mut jump = None;
            while let Some(row) = rows.next()? {
                if !page.may_examine() {
                    return Ok(Some(self.place()));
                }
                let key: String = row.get(version::KEY)?;
                match self.visit(row, &key, filter, page)? {
                    Step::Next => self.pass(&key),
                    Step::Behind(prefix) => {
                        jump = Some(prefix);
                        break;
                    }
                }
            }
            drop(rows);
            match jump {
                None => return Ok(None),
                Some(prefix) => {
                    if !self.pass_prefix(prefix) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn visit(&self, row: &Row<'_>, key: &str, filter: &FileFilter, page: &mut Page) -> Outcome<Step> {
        if !filter.takes(&Examined(row))? {
            return Ok(Step::Next);
        }
        if let Some(prefix) = self.common_prefix(key) {
            page.found.prefixes.push(prefix.clone());
            return Ok(Step::Behind(prefix));
        }
        page.add(row)?;
        Ok(Step::Next)
    }

    /// The key up to the first delimiter after the prefix, that included.
    fn common_prefix(&self, key: &str) -> Option<String> {
        let delimiter = self.delimiter.as_ref()?;
        let rest = key.strip_prefix(&self.prefix)?;
        let end = self.prefix.len() + rest.find(delimiter.as_str())? + delimiter.len();
        key.get(..end).map(str::to_owned)
    }

    fn pass(&mut self, key: &str) {
        if self.is_ascending {
            // The very next string there can be.
            self.low.clear();
            self.low.push_str(key);
            self.low.push('\0');
        } else {
            self.high = Some(key.to_owned());
        }
    }

    /// False: nothing lies behind it.
    fn pass_prefix(&mut self, prefix: String) -> bool {
        if !self.is_ascending {
            self.high = Some(prefix);
            return true;
        }
        match after_prefix(&prefix) {
            Some(low) => {
                self.low = low;
                true
            }
            None => false,
        }
    }

    fn place(&self) -> String {
        if self.is_ascending { self.low.clone() } else { self.high.clone().unwrap_or_default() }
    }

    fn values(&self) -> Vec<Value> {
        // SQLite orders every BLOB after every TEXT, so an empty one is the end of all keys.
        let high = self.high.clone().map_or(Value::Blob(Vec::new()), Value::Text);
        let mut values = vec![Value::Integer(self.bucket_row), Value::Text(self.low.clone()), high];
        match &self.along {
            Along::Key => {}
            Along::Sha256(digest) => {
                let prefix = digest.get(..SHA256_PREFIX_BYTES).unwrap_or_default();
                values.extend([Value::Blob(prefix.to_vec()), Value::Blob(digest.clone())]);
            }
            Along::Tag(kind, name, value) => {
                values.extend([
                    Value::Integer(*kind as i64),
                    Value::Text(name.clone()),
                    Value::Text(value.clone()),
                ]);
            }
            Along::State(state) => values.push(Value::Text(state.as_str().to_owned())),
        }
        values
    }
}

/// The index that leaves the fewest rows, judged by what sort of condition there is.
fn along(query: &FileQuery) -> Along {
    // `FileFilter::new` refused a malformed digest before.
    if let Ok(Some(digest)) = sha256(query) {
        return Along::Sha256(digest.as_bytes().to_vec());
    }
    if let Some((name, value)) = query.labels.first_key_value() {
        return Along::Tag(TagKind::Label, name.as_str().to_owned(), value.clone());
    }
    if let Some((name, value)) = query.metadata.first_key_value() {
        return Along::Tag(TagKind::Metadata, name.as_str().to_owned(), value.clone());
    }
    match query.state {
        Some(state) if state != FileState::Ready => Along::State(state),
        _ => Along::Key,
    }
}

/// The least string behind all that begin with `prefix`; `None` when there is none.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut kept = prefix.to_owned();
    while let Some(last) = kept.pop() {
        if let Some(next) = next_char(last) {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

/// UTF-8 orders strings as their code points are ordered, so the next code point will do; surrogates are none.
fn next_char(c: char) -> Option<char> {
    const AFTER_SURROGATES: char = '\u{e000}';
    let next = u32::from(c) + 1;
    char::from_u32(next).or(if (0xd800..0xe000).contains(&next) { Some(AFTER_SURROGATES) } else { None })
}

/// `INDEXED BY` makes the statement fail rather than ever scan or sort.
pub(super) fn sql(along: &Along, is_ascending: bool) -> String {
    const FILE: &str = "CROSS JOIN buckets b ON b.id = f.bucket CROSS JOIN domains d ON d.id = b.domain";
    let order = if is_ascending { "ASC" } else { "DESC" };
    let (from, key, more) = match along {
        Along::Key => ("files f INDEXED BY files_by_key", "f.key", ""),
        Along::Sha256(_) => (
            "files f INDEXED BY files_by_sha256",
            "f.key",
            "AND substr(f.sha256, 1, 8) = ?4 AND f.sha256 = ?5",
        ),
        Along::State(_) => {
            ("files f INDEXED BY files_by_state", "f.key", "AND f.state = ?4 AND f.state <> 'ready'")
        }
        Along::Tag(..) => (
            "tags t CROSS JOIN files f ON f.id = t.file",
            "t.key",
            "AND t.bucket = ?1 AND t.kind = ?4 AND t.name = ?5 AND t.value = ?6",
        ),
    };
    format!(
        "SELECT {} FROM {from} {FILE}
         WHERE f.bucket = ?1 AND {key} >= ?2 AND {key} < ?3 {more} ORDER BY {key} {order}",
        *FILE_COLUMNS
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_of_a_prefix_steps_over_what_is_no_character() {
        assert_eq!(after_prefix("a/").as_deref(), Some("a0"));
        assert_eq!(after_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }

    proptest! {
        #[test]
        fn a_key_lies_in_the_range_of_a_prefix_just_when_it_begins_with_it(prefix in ".{0,4}", key in ".{0,8}") {
            let in_range = key >= prefix && after_prefix(&prefix).is_none_or(|end| key < end);
            prop_assert_eq!(in_range, key.starts_with(&prefix));
        }
    }
}
