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
mod openapi;
mod problem;
mod rest;
mod routes;
mod server;
mod state;

pub use config::{GatewayConfig, Rate};
pub use rest::router as rest_router;
pub use server::BoundGateway;
pub use state::Gateway;
