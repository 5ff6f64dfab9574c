//! Turns messages into queries and changes: every field is checked here, and all violations are reported at once.

use std::collections::BTreeMap;

use usp_api::NewFile;
use usp_model::file::label_violations;
use usp_model::limits::{FILE_SIZE_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX};
use usp_model::{
    BucketName, ContentDigest, DigestAlgorithm, Error, ErrorKind, FileId, FileKey, FilePatch, FileQuery,
    FileRef, FileSort, FileState, KeyCondition, LabelKey, MediaType, PageLimit, Result, RuleName, RunQuery,
    RunState, Timestamp, Violation,
};
use usp_proto::processor::ListRunsRequest;
use usp_proto::shared::{self, Digests, ListFilesRequest, PrepareUploadRequest};
use usp_proto::storage::{MapChange, UpdateFileRequest, UploadHeader};

const BUCKET_DEFAULT: &str = "default";

/// Collects what is wrong with the fields of one message.
#[derive(Debug, Default)]
pub(super) struct Fields {
    violations: Vec<Violation>,
}

impl Fields {
    /// Unwraps the value of a valid field, or records why it is not valid.
    pub(super) fn take<T>(&mut self, field: &str, checked: Result<T>) -> Option<T> {
        checked.map_err(|error| self.refuse(field, error.detail())).ok()
    }

    fn refuse(&mut self, field: &str, detail: impl Into<String>) {
        self.violations.push(Violation::new(format!("/{field}"), detail));
    }

    /// Errors: `InvalidInput` when anything was wrong.
    pub(super) fn end<T>(self, value: Option<T>) -> Result<T> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => Err(Error::new(ErrorKind::InvalidInput, "read message")
                .because(match self.violations.as_slice() {
                    [only] => format!("{}: {}", only.pointer.trim_start_matches('/'), only.detail),
                    many => format!("{} fields of the message will not do", many.len()),
                })
                .with_violations(self.violations)),
        }
    }

    pub(super) fn bucket(&mut self, text: &str) -> Option<BucketName> {
        let text = if text.is_empty() { BUCKET_DEFAULT } else { text };
        self.take("bucket", BucketName::parse(text))
    }

    fn place(&mut self, bucket: &str, key: &str) -> Option<(BucketName, FileKey)> {
        let (bucket, key) = (self.bucket(bucket), self.take("key", FileKey::parse(key)));
        bucket.zip(key)
    }

    fn size(&mut self, size_bytes: Option<u64>) {
        if size_bytes.is_some_and(|size| size > FILE_SIZE_BYTES_MAX) {
            self.refuse("size_bytes", format!("at most {FILE_SIZE_BYTES_MAX} bytes"));
        }
    }

    fn media_type(&mut self, text: &str) -> Option<MediaType> {
        optional(text).and_then(|text| self.take("media_type", MediaType::parse(text)))
    }

    fn labels(&mut self, field: &str, map: BTreeMap<String, String>) -> BTreeMap<LabelKey, String> {
        let mut labels = BTreeMap::new();
        for (key, value) in map {
            if let Some(key) = self.take(field, LabelKey::parse(&key)) {
                labels.insert(key, value);
            }
        }
        self.violations.extend(label_violations(&labels, &format!("/{field}")));
        labels
    }

    fn digests(&mut self, digests: Option<Digests>) -> Vec<ContentDigest> {
        let Digests { sha256, sha512, blake3, md5, crc32c } = digests.unwrap_or_default();
        let named = [
            ("digests/sha256", DigestAlgorithm::Sha256, sha256),
            ("digests/sha512", DigestAlgorithm::Sha512, sha512),
            ("digests/blake3", DigestAlgorithm::Blake3, blake3),
            ("digests/md5", DigestAlgorithm::Md5, md5),
            ("digests/crc32c", DigestAlgorithm::Crc32c, crc32c),
        ];
        let given = named.into_iter().filter(|(_, _, hex)| !hex.is_empty());
        given
            .filter_map(|(field, algorithm, hex)| self.take(field, ContentDigest::from_hex(algorithm, &hex)))
            .collect()
    }

    fn condition(&mut self, if_absent: bool, if_match: &str) -> KeyCondition {
        match (if_absent, self.etags(if_match)) {
            (true, None) => KeyCondition::Absent,
            (false, None) => KeyCondition::Any,
            (false, Some(etags)) => KeyCondition::Matches(etags),
            (true, Some(_)) => {
                self.refuse("if_match", "if_absent and if_match cannot both hold");
                KeyCondition::Absent
            }
        }
    }

    /// One etag, with or without its quotes; `*` takes any version.
    pub(super) fn etags(&mut self, if_match: &str) -> Option<Vec<String>> {
        match if_match.trim() {
            "" => None,
            "*" => Some(Vec::new()),
            weak if weak.starts_with("W/") => {
                self.refuse("if_match", "a strong etag is needed");
                None
            }
            etag => Some(vec![etag.trim_matches('"').to_owned()]),
        }
    }

    fn limit(&mut self, count: u32) -> PageLimit {
        self.take("limit", PageLimit::from_unset_zero(count)).unwrap_or_default()
    }

    fn time(&mut self, field: &str, at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
        let at = at?;
        let Some(ms) = at.seconds.checked_mul(1000).filter(|ms| *ms >= 0) else {
            self.refuse(field, "a time since 1970 is needed");
            return None;
        };
        Some(Timestamp::from_unix_ms(ms.saturating_add(i64::from(at.nanos / 1_000_000))))
    }

    fn changes(&mut self, field: &str, change: Option<MapChange>) -> BTreeMap<LabelKey, Option<String>> {
        let MapChange { set, remove } = change.unwrap_or_default();
        let mut changes = BTreeMap::new();
        for key in remove {
            if let Some(key) = self.take(&format!("{field}/remove"), LabelKey::parse(&key)) {
                changes.insert(key, None);
            }
        }
        for (key, value) in self.labels(&format!("{field}/set"), set) {
            if changes.insert(key, Some(value)).is_some() {
                self.refuse(field, "one key can be set or removed, not both");
            }
        }
        changes
    }
}

/// In messages, an empty text is an absent one.
pub(super) fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Names a file by id, or by bucket and key. Errors: `InvalidInput`, `NotFound` for an id that is none.
pub(super) fn file_ref(file_id: &str, bucket: &str, key: &str) -> Result<FileRef> {
    let mut fields = Fields::default();
    let Some(id) = optional(file_id) else {
        let place = fields.place(bucket, key);
        return fields.end(place.map(|(bucket, key)| FileRef::Key(bucket, key)));
    };
    if !bucket.is_empty() || !key.is_empty() {
        fields.refuse("file_id", "name the file by its id or by bucket and key, not both");
        return fields.end(None);
    }
    FileId::parse(id).map(FileRef::Id)
}

pub(super) fn prepared_upload(message: PrepareUploadRequest) -> Result<NewFile> {
    let mut fields = Fields::default();
    fields.size(message.size_bytes);
    if message.idempotency_key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        fields.refuse("idempotency_key", format!("at most {IDEMPOTENCY_KEY_BYTES_MAX} bytes"));
    }
    let place = fields.place(&message.bucket, &message.key);
    let file = place.map(|(bucket, key)| NewFile {
        size_bytes: message.size_bytes,
        declared_media_type: fields.media_type(&message.media_type),
        metadata: fields.labels("metadata", message.metadata),
        labels: fields.labels("labels", message.labels),
        condition: fields.condition(message.if_absent, &message.if_match),
        expected_digests: fields.digests(message.digests),
        idempotency_key: optional(&message.idempotency_key).map(str::to_owned),
        ..NewFile::at(bucket, key)
    });
    fields.end(file)
}

/// The header of an upload that makes a file at once says the same as the request that prepares one.
pub(super) fn one_shot_upload(header: UploadHeader) -> Result<NewFile> {
    prepared_upload(PrepareUploadRequest {
        bucket: header.bucket,
        key: header.key,
        size_bytes: header.size_bytes,
        media_type: header.media_type,
        metadata: header.metadata,
        labels: header.labels,
        digests: header.digests,
        if_absent: header.if_absent,
        if_match: header.if_match,
        idempotency_key: String::new(),
    })
}

/// Digests in lower case, as storage spells them.
pub(super) fn sha256_list(asked: Vec<String>) -> Result<Vec<String>> {
    const COUNT_MAX: usize = 1000;
    let mut fields = Fields::default();
    if asked.len() > COUNT_MAX {
        fields.refuse("sha256", format!("at most {COUNT_MAX} digests"));
        return fields.end(None);
    }
    let read = |hex: &String| fields.take("sha256", ContentDigest::from_hex(DigestAlgorithm::Sha256, hex));
    let digests = asked.iter().filter_map(read).map(|digest| digest.to_hex()).collect();
    fields.end(Some(digests))
}

pub(super) fn file_list(message: ListFilesRequest) -> Result<(BucketName, FileQuery)> {
    let mut fields = Fields::default();
    let bucket = fields.bucket(&message.bucket);
    let sort = match message.sort.as_str() {
        "" | "key" => FileSort::KeyAscending,
        "-key" => FileSort::KeyDescending,
        "created_at" => FileSort::CreatedAscending,
        "-created_at" => FileSort::CreatedDescending,
        _ => {
            fields.refuse("sort", "one of: key, -key, created_at, -created_at");
            FileSort::default()
        }
    };
    let sha256 = optional(&message.digest).and_then(|digest| {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        fields.take("digest", ContentDigest::from_hex(DigestAlgorithm::Sha256, hex))
    });
    let query = FileQuery {
        prefix: message.prefix,
        delimiter: optional(&message.delimiter).map(str::to_owned),
        state: file_state(&mut fields, message.state),
        media_type: optional(&message.media_type).map(str::to_owned),
        labels: fields.labels("labels", message.labels),
        metadata: fields.labels("metadata", message.metadata),
        sha256: sha256.map(|digest| digest.to_hex()),
        created_after: fields.time("created_after", message.created_after),
        created_before: fields.time("created_before", message.created_before),
        sort,
        limit: fields.limit(message.limit).get(),
        cursor: optional(&message.cursor).map(str::to_owned),
        // Storage decides it, for every dialect.
        with_unreleased: false,
    };
    fields.end(bucket.map(|bucket| (bucket, query)))
}

pub(super) fn file_patch(message: UpdateFileRequest) -> Result<FilePatch> {
    let mut fields = Fields::default();
    let patch = FilePatch {
        metadata: fields.changes("metadata", message.metadata),
        labels: fields.changes("labels", message.labels),
        condition_etags: fields.etags(&message.if_match),
        ..FilePatch::default()
    };
    fields.end(Some(patch))
}

pub(super) fn run_list(message: &ListRunsRequest) -> Result<RunQuery> {
    let mut fields = Fields::default();
    let file = optional(&message.file_id).map(FileId::parse).transpose()?;
    let query = RunQuery {
        state: run_state(&mut fields, message.state),
        bucket: optional(&message.bucket).and_then(|bucket| fields.bucket(bucket)),
        file,
        rule: optional(&message.rule).and_then(|rule| fields.take("rule", RuleName::parse(rule))),
        buckets: None,
        limit: fields.limit(message.limit).get(),
        cursor: optional(&message.cursor).map(str::to_owned),
    };
    fields.end(Some(query))
}

fn file_state(fields: &mut Fields, number: i32) -> Option<FileState> {
    match shared::FileState::try_from(number) {
        Ok(shared::FileState::Unspecified) => None,
        Ok(shared::FileState::Uploading) => Some(FileState::Uploading),
        Ok(shared::FileState::Stored) => Some(FileState::Stored),
        Ok(shared::FileState::Processing) => Some(FileState::Processing),
        Ok(shared::FileState::Ready) => Some(FileState::Ready),
        Ok(shared::FileState::Failed) => Some(FileState::Failed),
        Ok(shared::FileState::Quarantined) => Some(FileState::Quarantined),
        Ok(shared::FileState::Rejected) => Some(FileState::Rejected),
        Err(_) => {
            fields.refuse("state", "not a state that this release knows");
            None
        }
    }
}

fn run_state(fields: &mut Fields, number: i32) -> Option<RunState> {
    match shared::RunState::try_from(number) {
        Ok(shared::RunState::Unspecified) => None,
        Ok(shared::RunState::Queued) => Some(RunState::Queued),
        Ok(shared::RunState::Running) => Some(RunState::Running),
        Ok(shared::RunState::Retrying) => Some(RunState::Retrying),
        Ok(shared::RunState::Succeeded) => Some(RunState::Succeeded),
        Ok(shared::RunState::Dead) => Some(RunState::Dead),
        Ok(shared::RunState::Cancelled) => Some(RunState::Cancelled),
        Err(_) => {
            fields.refuse("state", "not a state that this release knows");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told_at_once() {
        let message = PrepareUploadRequest {
            bucket: "NO".to_owned(),
            key: "../x".to_owned(),
            size_bytes: Some(u64::MAX),
            ..PrepareUploadRequest::default()
        };
        let error = prepared_upload(message).unwrap_err();
        let pointers: Vec<_> = error.violations().iter().map(|v| v.pointer.as_str()).collect();
        assert_eq!(pointers, ["/size_bytes", "/bucket", "/key"]);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_file_is_named_one_way_or_the_other() {
        let id = FileId::from_bytes([7; 32]);
        assert_eq!(file_ref(&id.to_string(), "", "").unwrap(), FileRef::Id(id));
        let by_key = file_ref("", "", "a/b").unwrap();
        assert_eq!(by_key.to_string(), "default/a/b");
        assert_eq!(file_ref(&id.to_string(), "", "a").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file_ref("nonsense", "", "").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(file_ref("", "", "").unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn conditions_exclude_each_other() {
        let condition = |if_absent, if_match: &str| {
            let mut fields = Fields::default();
            let condition = fields.condition(if_absent, if_match);
            fields.end(Some(condition))
        };
        assert_eq!(condition(false, "").unwrap(), KeyCondition::Any);
        assert_eq!(condition(true, "").unwrap(), KeyCondition::Absent);
        assert_eq!(condition(false, "\"v1\"").unwrap(), KeyCondition::Matches(vec!["v1".to_owned()]));
        assert!(condition(true, "v1").is_err() && condition(false, "W/\"v1\"").is_err());
    }
}
