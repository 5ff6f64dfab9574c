//! Dialects: REST, server-sent events and public gRPC over one [`StorageApi`](usp_api::StorageApi), with the limits
//! that a public door needs.
//!
//! A dialect parses, calls storage, and prints. Rules that two dialects share stand behind `StorageApi`.
//!
//! Modules know only those below them; `tests/it/modules.rs` checks it:
//!
//! 1. `server`: opens the doors.
//! 2. `routes`: the table of REST's routes.
//! 3. `rest` (with tus and events), `grpc`: a door each, with its handlers and its `Dialect`.
//! 4. `state` (what handlers hold), `openapi`.
//! 5. `limits`, `accept`: the same for every door. `authenticator`, `problem`: what doors share.
//! 6. `dialect`, `presented`, `refusal`, `request`, `metrics`, `config`: vocabulary.

mod accept;
mod authenticator;
mod config;
mod dialect;
mod grpc;
mod limits;
mod metrics;
mod openapi;
mod presented;
mod problem;
mod refusal;
mod request;
mod rest;
mod routes;
mod server;
mod state;

pub use config::{GatewayConfig, Rate};
pub use routes::router as rest_router;
pub use server::BoundGateway;
pub use state::Gateway;
