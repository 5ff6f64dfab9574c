//! `multipart/form-data`, as a browser writes it.

/// One file of a form.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    pub field: &'a str,
    pub file_name: &'a str,
    pub media_type: &'a str,
    pub content: &'a [u8],
}

/// The `Content-Type` and the body of a form.
pub fn multipart(parts: &[Part<'_>]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "usp-testkit-7f3a9c51e2";
    let mut body = Vec::new();
    for part in parts {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            part.field, part.file_name, part.media_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}
