//! HTTP/1.1 by hand, for requests that no well-behaved client can send.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::PATIENCE;

#[derive(Debug, Clone)]
pub struct RawAnswer {
    pub status: u16,
    /// Head and body as they came.
    pub text: String,
}

/// A connection that sends just what it is told.
#[derive(Debug)]
pub struct RawConnection(TcpStream);

impl RawConnection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self(TcpStream::connect(address).await?))
    }

    /// Errors: the peer closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// The head of the next answer, such as `100 Continue`, with the blank line at its end.
    pub async fn head(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let read = async {
            while !bytes.ends_with(b"\r\n\r\n") {
                bytes.push(self.0.read_u8().await?);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, read).await.context("no answer comes")??;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Everything that still comes before the peer closes. A reset counts as the end.
    pub async fn rest(&mut self) -> Result<Vec<u8>> {
        const ANSWER_BYTES_MAX: usize = 16 << 20;
        let mut bytes = Vec::new();
        let read = async {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = self.0.read(&mut buffer).await {
                bytes.extend(buffer.iter().take(count));
                if bytes.len() > ANSWER_BYTES_MAX {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.context("the server keeps the connection open")?;
        Ok(bytes)
    }
}

/// Sends bytes as they are and reads to the end. The request should say `Connection: close`.
pub async fn raw_request(address: SocketAddr, request: &[u8]) -> Result<RawAnswer> {
    let mut connection = RawConnection::open(address).await?;
    // A server that refuses a head may close before it has all of it.
    let _ = connection.write(request).await;
    let text = String::from_utf8_lossy(&connection.rest().await?).into_owned();
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(RawAnswer { status: status.with_context(|| format!("no HTTP answer: {text:?}"))?, text })
}
