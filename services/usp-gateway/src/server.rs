//! Opens both doors and serves them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tracing::info;
use usp_model::{Error, ErrorKind, Result};
use usp_rt::Shutdown;

use crate::Gateway;
use crate::accept::DoorService;
use crate::dialect::Dialect;
use crate::grpc::{self, GrpcDialect};
use crate::limits::{Door, with_layers};
use crate::rest::RestDialect;
use crate::{rest, routes};

impl Gateway {
    /// Binds both addresses, so that the ports are known before anything is served.
    ///
    /// Errors: `Unavailable` when an address cannot be bound.
    pub async fn bind(self) -> Result<BoundGateway> {
        let http = listen(self.config.http).await?;
        let grpc = listen(self.config.grpc).await?;
        let address_of = |listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|source| Error::new(ErrorKind::Internal, "read listening address").caused_by(source))
        };
        let (http_addr, grpc_addr) = (address_of(&http)?, address_of(&grpc)?);
        Ok(BoundGateway { gateway: self, http, grpc, http_addr, grpc_addr })
    }
}

/// A gateway with open listeners; connections wait in the backlog until it serves.
#[derive(Debug)]
pub struct BoundGateway {
    gateway: Gateway,
    http: TcpListener,
    grpc: TcpListener,
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
}

impl BoundGateway {
    /// The address of the HTTP door, with the port that was bound.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// The address of the gRPC door, with the port that was bound.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Answers until `shutdown`, then lets running requests end for `drain_timeout` at most.
    ///
    /// Errors: `Internal` when the gRPC door cannot describe itself.
    /// Cancel: cuts every connection; cancel `shutdown` instead.
    pub async fn serve(self, shutdown: Shutdown) -> Result<()> {
        let Self { gateway, http, grpc, .. } = self;
        let (procedures, health) = grpc::router(&gateway).await?;
        let pages = routes::router(gateway.clone()).merge(rest::metrics::router(gateway.clone()));
        // Event streams have no end of their own: without this they would hold the stop for the whole drain time.
        let end_streams = async {
            shutdown.cancelled().await;
            gateway.end_streams();
        };
        let http = door_service(&RestDialect, pages, &gateway).run(http, shutdown.clone());
        let grpc = door_service(&GrpcDialect, procedures, &gateway).run(grpc, shutdown.clone());
        info!(http = %self.http_addr, grpc = %self.grpc_addr, "doors open");
        tokio::join!(http, grpc, health.report(shutdown.clone()), end_streams);
        info!("doors closed");
        Ok(())
    }
}

/// Puts the layers of every door around one dialect's router.
fn door_service(dialect: &'static dyn Dialect, router: Router, gateway: &Gateway) -> DoorService {
    let door = Arc::new(Door {
        dialect,
        config: Arc::clone(&gateway.config),
        metrics: Arc::clone(&gateway.metrics),
        limits: Arc::clone(&gateway.limits),
    });
    DoorService {
        door: dialect.door(),
        router: with_layers(router, &door),
        config: Arc::clone(&gateway.config),
        metrics: Arc::clone(&gateway.metrics),
        permits: gateway.limits.permits.clone(),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| {
        Error::new(ErrorKind::Unavailable, "listen on")
            .about(address)
            .because("the address cannot be had; is another server running there?")
            .caused_by(source)
    })
}
