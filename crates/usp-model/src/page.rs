//! How long a page of a list may be.

use crate::limits::{LIST_COUNT_DEFAULT, LIST_COUNT_MAX};
use crate::{Error, ErrorKind, Result};

/// A checked number of entries for one page: the one rule about `limit` for every door, store and list.
///
/// Shape: 1..=[`LIST_COUNT_MAX`]; [`LIST_COUNT_DEFAULT`] where nobody asked for a number. Zero entries is no page, so
/// 0 is refused here. Messages in which 0 stands for an absent number ([`Self::from_unset_zero`]) are read as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PageLimit(u32);

impl PageLimit {
    /// The longest page.
    pub const MAX: Self = Self(LIST_COUNT_MAX);

    /// Checks a number that a caller asked for.
    ///
    /// Errors: `InvalidInput` outside 1..=1000; the detail is the range alone, ready to follow the name of a field.
    pub fn new(count: u32) -> Result<Self> {
        if (1..=LIST_COUNT_MAX).contains(&count) {
            return Ok(Self(count));
        }
        Err(Error::new(ErrorKind::InvalidInput, "check page limit").because(format!("1 to {LIST_COUNT_MAX}")))
    }

    /// Checks an optional number; the default where there is none. Errors: `InvalidInput`.
    pub fn asked(count: Option<u32>) -> Result<Self> {
        count.map_or_else(|| Ok(Self::default()), Self::new)
    }

    /// Checks a number of a message that cannot tell 0 from absent (protobuf). Errors: `InvalidInput` above 1000.
    pub fn from_unset_zero(count: u32) -> Result<Self> {
        Self::asked((count > 0).then_some(count))
    }

    /// Reads the `limit` of a query inside the installation, whose maker may be of another release: 0 is the default,
    /// more than the most is the most. Never fails, so that both ends of a wire bound a page in the same way.
    pub fn bounded(count: u32) -> Self {
        match count {
            0 => Self::default(),
            count => Self(count.min(LIST_COUNT_MAX)),
        }
    }

    /// The number of entries.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Half as many entries, at least one; `None` when a shorter page is not possible.
    pub fn halved(self) -> Option<Self> {
        (self.0 > 1).then_some(Self(self.0 / 2))
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(LIST_COUNT_DEFAULT)
    }
}

impl TryFrom<u32> for PageLimit {
    type Error = Error;

    fn try_from(count: u32) -> Result<Self> {
        Self::new(count)
    }
}

impl From<PageLimit> for u32 {
    fn from(limit: PageLimit) -> Self {
        limit.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_decides_what_a_limit_means() {
        // Number, where a person asks, where 0 is absent, where a query of the installation is read.
        let table = [
            (0, None, Some(100), 100),
            (1, Some(1), Some(1), 1),
            (2, Some(2), Some(2), 2),
            (100, Some(100), Some(100), 100),
            (999, Some(999), Some(999), 999),
            (1_000, Some(1_000), Some(1_000), 1_000),
            (1_001, None, None, 1_000),
            (u32::MAX, None, None, 1_000),
        ];
        for (count, asked, message, bounded) in table {
            let get = |limit: Result<PageLimit>| limit.ok().map(PageLimit::get);
            assert_eq!(get(PageLimit::new(count)), asked, "{count}");
            assert_eq!(get(PageLimit::asked(Some(count))), asked, "{count}");
            assert_eq!(get(PageLimit::from_unset_zero(count)), message, "{count}");
            assert_eq!(PageLimit::bounded(count).get(), bounded, "{count}");
        }
        assert_eq!(PageLimit::asked(None).unwrap(), PageLimit::default());
        assert_eq!(PageLimit::default().get(), LIST_COUNT_DEFAULT);
        assert_eq!(PageLimit::MAX.get(), LIST_COUNT_MAX);
    }

    #[test]
    fn a_refusal_names_the_range() {
        let error = PageLimit::new(0).unwrap_err();
        assert_eq!((error.kind(), error.detail().as_str()), (ErrorKind::InvalidInput, "1 to 1000"));
    }

    #[test]
    fn halving_ends_at_one_entry() {
        let mut counts = vec![PageLimit::MAX];
        while let Some(half) = counts.last().and_then(|limit| limit.halved()) {
            counts.push(half);
        }
        assert_eq!(counts.last().map(|limit| limit.get()), Some(1));
        assert_eq!(counts.len(), 10);
    }
}
