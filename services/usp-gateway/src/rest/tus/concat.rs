//! `Upload-Concat`: parts, and what is joined of them.

use axum::http::HeaderMap;
use usp_model::{Result, UploadId, UploadShape};

use super::PATH;
use super::headers::UPLOAD_CONCAT;
use crate::rest::headers::{refused, single};

const PARTIAL: &str = "partial";
const FINAL: &str = "final;";

/// Errors: `InvalidInput` unless it is `partial`, or `final;` and the addresses of uploads.
pub(super) fn shape(headers: &HeaderMap) -> Result<UploadShape> {
    let Some(text) = single(headers, &UPLOAD_CONCAT)? else { return Ok(UploadShape::Whole) };
    if text == PARTIAL {
        return Ok(UploadShape::Part);
    }
    let Some(addresses) = text.strip_prefix(FINAL) else {
        return Err(refused(
            &UPLOAD_CONCAT,
            "is neither 'partial' nor 'final;' with the addresses of the parts",
        ));
    };
    let parts: Vec<UploadId> = addresses.split_ascii_whitespace().map(upload_at).collect::<Result<_>>()?;
    if parts.is_empty() {
        return Err(refused(&UPLOAD_CONCAT, "names no part behind 'final;'"));
    }
    Ok(UploadShape::Joined(parts))
}

/// The address may be whole or a path, and a proxy may have put something before it.
fn upload_at(address: &str) -> Result<UploadId> {
    let (before, id) = address.rsplit_once('/').unwrap_or(("", address));
    let is_upload = (before.is_empty() || before.ends_with(PATH)) && !before.contains([',', ';']);
    let id = UploadId::parse(id).ok().filter(|_| is_upload);
    id.ok_or_else(|| {
        refused(&UPLOAD_CONCAT, "is not 'final;' and the addresses of uploads with a space between each two")
    })
}

/// What the header says of an upload that is not whole by itself.
pub(super) fn print(shape: &UploadShape) -> Option<String> {
    match shape {
        UploadShape::Whole => None,
        UploadShape::Part => Some(PARTIAL.to_owned()),
        UploadShape::Joined(parts) => {
            let paths: Vec<String> = parts.iter().map(|part| format!("{PATH}/{part}")).collect();
            Some(format!("{FINAL}{}", paths.join(" ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use usp_model::ErrorKind;

    use super::*;

    fn parse(text: &str) -> Result<UploadShape> {
        let mut headers = HeaderMap::new();
        headers.insert(UPLOAD_CONCAT, HeaderValue::from_str(text).unwrap());
        shape(&headers)
    }

    #[test]
    fn what_is_printed_is_read_and_whole_addresses_too() {
        let (a, b) = (UploadId::random().unwrap(), UploadId::random().unwrap());
        for shape in [UploadShape::Part, UploadShape::Joined(vec![a, b])] {
            assert_eq!(parse(&print(&shape).unwrap()).unwrap(), shape);
        }
        let whole = format!("final;https://files.example/usp/api/v1/uploads/{b} /api/v1/uploads/{a}");
        assert_eq!(parse(&whole).unwrap(), UploadShape::Joined(vec![b, a]));
        assert_eq!(shape(&HeaderMap::new()).unwrap(), UploadShape::Whole);
        assert_eq!(print(&UploadShape::Whole), None);
    }

    #[test]
    fn anything_else_is_refused() {
        let (a, b) = (UploadId::random().unwrap(), UploadId::random().unwrap());
        for text in [
            String::new(),
            "part".to_owned(),
            "Partial".to_owned(),
            "final".to_owned(),
            "final;".to_owned(),
            "final;/api/v1/uploads/".to_owned(),
            "final;x y".to_owned(),
            format!("final;/etc/{a}"),
            format!("final;{PATH}/{a},{PATH}/{b}"),
            format!("final;{PATH}/{a};{PATH}/{b}"),
        ] {
            assert_eq!(parse(&text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
