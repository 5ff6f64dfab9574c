//! The listener on which other roles of this installation reach the storage role.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, stream};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Server;
use usp_api::{CONNECTION_WINDOW_BYTES, StorageApi, StorageNode, TRANSFER_WINDOW_BYTES};
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
        const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
        let node = StorageNode::new(storage, secret, shutdown.clone());
        let serving = Server::builder()
            .initial_stream_window_size(TRANSFER_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .add_service(node.into_service())
            .serve_with_incoming_shutdown(accepted(self.listener), shutdown.clone().cancelled_owned());
        tokio::select! {
            served = serving => served.context("failed to serve the node protocol"),
            () = drained(&shutdown) => {
                tracing::warn!("other roles did not end their transfers in time; they are cut");
                Ok(())
            }
        }
    }
}

/// Completes when transfers have had the time that a stop gives them: a reader may take none of its bytes for ever.
async fn drained(shutdown: &Shutdown) {
    const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_TIMEOUT).await;
}

/// Connections as they come. Without descriptors for another one, the next is tried a little later.
fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
    stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            // Small answers must not wait for the next packet.
            stream.set_nodelay(true).map(|()| stream)
        });
        if let Err(error) = &accepted {
            tracing::warn!(%error, "a connection of another role was not accepted");
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        Some((accepted, listener))
    })
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
