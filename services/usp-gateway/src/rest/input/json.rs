//! JSON bodies: bounded, typed, and refused with a pointer to what is wrong.

use std::fmt;
use std::marker::PhantomData;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::{Path, Segment};
use usp_model::error::printable;
use usp_model::{Error, ErrorKind, MediaType, Result, Violation};

use crate::problem::Failure;
use crate::rest::input::content::broken_body;

/// No request of this API comes near it.
const JSON_BYTES_MAX: usize = 1 << 20;
/// Levels of objects and arrays; the deepest body of this API has three.
const DEPTH_MAX: usize = 64;

/// A JSON body of type `T`, which denies unknown fields.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        check_media_type(request.headers())?;
        check_length(request.headers())?;
        let bytes = collect(request.into_body()).await?;
        parse(&bytes).map(Self).map_err(Failure::from)
    }
}

/// Answers 201 or 202 with a JSON body are written by hand; this is the plain 200.
pub(crate) type Answer<T> = Result<Json<T>, Failure>;

/// Reads a document, which must be an object. Errors: `InvalidInput` with a pointer to the place.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if is_too_deep(bytes) {
        return Err(refused(String::new(), format!("at most {DEPTH_MAX} levels may be nested")));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Members(value) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        refused(pointer, plain(without_position(&error.inner().to_string())))
    })?;
    reader.end().map_err(|error| refused(String::new(), error.to_string()))?;
    Ok(value)
}

/// A `T` that stands as a JSON object. Without it a `T` could also stand as an array of its fields in their order of
/// declaration, which the contract does not know; and a refusal would name the type of this program.
#[derive(Debug)]
pub(crate) struct Members<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Reads a field of a document that is itself an object: `#[serde(deserialize_with = "json::object")]`.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(MembersVisitor(PhantomData))
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// The error for one place in the body.
pub(crate) fn refused(pointer: impl Into<String>, detail: impl Into<String>) -> Error {
    let (pointer, detail) = (pointer.into(), detail.into());
    let place = if pointer.is_empty() { "the body".to_owned() } else { printable(&pointer) };
    Error::new(ErrorKind::InvalidInput, "read JSON")
        .because(format!("{place} will not do: {detail}"))
        .with_violations(vec![Violation::new(pointer, detail)])
}

/// Whether objects and arrays nest beyond the limit. Brackets inside strings do not count.
fn is_too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'{' | b'[' if !is_string => depth += 1,
            b'}' | b']' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// An RFC 6901 pointer.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}

/// The pointer says where; the position in the text would only be noise.
fn without_position(detail: &str) -> &str {
    detail.rsplit_once(" at line ").map_or(detail, |(detail, _)| detail)
}

/// Numbers in the words of JSON: callers do not know the types of this program.
fn plain(detail: &str) -> String {
    match detail.rsplit_once(", expected ") {
        Some((found, "u8" | "u16" | "u32" | "u64")) => {
            format!("{found}, expected a whole number of 0 or more")
        }
        Some((found, "i8" | "i16" | "i32" | "i64")) => format!("{found}, expected a whole number"),
        _ => detail.to_owned(),
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<()> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| MediaType::parse(value.to_str().ok()?).ok());
    let is_json = media_type.as_ref().is_some_and(|media_type| {
        let text = media_type.as_str();
        text == "application/json" || (text.starts_with("application/") && text.ends_with("+json"))
    });
    if is_json {
        return Ok(());
    }
    Err(Error::new(ErrorKind::UnsupportedMedia, "read JSON")
        .because("this takes JSON: send Content-Type: application/json"))
}

fn check_length(headers: &HeaderMap) -> Result<()> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > JSON_BYTES_MAX as u64) { Err(too_large()) } else { Ok(()) }
}

async fn collect(body: Body) -> Result<Bytes> {
    match Limited::new(body, JSON_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(broken_body(error)),
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "read JSON")
        .because(format!("a JSON body has at most {JSON_BYTES_MAX} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_outside_strings_nest() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_too_deep(nested(DEPTH_MAX).as_bytes()));
        assert!(is_too_deep(nested(DEPTH_MAX + 1).as_bytes()));
        let quoted = format!(r#"["\"{}", []]"#, "[".repeat(DEPTH_MAX));
        assert!(!is_too_deep(quoted.as_bytes()));
        assert!(!is_too_deep("[],".repeat(DEPTH_MAX * 2).as_bytes()));
    }
}
