//! Pages of files, read along an index.
//!
//! In key order a page walks one of four indexes: all files, those with one SHA-256, those with one label or metadata
//! entry, or those in one state other than `ready`. By time of creation it walks that index. What the index does not
//! decide is checked row by row, and a page looks at `EXAMINED_COUNT_MAX` rows at most: a filter that matches little
//! gives short pages with a cursor, never a slow one; so do files with long metadata.
//!
//! With a delimiter the first match under a common prefix is the last row read there: the walk goes on behind it.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use usp_decide::list::FileFilter;
use usp_model::{BucketName, Error, File, FilePage, FileQuery, FileSort, PageLimit, Timestamp};

use super::ask::Column;
use super::buckets;
use super::cursor::{self, Fingerprint};
use super::fail::Outcome;
use super::filter::Examined;
use super::key_order::KeyWalk;
use super::version_row::{self, version, version_row};

/// Rows that one page may look at: some ten milliseconds of work.
pub(super) const EXAMINED_COUNT_MAX: u32 = 10_000;
/// Metadata and labels of one page, whatever its limit: one file may have a quarter of a megabyte of them.
const TEXT_BYTES_MAX: usize = 4 << 20;

pub(super) fn list(conn: &Connection, bucket: &BucketName, query: &FileQuery) -> Outcome<FilePage> {
    let bucket = buckets::row(conn, bucket)?;
    let filter = FileFilter::new(query)?;
    let name = Fingerprint::of(&fingerprint_text(bucket.id, query));
    let mut page = Page::new(query.limit);
    let next = match query.sort {
        FileSort::KeyAscending | FileSort::KeyDescending => {
            let mut walk = KeyWalk::new(query, bucket.id);
            if let Some(cursor) = &query.cursor {
                let place = String::from_utf8(name.place_of(cursor)?).map_err(|_no_key| cursor::refused())?;
                walk.go_on_at(place);
            }
            walk.run(conn, &filter, &mut page)?.map(String::into_bytes)
        }
        FileSort::CreatedAscending | FileSort::CreatedDescending => {
            let place =
                query.cursor.as_ref().map(|cursor| read_place(&name.place_of(cursor)?)).transpose()?;
            walk_created(conn, bucket.id, query, place, &filter, &mut page)?.map(|place| place.to_vec())
        }
    };
    let mut found = page.found;
    version_row::add_derived(conn, &mut found.files)?;
    found.next_cursor = next.map(|place| name.cursor_at(&place));
    Ok(found)
}

/// Everything that decides which rows come and in which order; not how many.
fn fingerprint_text(bucket_row: i64, query: &FileQuery) -> String {
    let bare = FileQuery { limit: 0, cursor: None, ..query.clone() };
    format!("files {bucket_row} {bare:?}")
}

/// A page as it fills.
pub(super) struct Page {
    pub(super) found: FilePage,
    count_max: usize,
    examined_count: u32,
    /// Of what users may make long: metadata and labels.
    text_bytes: usize,
}

impl Page {
    fn new(limit: u32) -> Self {
        let limit = PageLimit::bounded(limit).get();
        Self { found: FilePage::default(), count_max: limit as usize, examined_count: 0, text_bytes: 0 }
    }

    /// Whether another row may be looked at; the caller stops before the row if not.
    pub(super) fn may_examine(&mut self) -> bool {
        if self.is_full() || self.examined_count >= EXAMINED_COUNT_MAX {
            return false;
        }
        self.examined_count += 1;
        true
    }

    fn is_full(&self) -> bool {
        self.found.files.len() + self.found.prefixes.len() >= self.count_max
            || self.text_bytes >= TEXT_BYTES_MAX
    }

    pub(super) fn add(&mut self, row: &Row<'_>) -> Outcome<()> {
        let file = file(row)?;
        let texts = file.metadata.iter().chain(&file.labels);
        self.text_bytes += texts.map(|(key, value)| key.as_str().len() + value.len()).sum::<usize>();
        self.found.files.push(file);
        Ok(())
    }
}

fn file(row: &Row<'_>) -> Outcome<File> {
    Ok(version_row(row)?.file)
}

/// `created_at` and row number of the last row looked at.
type CreatedPlace = [u8; 16];

fn read_place(bytes: &[u8]) -> Result<(i64, i64), Error> {
    let (at, row) = bytes.split_at_checked(8).ok_or_else(cursor::refused)?;
    let number =
        |bytes: &[u8]| <[u8; 8]>::try_from(bytes).map(i64::from_be_bytes).map_err(|_| cursor::refused());
    Ok((number(at)?, number(row)?))
}

fn walk_created(
    conn: &Connection,
    bucket_row: i64,
    query: &FileQuery,
    place: Option<(i64, i64)>,
    filter: &FileFilter,
    page: &mut Page,
) -> Outcome<Option<CreatedPlace>> {
    let is_ascending = query.sort == FileSort::CreatedAscending;
    // One place is left out: the last row looked at, or one that no row has.
    let (at, row_number) = place.unwrap_or(if is_ascending { (-1, 0) } else { (i64::MAX, 0) });
    let after = query.created_after.map_or(-1, Timestamp::unix_ms);
    let before = query.created_before.map_or(i64::MAX, Timestamp::unix_ms);
    let values = [bucket_row, at, row_number, after, before].map(Value::Integer);
    let mut statement = conn.prepare_cached(&created_sql(is_ascending))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if !page.may_examine() {
            return Ok(last);
        }
        if filter.takes(&Examined(row))? {
            page.add(row)?;
        }
        let mut place = CreatedPlace::default();
        let (at, number) = place.split_at_mut(8);
        at.copy_from_slice(&row.time(version::CREATED_AT)?.unix_ms().to_be_bytes());
        number.copy_from_slice(&row.get::<_, i64>(version::FILE_ROW)?.to_be_bytes());
        last = Some(place);
    }
    Ok(None)
}

pub(super) fn created_sql(is_ascending: bool) -> String {
    let (sign, order) = if is_ascending { (">", "ASC") } else { ("<", "DESC") };
    format!(
        "SELECT {} FROM files f INDEXED BY files_by_created
             CROSS JOIN buckets b ON b.id = f.bucket CROSS JOIN domains d ON d.id = b.domain
         WHERE f.bucket = ?1 AND (f.created_at, f.id) {sign} (?2, ?3) AND f.created_at > ?4 AND f.created_at < ?5
         ORDER BY f.created_at {order}, f.id {order}",
        *version_row::FILE_COLUMNS
    )
}

#[cfg(test)]
mod tests;
