//! Dialects: REST, server-sent events and public gRPC over one [`StorageApi`](usp_api::StorageApi), with the limits
//! that a public door needs.
//!
//! A dialect parses, calls storage, and prints. Rules that two dialects share stand behind `StorageApi`.

mod authenticator;
mod config;
mod state;

pub use config::GatewayConfig;
pub use state::Gateway;
