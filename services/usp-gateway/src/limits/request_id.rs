//! A name for each request, taken from the client or drawn, and sent on every answer.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};

use crate::request::id::RequestId;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const CHARS_MAX: usize = 128;

/// What the client sent, if it is well formed: 1..=128 of `A-Z a-z 0-9 . _ -`, safe in headers, logs and documents.
fn parse(value: &HeaderValue) -> Option<RequestId> {
    let text = value.to_str().ok()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = (1..=CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed);
    fits.then(|| RequestId(text.to_owned()))
}

/// 128 bits as 32 hex characters. Nothing is allowed because of a request id, so being unique is enough: a keyed
/// hash of a counter.
fn draw() -> RequestId {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = &*KEYS;
    RequestId(format!("{:016x}{:016x}", high.hash_one(count), low.hash_one(count)))
}

pub(super) async fn assign(mut request: Request, next: Next) -> Response {
    let id = request.headers().get(HEADER).and_then(parse).unwrap_or_else(draw);
    let value = HeaderValue::from_str(&id.0);
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    if let Ok(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_taken_over() {
        let parse = |text: &str| parse(&HeaderValue::from_str(text).unwrap()).map(|id| id.0);
        assert_eq!(parse("a.B_9-").as_deref(), Some("a.B_9-"));
        assert!(parse(&"a".repeat(CHARS_MAX)).is_some());
        for text in ["", "a b", "a\"b", "a/b", "ä", &"a".repeat(CHARS_MAX + 1)] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn drawn_ids_differ_and_are_well_formed() {
        let (one, other) = (draw().0, draw().0);
        assert_ne!(one, other);
        assert_eq!(parse(&HeaderValue::from_str(&one).unwrap()).unwrap().0, one);
    }
}
