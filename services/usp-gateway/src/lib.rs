//! Dialects: REST, server-sent events and public gRPC over one [`StorageApi`](usp_api::StorageApi), with the limits
//! that a public door needs.
//!
//! A dialect parses, calls storage, and prints. Rules that two dialects share stand behind `StorageApi`.

mod accept;
mod authenticator;
mod config;
mod grpc;
mod limits;
mod metrics;
mod problem;
// Until rest.rs stands.
mod rest {
    pub(crate) mod request_id;

    pub(crate) fn router(_gateway: crate::Gateway) -> axum::Router {
        axum::Router::new()
    }
}
mod server;
mod state;

pub use config::{GatewayConfig, Rate};
pub use server::BoundGateway;
pub use state::Gateway;
