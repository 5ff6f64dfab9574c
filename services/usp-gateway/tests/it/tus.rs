//! tus in front of a storage that is only pretended: what the dialect reads, says and refuses.
#![expect(clippy::unwrap_used, reason = "a test that cannot ask may stop at once")]

mod checksums;
mod creation;
mod sessions;

use axum::body::Body;

use crate::rest::{ADMIN, Answer, Rest};

const TUS: &str = "tus-resumable: 1.0.0";
const CONTENT: &str = "content-type: application/offset+octet-stream";

impl Rest {
    /// As an administrator who speaks tus.
    async fn tus(&self, line: &str, headers: &[&str], body: impl Into<Body>) -> Answer {
        let answer = self.ask(line, &[&[ADMIN, TUS], headers].concat(), body).await;
        assert_eq!(answer.header("tus-resumable"), Some("1.0.0"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        answer
    }

    /// Opens an upload and tells its path.
    async fn begun(&self, size: usize, metadata: &str) -> String {
        let headers = [&format!("upload-length: {size}"), &format!("upload-metadata: {metadata}")];
        let answer = self.tus("POST /api/v1/uploads", &headers.map(String::as_str), Body::empty()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("upload-offset"), Some("0"));
        answer.header("location").unwrap().to_owned()
    }

    async fn patched(&self, upload: &str, offset: usize, body: &'static [u8]) -> Answer {
        let offset = format!("upload-offset: {offset}");
        self.tus(&format!("PATCH {upload}"), &[CONTENT, &offset], body).await
    }

    async fn offset(&self, upload: &str) -> Option<String> {
        let answer = self.tus(&format!("HEAD {upload}"), &[], Body::empty()).await;
        answer.header("upload-offset").map(str::to_owned)
    }
}
