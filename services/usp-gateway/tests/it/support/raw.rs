//! HTTP/1.1 by hand, to send what no client library would.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot speak may stop at once"
)]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any timeout that a test configures.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct RawClient {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer with a body of known length.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl RawAnswer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request without a body; `headers` are lines that end with CRLF.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, headers: &str) -> RawAnswer {
        self.send(format!("{method} {path} HTTP/1.1\r\nhost: usp\r\n{headers}\r\n")).await;
        self.answer().await
    }

    /// The answer, unless the server closes without one.
    pub(crate) async fn try_ask(&mut self, method: &str, path: &str, headers: &str) -> Option<RawAnswer> {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: usp\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).await.ok()?;
        while self.unread.is_empty() {
            if self.read_more().await == 0 {
                return None;
            }
        }
        Some(self.answer().await)
    }

    /// Reads one answer. Panics when the connection ends before it is whole.
    pub(crate) async fn answer(&mut self) -> RawAnswer {
        let head = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.unread.drain(..at + 4).collect::<Vec<u8>>();
            }
            assert!(self.read_more().await > 0, "the connection ended without an answer");
        };
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = RawAnswer { status, headers, body: String::new() };
        let len = answer.header("content-length").map_or(0, |len| len.parse().unwrap());
        while self.unread.len() < len {
            assert!(self.read_more().await > 0, "the connection ended within a body");
        }
        answer.body = String::from_utf8(self.unread.drain(..len).collect()).unwrap();
        answer
    }

    /// Waits until the server closes, and returns what it said before.
    pub(crate) async fn rest(mut self) -> String {
        while self.read_more().await > 0 {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }

    /// Bytes read; 0 at the end. A reset is an end, too.
    async fn read_more(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await.unwrap();
        let count = read.unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..count]);
        count
    }
}
