//! Short forms for prepared statements and for columns that hold checked types.

use std::str::FromStr;

use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use usp_model::{Error, ErrorKind, Timestamp};

use super::fail::{Outcome, corrupt};

/// Statements are prepared once per connection; every value is a bound parameter.
pub(super) trait Ask {
    /// The first row, if there is one.
    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Outcome<T>,
    ) -> Outcome<Option<T>>;
    /// All rows; the statement itself bounds their number.
    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Outcome<T>,
    ) -> Outcome<Vec<T>>;
    /// Executes and gives the number of rows changed.
    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize>;
}

impl Ask for Connection {
    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Outcome<T>,
    ) -> Outcome<Option<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(&mut read).transpose()
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(read(row)?);
        }
        Ok(out)
    }

    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }
}

/// Columns that hold checked types.
pub(super) trait Column {
    /// A byte or row count.
    fn count(&self, index: usize) -> Outcome<u64>;
    fn time(&self, index: usize) -> rusqlite::Result<Timestamp>;
    fn time_or_none(&self, index: usize) -> rusqlite::Result<Option<Timestamp>>;
    /// Text that was checked before it was written.
    fn text<T: FromStr<Err = Error>>(&self, index: usize) -> Outcome<T>;
    fn text_or_none<T: FromStr<Err = Error>>(&self, index: usize) -> Outcome<Option<T>>;
    fn json<T: DeserializeOwned>(&self, index: usize) -> Outcome<T>;
    /// `NULL` stands for what is empty.
    fn json_or_empty<T: DeserializeOwned + Default>(&self, index: usize) -> Outcome<T>;
}

impl Column for Row<'_> {
    fn count(&self, index: usize) -> Outcome<u64> {
        let value: i64 = self.get(index)?;
        Ok(u64::try_from(value).map_err(|source| corrupt("read catalogue row", "").caused_by(source))?)
    }

    fn time(&self, index: usize) -> rusqlite::Result<Timestamp> {
        self.get(index).map(Timestamp::from_unix_ms)
    }

    fn time_or_none(&self, index: usize) -> rusqlite::Result<Option<Timestamp>> {
        self.get::<_, Option<i64>>(index).map(|unix_ms| unix_ms.map(Timestamp::from_unix_ms))
    }

    fn text<T: FromStr<Err = Error>>(&self, index: usize) -> Outcome<T> {
        checked(self.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?)
    }

    fn text_or_none<T: FromStr<Err = Error>>(&self, index: usize) -> Outcome<Option<T>> {
        self.get_ref(index)?.as_str_or_null().map_err(rusqlite::Error::from)?.map(checked).transpose()
    }

    fn json<T: DeserializeOwned>(&self, index: usize) -> Outcome<T> {
        parsed(self.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?)
    }

    fn json_or_empty<T: DeserializeOwned + Default>(&self, index: usize) -> Outcome<T> {
        let text = self.get_ref(index)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        text.map_or_else(|| Ok(T::default()), parsed)
    }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Outcome<T> {
    Ok(serde_json::from_str(text)
        .map_err(|source| corrupt("read catalogue row", "a JSON column is malformed").caused_by(source))?)
}

fn checked<T: FromStr<Err = Error>>(text: &str) -> Outcome<T> {
    Ok(text.parse().map_err(|source: Error| {
        corrupt("read catalogue row", "a column breaks the rule of its type").caused_by(source)
    })?)
}

/// A byte or row count as SQLite keeps it. Counts come from sizes that the model bounds far below the limit.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The JSON of a value for a column.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Outcome<String> {
    Ok(serde_json::to_string(value)
        .map_err(|source| Error::new(ErrorKind::Internal, "write catalogue row").caused_by(source))?)
}
