//! `Upload-Metadata`: pairs of a name and a value in base64.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use usp_api::NewFile;
use usp_model::error::printable;
use usp_model::{
    BucketName, ContentDigest, DigestAlgorithm, FileKey, LabelKey, MediaType, Result, Upload, UploadShape,
};

use super::headers::UPLOAD_METADATA;
use crate::request::trace_context;
use crate::rest::headers::{joined, refused};
use crate::rest::input::labels;

/// Names, labels and metadata of one file fit; documents belong in its content.
const BYTES_MAX: usize = 8 * 1024;
const BUCKET: &str = "default";
const META: &str = "meta.";
const LABEL: &str = "label.";

/// Clients differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The file that the header describes. Unknown names are ignored: clients send names of their own.
///
/// Without a key the file is stored as `unnamed/{unnamed}`. Errors: `InvalidInput` for what cannot be read.
pub(super) fn new_file(headers: &HeaderMap, unnamed: String) -> Result<NewFile> {
    let text = joined(headers, &UPLOAD_METADATA)?.unwrap_or_default();
    let pairs = Pairs::parse(&text)?;
    let key = pairs.first_of(["key", "filename"])?.unwrap_or_else(|| format!("unnamed/{unnamed}"));
    let mut file = NewFile::at(pairs.bucket()?, FileKey::parse(&key)?);
    file.declared_media_type =
        pairs.first_of(["filetype", "content_type"])?.as_deref().map(MediaType::parse).transpose()?;
    file.trace = trace_context::of(headers);
    file.metadata = pairs.prefixed(META)?;
    file.labels = pairs.prefixed(LABEL)?;
    labels::check(&file.metadata, "/metadata")?;
    labels::check(&file.labels, "/labels")?;
    if let Some(hex) = pairs.text("sha256")? {
        file.expected_digests.push(ContentDigest::from_hex(DigestAlgorithm::Sha256, &hex)?);
    }
    Ok(file)
}

/// The bucket alone: the only field that counts for a part.
pub(super) fn bucket(headers: &HeaderMap) -> Result<BucketName> {
    let text = joined(headers, &UPLOAD_METADATA)?.unwrap_or_default();
    Pairs::parse(&text)?.bucket()
}

/// Prints what is known of the file, as [`new_file`] reads it; `None` if that would be too long to be read.
pub(super) fn print(upload: &Upload) -> Option<String> {
    let pair = |name: &str, value: &str| match value {
        "" => name.to_owned(),
        value => format!("{name} {}", general_purpose::STANDARD.encode(value)),
    };
    let mut pairs = vec![pair("bucket", upload.bucket.as_str())];
    if upload.shape != UploadShape::Part {
        pairs.push(pair("key", upload.key.as_str()));
    }
    pairs.extend(upload.declared_media_type.as_ref().map(|media_type| pair("filetype", media_type.as_str())));
    for (prefix, map) in [(META, &upload.metadata), (LABEL, &upload.labels)] {
        pairs.extend(map.iter().map(|(key, value)| pair(&format!("{prefix}{key}"), value)));
    }
    let text = pairs.join(",");
    (text.len() <= BYTES_MAX).then_some(text)
}

/// Names with their decoded values.
#[derive(Debug)]
struct Pairs<'a>(BTreeMap<&'a str, Vec<u8>>);

impl<'a> Pairs<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        if text.len() > BYTES_MAX {
            return Err(refused(&UPLOAD_METADATA, &format!("has at most {BYTES_MAX} bytes")));
        }
        let mut pairs = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if name.is_empty() {
                return Err(refused(&UPLOAD_METADATA, "holds a pair without a name"));
            }
            let Ok(value) = BASE64.decode(value.trim()) else {
                let name = printable(name);
                return Err(refused(&UPLOAD_METADATA, &format!("has a value of '{name}' that is no base64")));
            };
            if pairs.insert(name, value).is_some() {
                return Err(refused(&UPLOAD_METADATA, &format!("has '{}' twice", printable(name))));
            }
        }
        Ok(Self(pairs))
    }

    /// The value, unless it is absent or empty: a browser that knows no media type sends an empty one.
    fn text(&self, name: &str) -> Result<Option<String>> {
        let value = self.0.get(name).filter(|value| !value.is_empty());
        value.map(|value| utf8(name, value)).transpose()
    }

    fn bucket(&self) -> Result<BucketName> {
        BucketName::parse(&self.text("bucket")?.unwrap_or_else(|| BUCKET.to_owned()))
    }

    fn first_of(&self, names: [&str; 2]) -> Result<Option<String>> {
        for name in names {
            if let Some(value) = self.text(name)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn prefixed(&self, prefix: &str) -> Result<BTreeMap<LabelKey, String>> {
        let mut found = BTreeMap::new();
        for (name, value) in &self.0 {
            let Some(key) = name.strip_prefix(prefix) else { continue };
            if found.insert(LabelKey::parse(key)?, utf8(name, value)?).is_some() {
                return Err(refused(&UPLOAD_METADATA, &format!("has '{}' twice", printable(name))));
            }
        }
        Ok(found)
    }
}

fn utf8(name: &str, value: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(value).map(str::to_owned);
    text.map_err(|_| {
        refused(&UPLOAD_METADATA, &format!("has a value of '{}' that is not UTF-8", printable(name)))
    })
}
