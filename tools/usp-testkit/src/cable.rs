//! A cable that can be pulled: forwards connections, or holds every byte back as a network that is cut does.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Stands between a client and a server on this machine. Ends when dropped.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    plugged: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Cable {
    /// A plugged cable to `target`.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for the cable")?;
        let address = listener.local_addr()?;
        let (plugged, state) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, target, state.clone()));
            }
        });
        Ok(Self { address, plugged, accepting })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing goes through, and nobody is told.
    pub fn unplug(&self) {
        self.plugged.send_replace(false);
    }

    pub fn plug(&self) {
        self.plugged.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn join(client: TcpStream, target: SocketAddr, mut plugged: watch::Receiver<bool>) {
    if plugged.wait_for(|plugged| *plugged).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    // Whichever side ends, the other goes with it.
    tokio::select! {
        () = forward(client_in, server_out, plugged.clone()) => {}
        () = forward(server_in, client_out, plugged) => {}
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut plugged: watch::Receiver<bool>,
) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut piece).await {
        let goes_on = plugged.wait_for(|plugged| *plugged).await.is_ok();
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty() && goes_on) else { return };
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}
