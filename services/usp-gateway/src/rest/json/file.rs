//! Files, their status, and what PATCH changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use usp_api::FileStatus;
use usp_model::{
    BucketName, Change, DerivedFile, DigestAlgorithm, File, FileId, FileKey, FilePage, FilePatch, FileState,
    LabelKey, MediaType, Timestamp,
};
use utoipa::ToSchema;

use super::run::RunStatusJson;
use super::words;
use crate::rest::input::labels;

/// A file as its current version, or the one asked for, stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub(crate) struct FileJson {
    /// 43 characters of base64url; the same for the file's whole life.
    #[schema(value_type = String, example = "u7Rz0p9yIuJm3b0H2qk8d1cPzGgqv4WJ0mJt3sR5xYE")]
    pub(crate) id: FileId,
    #[schema(value_type = String, example = "default")]
    bucket: BucketName,
    #[schema(value_type = String, example = "2026/orders.csv")]
    key: FileKey,
    /// Counts from 1.
    #[schema(example = 1)]
    version: u32,
    /// Bytes.
    #[schema(example = 1_048_576)]
    size: u64,
    /// Decided from the bytes.
    #[schema(value_type = String, example = "text/csv")]
    media_type: MediaType,
    /// What the client said.
    #[schema(value_type = Option<String>, example = "text/csv")]
    declared_media_type: Option<MediaType>,
    /// Changes with every version; quotes included, ready for `If-Match`.
    #[schema(example = "\"4f1c\"")]
    etag: String,
    /// Algorithm to lowercase hex. `sha256` is always there, `null` until it is known.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    digests: BTreeMap<DigestAlgorithm, Option<String>>,
    #[schema(schema_with = words::file_state)]
    state: FileState,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[schema(example = "alice")]
    owner: String,
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: BTreeMap<LabelKey, String>,
    #[schema(value_type = BTreeMap<String, String>)]
    labels: BTreeMap<LabelKey, String>,
    stored: StoredJson,
    /// Step name to what it found out.
    reports: BTreeMap<String, Value>,
    derived: Vec<DerivedJson>,
    #[schema(value_type = Option<String>)]
    derived_from: Option<FileId>,
    /// When the file is deleted with all its versions, within half a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What keeping this version cost.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stored)]
pub(crate) struct StoredJson {
    /// Bytes of new frames on disk.
    bytes: u64,
    /// Chunks of the content, new or not.
    chunks: u64,
    /// Bytes of the content that were stored already.
    deduplicated_bytes: u64,
}

/// A file made of this one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Derived)]
pub(crate) struct DerivedJson {
    #[schema(example = "parquet")]
    name: String,
    #[schema(value_type = String)]
    file_id: FileId,
}

impl From<File> for FileJson {
    fn from(file: File) -> Self {
        let mut digests: BTreeMap<_, _> =
            file.digests.into_iter().map(|(algorithm, hex)| (algorithm, Some(hex))).collect();
        digests.entry(DigestAlgorithm::Sha256).or_insert(None);
        Self {
            id: file.id,
            bucket: file.bucket,
            key: file.key,
            version: file.version,
            size: file.size_bytes,
            media_type: file.media_type,
            declared_media_type: file.declared_media_type,
            etag: format!("\"{}\"", file.etag),
            digests,
            state: file.state,
            created_at: file.created_at,
            updated_at: file.updated_at,
            owner: file.owner,
            metadata: file.metadata,
            labels: file.labels,
            stored: StoredJson {
                bytes: file.stored.bytes,
                chunks: file.stored.chunks,
                deduplicated_bytes: file.stored.deduplicated_bytes,
            },
            reports: file.reports,
            derived: file.derived.into_iter().map(DerivedJson::from).collect(),
            derived_from: file.derived_from,
            expires_at: file.expires_at,
        }
    }
}

impl From<DerivedFile> for DerivedJson {
    fn from(derived: DerivedFile) -> Self {
        Self { name: derived.name, file_id: derived.file_id }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FilePage)]
pub(crate) struct FilePageJson {
    items: Vec<FileJson>,
    /// Common beginnings up to the delimiter, when one was given.
    prefixes: Vec<String>,
    /// Ask again with it; `null` on the last page.
    next_cursor: Option<String>,
}

impl From<FilePage> for FilePageJson {
    fn from(page: FilePage) -> Self {
        Self {
            items: page.files.into_iter().map(FileJson::from).collect(),
            prefixes: page.prefixes,
            next_cursor: page.next_cursor,
        }
    }
}

/// Where a file is, from its first byte to the end of its last run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FileStatus)]
pub(crate) struct FileStatusJson {
    #[schema(value_type = String)]
    file_id: FileId,
    #[schema(schema_with = words::file_state)]
    state: FileState,
    upload: UploadStatusJson,
    runs: Vec<RunStatusJson>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UploadStatus)]
pub(crate) struct UploadStatusJson {
    /// Bytes that are safe on disk.
    received: u64,
    /// `null` while the client has not said it.
    size: Option<u64>,
}

impl From<FileStatus> for FileStatusJson {
    fn from(status: FileStatus) -> Self {
        Self {
            file_id: status.file_id,
            state: status.state,
            upload: UploadStatusJson {
                received: status.upload.received_bytes,
                size: status.upload.size_bytes,
            },
            runs: status.runs.into_iter().map(RunStatusJson::from).collect(),
        }
    }
}

/// A JSON merge patch (RFC 7396): what is absent stays, `null` removes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FilePatch)]
pub(crate) struct FilePatchJson {
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    metadata: BTreeMap<LabelKey, Option<String>>,
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    labels: BTreeMap<LabelKey, Option<String>>,
    /// When to delete the file with all its versions; `null`: never. A new version has none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<Timestamp>>,
}

impl FilePatchJson {
    /// Errors: `InvalidInput` for values that no header could bring.
    pub(crate) fn into_patch(self, condition_etags: Option<Vec<String>>) -> usp_model::Result<FilePatch> {
        labels::check(&set(&self.metadata), "/metadata")?;
        labels::check(&set(&self.labels), "/labels")?;
        Ok(FilePatch {
            metadata: self.metadata,
            labels: self.labels,
            expires_at: match self.expires_at {
                None => Change::Keep,
                Some(None) => Change::Clear,
                Some(Some(at)) => Change::Set(at),
            },
            condition_etags,
        })
    }
}

/// What a patch sets, without what it removes.
fn set(patch: &BTreeMap<LabelKey, Option<String>>) -> BTreeMap<LabelKey, String> {
    patch.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
}

/// Tells `null` from absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
