//! The broker of an installation, at the end of a cable that can be pulled.

use anyhow::Result;

use crate::{Cable, NatsServer};

/// A nats-server and the cable through which the roles reach it.
#[derive(Debug)]
pub struct Broker {
    pub server: NatsServer,
    pub cable: Cable,
}

impl Broker {
    pub(crate) async fn start() -> Result<Self> {
        let server = NatsServer::start().await?;
        let cable = Cable::to(([127, 0, 0, 1], server.port()).into()).await?;
        Ok(Self { server, cable })
    }

    /// Where the roles reach it.
    pub fn url(&self) -> String {
        format!("nats://{}", self.cable.address())
    }
}
