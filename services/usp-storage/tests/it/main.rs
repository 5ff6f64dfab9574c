//! What every storage must do, proved twice: at the storage itself, and at the same storage behind gRPC.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "facts and their set-up stand in plain functions; what fails there should stop the test"
)]

mod conformance;
mod damage;
mod dispatch;
mod support;
mod wire;
