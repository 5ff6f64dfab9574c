//! What the fields of a form say about the files that follow them.

use std::collections::BTreeMap;

use axum::extract::multipart::Field;
use usp_api::NewFile;
use usp_model::error::printable;
use usp_model::{BucketName, Error, ErrorKind, FileKey, LabelKey, MediaType, Result, RuleName};

use crate::rest::input::content::broken_body;
use crate::rest::input::json::refused;
use crate::rest::input::labels;

/// The longest value that makes sense: a label of 2048 bytes.
const FIELD_BYTES_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Form {
    bucket: BucketName,
    idempotency_key: Option<String>,
    pub(super) trace: Option<String>,
    /// Of the next file only.
    key: Option<String>,
    prefix: String,
    rule: Option<RuleName>,
    metadata: BTreeMap<LabelKey, String>,
    labels: BTreeMap<LabelKey, String>,
    parts_begun: usize,
    files_begun: usize,
    part_name: Option<String>,
    part_file_name: Option<String>,
}

/// A part that is a file: it has a file name, or is named `file`.
pub(super) fn is_file(part: &Field<'_>) -> bool {
    part.file_name().is_some() || part.name() == Some("file")
}

/// Reads on behind a part that is not filled in. Errors: `InvalidInput` if there is content in it.
pub(super) async fn pass_over(mut part: Field<'_>) -> Result<()> {
    while let Some(piece) = part.chunk().await.map_err(|error| broken_body(Box::new(error)))? {
        if !piece.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "name file")
                .because("the file name of the part is empty and no field 'key' stands before it"));
        }
    }
    Ok(())
}

impl Form {
    pub(super) fn new(bucket: BucketName, idempotency_key: Option<String>) -> Self {
        Self {
            bucket,
            idempotency_key,
            trace: None,
            key: None,
            prefix: String::new(),
            rule: None,
            metadata: BTreeMap::new(),
            labels: BTreeMap::new(),
            parts_begun: 0,
            files_begun: 0,
            part_name: None,
            part_file_name: None,
        }
    }

    /// Remembers which part is at hand; returns how many there were.
    pub(super) fn begin_part(&mut self, name: Option<&str>, file_name: Option<&str>) -> usize {
        self.parts_begun += 1;
        self.part_name = name.map(str::to_owned);
        self.part_file_name = file_name.map(str::to_owned);
        self.parts_begun
    }

    /// Counts from 0.
    pub(super) fn part_index(&self) -> usize {
        self.parts_begun.saturating_sub(1)
    }

    pub(super) fn part_name(&self) -> Option<&str> {
        self.part_name.as_deref()
    }

    pub(super) fn part_file_name(&self) -> Option<&str> {
        self.part_file_name.as_deref()
    }

    /// Takes a field. Errors: `InvalidInput` for an unknown one.
    pub(super) async fn take_field(&mut self, mut part: Field<'_>) -> Result<()> {
        let name = part.name().unwrap_or_default().to_owned();
        let value = text(&mut part, &name).await?;
        match name.split_once('.') {
            Some(("meta", key)) => {
                self.metadata.insert(label_key(&name, key)?, value);
                labels::check(&self.metadata, "/metadata")
            }
            Some(("label", key)) => {
                self.labels.insert(label_key(&name, key)?, value);
                labels::check(&self.labels, "/labels")
            }
            _ => self.take_plain(&name, value),
        }
    }

    fn take_plain(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "key" => self.key = Some(value),
            "prefix" => self.prefix = value,
            "rule" if value.is_empty() => self.rule = None,
            "rule" => self.rule = Some(RuleName::parse(&value)?),
            _ => {
                let known = "files, 'key', 'prefix', 'rule', 'meta.KEY' and 'label.KEY' are";
                return Err(refused(pointer(name), format!("is no field of this form: {known}")));
            }
        }
        Ok(())
    }

    /// A browser sends a file input in which nothing was chosen as a file without a name.
    pub(super) fn is_unfilled(&self, part: &Field<'_>) -> bool {
        part.file_name() == Some("") && self.key.is_none()
    }

    /// What is known of the file that begins here.
    pub(super) fn file(&mut self, part: &Field<'_>) -> Result<NewFile> {
        let named = self.key.take().or_else(|| part.file_name().map(str::to_owned));
        let name = named.ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "name file")
                .because("the part has no file name and no field 'key' stands before it")
        })?;
        let key = FileKey::parse(&format!("{}{name}", self.prefix))?;
        let declared_media_type = part.content_type().map(MediaType::parse).transpose()?;
        self.files_begun += 1;
        let number = self.files_begun;
        Ok(NewFile {
            declared_media_type,
            metadata: self.metadata.clone(),
            labels: self.labels.clone(),
            idempotency_key: self.idempotency_key.as_ref().map(|key| format!("{key}.{number}")),
            rule: self.rule.clone(),
            trace: self.trace.clone(),
            ..NewFile::at(self.bucket.clone(), key)
        })
    }
}

/// A short text. Errors: `TooLarge`, `InvalidInput` when it is not UTF-8.
async fn text(part: &mut Field<'_>, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(|error| broken_body(Box::new(error)))? {
        if bytes.len() + piece.len() > FIELD_BYTES_MAX {
            return Err(Error::new(ErrorKind::TooLarge, "read form").because(format!(
                "the field '{}' has more than {FIELD_BYTES_MAX} bytes; is a file meant? Then it needs a file name",
                printable(name)
            )));
        }
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| refused(pointer(name), "is not UTF-8"))
}

fn label_key(name: &str, key: &str) -> Result<LabelKey> {
    LabelKey::parse(key).map_err(|error| refused(pointer(name), error.detail()))
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}
