//! Places as users type them: `usp://BUCKET/KEY`, `usp://BUCKET/PREFIX`, or a file id.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use usp_model::{BucketName, Error, ErrorKind, FileId, FileKey, FileRef, Result, RunId};

/// What starts every place in a bucket.
pub(crate) const SCHEME: &str = "usp://";

/// Put before an id that begins with '-', as one in 64 does: the parser would take it for options.
const ID_MARK: &str = "id:";

/// An argument as the parser may see it: an id that looks like options is marked, everything else is left alone.
pub(crate) fn with_mark(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with('-') && FileId::parse(text).is_ok() => {
            format!("{ID_MARK}{text}").into()
        }
        _ => argument,
    }
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix(ID_MARK).unwrap_or(text)
}

/// A bucket and what follows it: a key, a prefix or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bucket: BucketName,
    /// As typed, without the slash after the bucket.
    pub(crate) path: String,
}

impl Place {
    /// The bucket that exists from the first start.
    pub(crate) fn default_bucket() -> Result<Self> {
        Ok(Self { bucket: BucketName::parse("default")?, path: String::new() })
    }

    /// Errors: `InvalidInput` unless the path is a whole key.
    pub(crate) fn key(&self) -> Result<FileKey> {
        if self.path.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "read place")
                .because(format!("{self} names a bucket; name a file in it: {SCHEME}{}/KEY", self.bucket)));
        }
        FileKey::parse(&self.path)
    }

    /// Whether what goes there goes below the path, not at it.
    pub(crate) fn is_folder(&self) -> bool {
        self.path.is_empty() || self.path.ends_with('/')
    }

    /// The key of `name` below the path.
    pub(crate) fn below(&self, name: &str) -> Result<FileKey> {
        match self.path.trim_end_matches('/') {
            "" => FileKey::parse(name),
            folder => FileKey::parse(&format!("{folder}/{name}")),
        }
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "read place").because(format!(
                "'{}' is not a place such as {SCHEME}default/2026/orders.csv",
                usp_model::error::printable(text)
            ))
        })?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self { bucket: BucketName::parse(bucket)?, path: path.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.path)
    }
}

/// One file, by its place or by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileArg(pub(crate) FileRef);

impl FromStr for FileArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.starts_with(SCHEME) {
            let place: Place = text.parse()?;
            return Ok(Self(FileRef::Key(place.bucket.clone(), place.key()?)));
        }
        FileId::parse(without_mark(text)).map(|id| Self(FileRef::Id(id))).map_err(|_malformed| {
            Error::new(ErrorKind::InvalidInput, "read file").because(format!(
                "'{}' is neither a place such as {SCHEME}default/orders.csv nor a file id of 43 characters",
                usp_model::error::printable(text)
            ))
        })
    }
}

/// One run, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunArg(pub(crate) RunId);

impl FromStr for RunArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        RunId::parse(without_mark(text)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_a_bucket_and_a_path() {
        for (text, bucket, path) in [
            ("usp://default", "default", ""),
            ("usp://default/", "default", ""),
            ("usp://my.bucket/2026/a b.csv", "my.bucket", "2026/a b.csv"),
            ("usp://abc/x/", "abc", "x/"),
        ] {
            assert_eq!(
                place(text),
                Place { bucket: BucketName::parse(bucket).unwrap(), path: path.to_owned() }
            );
        }
        for text in ["", "default/a", "usp://", "usp:///a", "usp://A/b", "s3://default/a"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_go_below_folders() {
        assert_eq!(place("usp://abc").below("a.csv").unwrap().as_str(), "a.csv");
        assert_eq!(place("usp://abc/x").below("a.csv").unwrap().as_str(), "x/a.csv");
        assert_eq!(place("usp://abc/x/").below("d/a.csv").unwrap().as_str(), "x/d/a.csv");
        assert!(place("usp://abc/x").below("../a").is_err());
        assert!(place("usp://abc/").is_folder() && place("usp://abc/x/").is_folder());
        assert!(!place("usp://abc/x").is_folder());
    }

    #[test]
    fn a_file_is_named_by_place_or_id() {
        let id = FileId::from_bytes([7; 32]);
        assert_eq!(id.to_string().parse::<FileArg>().unwrap().0, FileRef::Id(id));
        assert!(matches!("usp://abc/k".parse::<FileArg>().unwrap().0, FileRef::Key(..)));
        for text in ["usp://abc", "usp://abc/x/", "orders.csv", ""] {
            assert_eq!(text.parse::<FileArg>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }

    #[test]
    fn an_id_that_looks_like_options_is_marked_and_nothing_else_is() {
        let id = FileId::from_bytes([0xf8; 32]).to_string();
        assert!(id.starts_with('-'));
        let marked = with_mark(id.clone().into()).into_string().unwrap();
        assert_eq!(marked.parse::<FileArg>().unwrap().0.to_string(), id);
        assert_eq!(marked.parse::<RunArg>().unwrap().0.to_string(), id);
        let plain = FileId::from_bytes([7; 32]).to_string();
        for text in
            ["-", "--", "--json", "-q", "--data-dir=/some/where/that/is/43/characters/l", plain.as_str()]
        {
            assert_eq!(with_mark(text.into()), OsString::from(text));
        }
    }
}
