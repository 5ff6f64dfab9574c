//! Addresses: the base URL that a user typed, and paths below it that no name can escape from.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use usp_model::error::printable;
use usp_model::{BucketName, FileId, FileKey};

use crate::ClientError;

/// RFC 3986, section 2.3: all but the unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const API: &str = "api/v1";

/// Where one installation listens. Invariant: `http` or `https`, a host, no user, password, query or fragment.
#[derive(Debug, Clone)]
pub(crate) struct BaseUrl(Url);

impl BaseUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, ClientError> {
        let refused = |reason: &str| {
            ClientError::usage("read URL", format!("'{}' will not do: {reason}", printable(text)))
        };
        let url = Url::parse(text)
            .map_err(|source| refused(&format!("{source}; write it as http://127.0.0.1:8080")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(refused("it must begin with http:// or https:// and name a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("a URL must not carry a user or password; use `usp login`"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("leave out everything from '?' or '#' on"));
        }
        Ok(Self(url))
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The URL as a user would type it, for messages.
    pub(crate) fn display(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// A URL below `/api/v1`: each segment is encoded as a whole, so that none can add or leave a level.
    pub(crate) fn at<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, ClientError> {
        let mut text = format!("{}/{API}", self.display());
        for segment in segments {
            // The URL standard treats these as steps even when their dots are encoded.
            if matches!(segment, "" | "." | "..") {
                return Err(ClientError::usage("build URL", "a part of the name is empty, '.' or '..'"));
            }
            text.push('/');
            text.extend(utf8_percent_encode(segment, SEGMENT));
        }
        Url::parse(&text).map_err(|source| ClientError::usage("build URL", source.to_string()))
    }

    /// The content of `key` in `bucket`.
    pub(crate) fn file(&self, bucket: &BucketName, key: &FileKey) -> Result<Url, ClientError> {
        self.at(["buckets", bucket.as_str(), "files"].into_iter().chain(key.as_str().split('/')))
    }

    /// What the contract has below `/files/{file_id}`.
    pub(crate) fn by_id(&self, id: &FileId, below: Option<&str>) -> Result<Url, ClientError> {
        self.at(["files", &id.to_string()].into_iter().chain(below))
    }
}

#[cfg(test)]
mod tests {
    use usp_model::ErrorKind;

    use super::*;

    fn file(base: &str, key: &str) -> String {
        let base = BaseUrl::parse(base).unwrap();
        base.file(&BucketName::parse("abc").unwrap(), &FileKey::parse(key).unwrap()).unwrap().to_string()
    }

    #[test]
    fn each_segment_of_a_key_is_encoded_whole() {
        for (key, path) in [
            ("a/b.csv", "a/b.csv"),
            ("a b+c", "a%20b%2Bc"),
            ("50%2F/..%2f", "50%252F/..%252f"),
            ("what?#frag", "what%3F%23frag"),
            ("ä/日本", "%C3%A4/%E6%97%A5%E6%9C%AC"),
            ("%2e%2e/x", "%252e%252e/x"),
            ("a:b@c;d=e&f", "a%3Ab%40c%3Bd%3De%26f"),
            ("...", "..."),
        ] {
            let expected = format!("http://h:1/api/v1/buckets/abc/files/{path}");
            assert_eq!(file("http://h:1", key), expected, "{key}");
        }
    }

    #[test]
    fn a_base_below_a_path_is_kept() {
        assert_eq!(file("https://h/usp/", "a"), "https://h/usp/api/v1/buckets/abc/files/a");
        assert_eq!(file("https://h/usp", "a"), "https://h/usp/api/v1/buckets/abc/files/a");
    }

    #[test]
    fn segments_that_the_url_standard_would_walk_are_refused() {
        let base = BaseUrl::parse("http://h").unwrap();
        for segment in ["", ".", ".."] {
            assert!(base.at(["rules", segment]).is_err());
        }
    }

    #[test]
    fn a_base_url_names_a_web_server_and_nothing_else() {
        for text in ["", "h:1", "ftp://h", "http://u:p@h", "http://h/?a", "http://h/#a", "file:///etc"] {
            assert_eq!(BaseUrl::parse(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
