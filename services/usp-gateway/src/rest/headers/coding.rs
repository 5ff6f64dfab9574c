//! Content codings of answers, after RFC 9110, section 12.5.3: none but `zstd` (RFC 8878, RFC 9659).

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG};
use axum::http::{HeaderMap, HeaderValue};
use usp_api::Coding;

use super::digest::REPR_DIGEST;

/// What the client takes. A header that cannot be read asks for nothing.
pub(crate) fn wanted(headers: &HeaderMap) -> Coding {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let takes_zstd =
        values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(names_zstd);
    if takes_zstd { Coding::Zstd } else { Coding::Plain }
}

/// `zstd` by its name, unless its weight is zero. `*` also stands for codings that a client would not like.
fn names_zstd(element: &str) -> bool {
    let (name, weight) = element.split_once(';').unwrap_or((element, "q=1"));
    let weight = weight.trim().to_ascii_lowercase();
    let weight = weight.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
    name.trim().eq_ignore_ascii_case("zstd") && weight.is_some_and(|weight| weight > 0.0)
}

/// Says that the answer is coded: it is then not the representation whose digest and strong tag are known.
pub(crate) fn mark_zstd(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    headers.remove(REPR_DIGEST);
    weaken_tag(headers);
}

pub(crate) fn weaken_tag(headers: &mut HeaderMap) {
    let tag = headers.get(ETAG).map(|tag| [b"W/", tag.as_bytes()].concat());
    if let Some(weak) = tag.and_then(|tag| HeaderValue::from_bytes(&tag).ok()) {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_names_zstd_gets_it() {
        let wanted = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(text).unwrap());
            wanted(&headers)
        };
        for text in ["zstd", "gzip, br;q=0.5, ZSTD ; q=0.1", "zstd;Q=1.0"] {
            assert_eq!(wanted(text), Coding::Zstd, "{text}");
        }
        for text in ["", "*", "gzip", "zstd;q=0", "zstd;q=0.000", "zstd;q=much", "xzstd"] {
            assert_eq!(wanted(text), Coding::Plain, "{text}");
        }
    }
}
