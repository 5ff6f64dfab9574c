//! Files: put, list, describe, delete, status.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use usp_model::{
    BucketName, ContentDigest, Error, ErrorKind, FileId, FileKey, FileState, LabelKey, MediaType, RuleName,
    UploadId,
};

use crate::body::PutBody;
use crate::call::Call;
use crate::types::{File, FilePage, FileStatus};
use crate::{Client, ClientError};

/// Where a content goes and what is said of it.
#[derive(Debug, Clone)]
pub struct PutFile {
    pub bucket: BucketName,
    pub key: FileKey,
    pub media_type: Option<MediaType>,
    pub metadata: BTreeMap<LabelKey, String>,
    pub labels: BTreeMap<LabelKey, String>,
    /// The server refuses content that does not match, and stores nothing.
    pub digest: Option<ContentDigest>,
    /// A rule to apply whether or not its condition holds.
    pub rule: Option<RuleName>,
    /// Refuse to replace a file that stands already.
    pub only_new: bool,
}

impl PutFile {
    /// A content with nothing said about it but its place.
    pub fn at(bucket: BucketName, key: FileKey) -> Self {
        Self {
            bucket,
            key,
            media_type: None,
            metadata: BTreeMap::new(),
            labels: BTreeMap::new(),
            digest: None,
            rule: None,
            only_new: false,
        }
    }

    fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(media_type) = &self.media_type {
            headers.insert(CONTENT_TYPE, header_value(media_type.as_str())?);
        }
        if let Some(digest) = &self.digest {
            headers.insert(HeaderName::from_static("repr-digest"), digest_field(digest)?);
        }
        if self.only_new {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        for (prefix, entries) in [("x-usp-meta-", &self.metadata), ("x-usp-label-", &self.labels)] {
            for (key, value) in entries {
                headers.insert(label_header(prefix, key)?, header_value(value)?);
            }
        }
        // A repeated attempt is then answered with what the first one stored.
        let key = UploadId::random()?.to_string();
        headers.insert(HeaderName::from_static("idempotency-key"), header_value(&key)?);
        Ok(headers)
    }
}

/// Which files of a bucket to list. All conditions that are set must hold.
#[derive(Debug, Clone, Default)]
pub struct ListFiles {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub state: Option<FileState>,
    pub media_type: Option<String>,
    /// Of one page; `None` leaves it to the server.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

impl Client {
    /// Stores content under a key, and answers with the file and whether the key is new.
    ///
    /// Errors: `Conflict`, `PreconditionFailed`, `TooLarge`, `UnsupportedMedia`, `DigestMismatch`, `StorageFull`.
    /// Cancel: safe; the server keeps nothing of a body that breaks off.
    pub async fn put(&self, file: &PutFile, body: PutBody) -> Result<(File, bool), ClientError> {
        let url = self.base().file(&file.bucket, &file.key)?;
        let mut call = Call::new(Method::PUT, url).query("rule", file.rule.as_ref()).put(body);
        call.headers = file.headers()?;
        let response = self.send(call).await?;
        let is_new = response.status() == reqwest::StatusCode::CREATED;
        Ok((self.read_json(response).await?, is_new))
    }

    pub async fn list_files(&self, bucket: &BucketName, list: &ListFiles) -> Result<FilePage, ClientError> {
        let url = self.base().at(["buckets", bucket.as_str(), "files"])?;
        let prefix = Some(&list.prefix).filter(|prefix| !prefix.is_empty());
        let call = Call::get(url)
            .query("prefix", prefix)
            .query("delimiter", list.delimiter.as_ref())
            .query("state", list.state)
            .query("media_type", list.media_type.as_ref())
            .query("limit", list.limit)
            .query("cursor", list.cursor.as_ref());
        self.ask(call).await
    }

    /// Every page of a list, one after the other; asks for the next page only when it is polled for it.
    pub fn pages(
        &self,
        bucket: BucketName,
        list: ListFiles,
    ) -> impl Stream<Item = Result<FilePage, ClientError>> + Send + use<> {
        let client = self.clone();
        futures::stream::try_unfold(Some(list), move |list| {
            let (client, bucket) = (client.clone(), bucket.clone());
            async move {
                let Some(mut list) = list else { return Ok(None) };
                let page = client.list_files(&bucket, &list).await?;
                list.cursor = page.next_cursor.clone();
                Ok(Some((page, list.cursor.is_some().then_some(list))))
            }
        })
    }

    /// Every file of a list, without common prefixes.
    pub fn files(
        &self,
        bucket: BucketName,
        list: ListFiles,
    ) -> impl Stream<Item = Result<File, ClientError>> + Send + use<> {
        self.pages(bucket, list).map_ok(|page| futures::stream::iter(page.items).map(Ok)).try_flatten()
    }

    pub async fn file(&self, id: &FileId) -> Result<File, ClientError> {
        self.ask(Call::get(self.base().by_id(id, None)?)).await
    }

    /// Describes the file under a key, without its reports. Errors: `NotFound`.
    ///
    /// The contract has no such route: a key sorts before all that begin with it, so it heads the list of its prefix.
    pub async fn file_at(&self, bucket: &BucketName, key: &FileKey) -> Result<File, ClientError> {
        let list = ListFiles { prefix: key.as_str().to_owned(), limit: Some(1), ..ListFiles::default() };
        let page = self.list_files(bucket, &list).await?;
        page.items.into_iter().find(|file| file.key == *key).ok_or_else(|| {
            let reason = format!("there is no file {key} in bucket {bucket}");
            Error::new(ErrorKind::NotFound, "find file").because(reason).into()
        })
    }

    pub async fn status(&self, id: &FileId) -> Result<FileStatus, ClientError> {
        self.ask(Call::get(self.base().by_id(id, Some("status"))?)).await
    }

    pub async fn delete(&self, id: &FileId) -> Result<(), ClientError> {
        self.tell(Call::new(Method::DELETE, self.base().by_id(id, None)?)).await
    }

    pub async fn delete_at(&self, bucket: &BucketName, key: &FileKey) -> Result<(), ClientError> {
        self.tell(Call::new(Method::DELETE, self.base().file(bucket, key)?)).await
    }
}

fn header_value(text: &str) -> Result<HeaderValue, ClientError> {
    // UTF-8 beyond ASCII may stand in a header as opaque bytes (RFC 9110, section 5.5); usp reads it.
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_source| {
        ClientError::usage("write header", "a label or metadata value may not hold control characters")
    })
}

/// Header names know no capitals and no '/', so such a key would arrive changed or not at all.
fn label_header(prefix: &str, key: &LabelKey) -> Result<HeaderName, ClientError> {
    let refused = || {
        let reason = format!("'{key}' cannot travel in a header: use a-z, 0-9, '_', '-' and '.'");
        ClientError::usage("write header", reason)
    };
    if key.as_str().bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(refused());
    }
    HeaderName::from_bytes(format!("{prefix}{key}").as_bytes()).map_err(|_source| refused())
}

fn digest_field(digest: &ContentDigest) -> Result<HeaderValue, ClientError> {
    let text = STANDARD.encode(digest.as_bytes());
    header_value(&format!("{}=:{text}:", digest.algorithm().http_name()))
}

#[cfg(test)]
mod tests {
    use usp_model::DigestAlgorithm;

    use super::*;

    fn put(metadata: &[(&str, &str)]) -> PutFile {
        let mut file = PutFile::at(BucketName::parse("abc").unwrap(), FileKey::parse("k").unwrap());
        for (key, value) in metadata {
            file.metadata.insert(LabelKey::parse(key).unwrap(), (*value).to_owned());
        }
        file
    }

    #[test]
    fn what_is_said_of_a_file_travels_in_headers() {
        let mut file = put(&[("from", "Zürich")]);
        file.labels.insert(LabelKey::parse("team").unwrap(), "sales".to_owned());
        file.only_new = true;
        file.digest = Some(ContentDigest::new(DigestAlgorithm::Sha256, vec![0; 32]).unwrap());
        let headers = file.headers().unwrap();
        assert_eq!(headers["x-usp-meta-from"].as_bytes(), "Zürich".as_bytes());
        assert_eq!(headers["x-usp-label-team"], "sales");
        assert_eq!(headers["if-none-match"], "*");
        assert_eq!(headers["repr-digest"], "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:");
        assert_eq!(headers["idempotency-key"].len(), 43);
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused_before_anything_is_sent() {
        for entry in [("Team", "x"), ("a/b", "x"), ("team", "line\r\nX-Injected: 1"), ("team", "\0")] {
            assert_eq!(put(&[entry]).headers().unwrap_err().kind(), ErrorKind::InvalidInput, "{entry:?}");
        }
    }
}
