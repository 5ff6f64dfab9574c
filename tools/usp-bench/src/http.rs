//! HTTP/1.1 by hand over one kept connection: as little work on the client's side as can be, because client and server
//! share the machine.

use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A server that is silent for this long ends the run.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const BUFFER_SIZE_BYTES: usize = 256 << 10;
const HEAD_SIZE_BYTES_MAX: usize = 64 << 10;

/// What goes after the head of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    /// `size` bytes of a file from `offset` on; they go from the page cache to the socket (`sendfile`).
    File {
        file: &'a File,
        offset: u64,
        size: u64,
    },
}

impl Body<'_> {
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }
}

/// The head of an answer; its body went to the sink.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_size_bytes: u64,
    head: String,
}

impl Answer {
    /// The value of a header, by its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Errors: another status than 2xx.
    pub(crate) fn expect_success(self, what: &str) -> Result<Self> {
        ensure!((200..300).contains(&self.status), "{what} was answered with\n{}", self.head);
        Ok(self)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// How the end of a body is found.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

fn framing(status: u16, head: &str) -> Result<Framing> {
    if status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    if header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    let length =
        header(head, "content-length").with_context(|| format!("an answer without length:\n{head}"))?;
    Ok(Framing::Length(length.parse().context("read content-length")?))
}

/// One kept connection. `Read` and `Write` are parameters only so that tests need no network.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The unread part of `buffer`.
    begin: usize,
    end: usize,
    /// For heads of requests, kept from one to the next.
    head: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, SILENCE_MAX).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_SIZE_BYTES],
            begin: 0,
            end: 0,
            head: Vec::with_capacity(1024),
        })
    }

    /// One request and its answer. `lines` are header lines with their line ends; `sink` sees the body in pieces.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        lines: &[&str],
        body: Body<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Answer> {
        self.head.clear();
        write!(self.head, "{method} {path} HTTP/1.1\r\nHost: localhost\r\n")?;
        if !matches!(method, "GET" | "HEAD") {
            write!(self.head, "Content-Length: {}\r\n", body.size_bytes())?;
        }
        for line in lines {
            self.head.extend_from_slice(line.as_bytes());
        }
        self.head.extend_from_slice(b"\r\n");
        let sent = self.send(body);
        let answer = self.answer(sink);
        match (sent, answer) {
            // A server that refuses before it has read everything closes; its answer says why.
            (Err(_), Ok(answer)) => answer.expect_success(&format!("{method} {path}")),
            (Err(error), Err(_)) => Err(error).with_context(|| format!("send {method} {path}")),
            (Ok(()), answer) => answer.with_context(|| format!("read the answer to {method} {path}")),
        }
    }

    fn send(&mut self, body: Body<'_>) -> Result<()> {
        match body {
            Body::None => self.stream.write_all(&self.head)?,
            Body::Bytes(bytes) => write_both(&mut self.stream, &self.head, bytes)?,
            Body::File { mut file, offset, size } => {
                self.stream.write_all(&self.head)?;
                file.seek(SeekFrom::Start(offset))?;
                let sent = io::copy(&mut file.take(size), &mut self.stream)?;
                ensure!(sent == size, "the file has {sent} bytes where {size} were to be sent");
            }
        }
        Ok(())
    }

    fn answer(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Answer> {
        loop {
            let head = self.read_head()?;
            let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
            let status: u16 = status.with_context(|| format!("no HTTP answer: {head}"))?;
            if (100..200).contains(&status) {
                continue;
            }
            let body_size_bytes = match framing(status, &head)? {
                Framing::Length(size) => self.read_exactly(size, sink)?,
                Framing::Chunked => self.read_chunked(sink)?,
            };
            return Ok(Answer { status, body_size_bytes, head });
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    /// Errors: the server closed.
    fn fill(&mut self) -> Result<()> {
        if self.begin == self.end {
            self.begin = 0;
            self.end = 0;
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        ensure!(!space.is_empty(), "an answer's head is longer than {HEAD_SIZE_BYTES_MAX} bytes");
        let count = self.stream.read(space).context("receive")?;
        ensure!(count > 0, "the server closed the connection");
        self.end += count;
        Ok(())
    }

    fn read_until(&mut self, mark: &[u8]) -> Result<String> {
        loop {
            if let Some(at) = self.unread().windows(mark.len()).position(|window| window == mark) {
                let text = String::from_utf8_lossy(self.unread().get(..at).unwrap_or_default()).into_owned();
                self.begin += at + mark.len();
                return Ok(text);
            }
            if self.end - self.begin > HEAD_SIZE_BYTES_MAX {
                bail!("an answer's head is longer than {HEAD_SIZE_BYTES_MAX} bytes");
            }
            self.fill()?;
        }
    }

    fn read_head(&mut self) -> Result<String> {
        self.read_until(b"\r\n\r\n")
    }

    fn read_exactly(&mut self, size: u64, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let mut left = size;
        while left > 0 {
            if self.begin == self.end {
                self.fill()?;
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.end - self.begin);
            sink(self.buffer.get(self.begin..self.begin + count).unwrap_or_default())?;
            self.begin += count;
            left -= count as u64;
        }
        Ok(size)
    }

    fn read_chunked(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let mut total = 0;
        loop {
            let line = self.read_until(b"\r\n")?;
            let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .with_context(|| format!("read the size of a chunk: {line:?}"))?;
            if size == 0 {
                // Trailers are not used by anyone here: one empty line.
                self.read_until(b"\r\n")?;
                return Ok(total);
            }
            total += self.read_exactly(size, sink)?;
            self.read_until(b"\r\n")?;
        }
    }
}

/// Head and body in one write where the kernel takes both, so that a small request is one packet.
fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let written = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
    stream.write_all(head.get(written..).unwrap_or_default())?;
    stream.write_all(body.get(written.saturating_sub(head.len())..).unwrap_or_default())
}

/// For answers whose body is of no interest.
pub(crate) fn ignore(_: &[u8]) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn ask(answer: &'static [u8]) -> (Result<Answer>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap();
            assert!(request.starts_with(b"PUT /x HTTP/1.1\r\n"));
            stream.write_all(answer).unwrap();
            count
        });
        let mut body = Vec::new();
        let mut connection = Connection::open(address).unwrap();
        let answer = connection.ask("PUT", "/x", &["A: b\r\n"], Body::Bytes(b"hello"), &mut |piece| {
            body.extend_from_slice(piece);
            Ok(())
        });
        assert!(server.join().unwrap() > 0);
        (answer, body)
    }

    #[test]
    fn a_body_of_known_length_is_read() {
        let (answer, body) = ask(b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\nLocation: /y\r\n\r\nabc");
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.header("location"), body), (201, Some("/y"), b"abc".to_vec()));
    }

    #[test]
    fn a_body_in_chunks_is_put_together() {
        let (answer, body) =
            ask(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n");
        assert_eq!((answer.unwrap().body_size_bytes, body), (13, b"abc0123456789".to_vec()));
    }

    #[test]
    fn an_interim_answer_is_passed_over() {
        let (answer, _) = ask(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(answer.unwrap().status, 204);
    }

    #[test]
    fn a_connection_that_closes_early_is_an_error() {
        let (answer, _) = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        assert!(format!("{:#}", answer.unwrap_err()).contains("closed"));
    }
}
