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
    let parts = addresses.split_ascii_whitespace().map(upload_at).collect::<Result<_>>()?;
    Ok(UploadShape::Joined(parts))
}

/// The address may be whole or a path, and a proxy may have put something before it.
fn upload_at(address: &str) -> Result<UploadId> {
    let id = address.rsplit('/').next().unwrap_or_default();
    UploadId::parse(id).map_err(|_| refused(&UPLOAD_CONCAT, "names something that is no upload"))
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
        for text in
            ["", "part", "Partial", "final", "final;/api/v1/uploads/", "final;x y", "final;/etc/passwd"]
        {
            let refused = parse(text);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
