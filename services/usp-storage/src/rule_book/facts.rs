//! What a condition can speak of.

use std::collections::BTreeMap;

use serde::Serialize;
use usp_api::NewFile;
use usp_model::{BucketName, File, FileKey, LabelKey, MediaType, UserName};

/// The members of `file` in a condition: of a file that is about to be committed, or of one that stands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Facts {
    bucket: BucketName,
    key: FileKey,
    name: String,
    extension: String,
    media_type: MediaType,
    /// Empty: nothing was declared.
    declared_media_type: String,
    size: u64,
    owner: String,
    labels: BTreeMap<LabelKey, String>,
    metadata: BTreeMap<LabelKey, String>,
}

impl Facts {
    /// The names of the members. A condition that speaks of another one is refused when it is read.
    pub(crate) const NAMES: [&str; 10] = [
        "bucket",
        "key",
        "name",
        "extension",
        "media_type",
        "declared_media_type",
        "size",
        "owner",
        "labels",
        "metadata",
    ];

    /// Of a file that stands.
    pub(crate) fn of(file: &File) -> Self {
        Self {
            bucket: file.bucket.clone(),
            name: file.key.file_name().to_owned(),
            extension: file.key.extension().unwrap_or_default(),
            key: file.key.clone(),
            media_type: file.media_type.clone(),
            declared_media_type: text_of(file.declared_media_type.as_ref()),
            size: file.size_bytes,
            owner: file.owner.clone(),
            labels: file.labels.clone(),
            metadata: file.metadata.clone(),
        }
    }

    /// Of a file that is about to be committed.
    pub(crate) fn of_new(file: &NewFile, owner: &UserName, media_type: &MediaType, size_bytes: u64) -> Self {
        Self {
            bucket: file.bucket.clone(),
            name: file.key.file_name().to_owned(),
            extension: file.key.extension().unwrap_or_default(),
            key: file.key.clone(),
            media_type: media_type.clone(),
            declared_media_type: text_of(file.declared_media_type.as_ref()),
            size: size_bytes,
            owner: owner.as_str().to_owned(),
            labels: file.labels.clone(),
            metadata: file.metadata.clone(),
        }
    }
}

fn text_of(media_type: Option<&MediaType>) -> String {
    media_type.map_or_else(String::new, |media_type| media_type.as_str().to_owned())
}
