//! The listener on which other roles of this installation reach the storage role.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use usp_api::{StorageApi, StorageNode};
use usp_auth::SecretText;
use usp_rt::Shutdown;

/// A bound listener, so that port 0 is known before anything is served.
pub(crate) struct NodeDoor {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl NodeDoor {
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))?;
        let address = listener.local_addr().context("failed to read the node address")?;
        Ok(Self { listener, address })
    }

    pub(crate) async fn serve(
        self,
        storage: Arc<dyn StorageApi>,
        secret: &SecretText,
        shutdown: Shutdown,
    ) -> Result<()> {
        const STREAM_WINDOW_BYTES: u32 = 4 << 20;
        const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
        let incoming = TcpListenerStream::new(self.listener).map_tcp_nodelay();
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(std::time::Duration::from_secs(10)))
            .add_service(StorageNode::new(storage, secret).into_service())
            .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
            .await
            .context("failed to serve the node protocol")
    }
}

/// Sets TCP_NODELAY on what is accepted: small answers must not wait for the next packet.
trait NoDelay {
    fn map_tcp_nodelay(self) -> impl futures::Stream<Item = std::io::Result<tokio::net::TcpStream>>;
}

impl NoDelay for TcpListenerStream {
    fn map_tcp_nodelay(self) -> impl futures::Stream<Item = std::io::Result<tokio::net::TcpStream>> {
        use futures::StreamExt;
        self.map(|accepted| accepted.and_then(|stream| stream.set_nodelay(true).map(|()| stream)))
    }
}

/// Leaves the secret where an operator can take it to the other machines: a file that only the owner reads.
pub(crate) fn write_secret(path: &Path, secret: &SecretText) -> Result<()> {
    const OWNER_ONLY: u32 = 0o600;
    if fs::read_to_string(path).is_ok_and(|known| known.trim() == secret.expose()) {
        return Ok(());
    }
    let temp = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(OWNER_ONLY)
        .open(&temp)
        .with_context(|| format!("failed to write {}", temp.display()))?;
    writeln!(file, "{}", secret.expose())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temp, path))
        .with_context(|| format!("failed to write {}", path.display()))
}
