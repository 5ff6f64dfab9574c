//! The real binary, end to end: each test installs it afresh, talks to it as clients do, and proves one fact.
//!
//! What must not depend on how the roles are spread runs [`everywhere`]: in one process, then in four that speak gRPC
//! with each other, then in four with a NATS broker between storage and processors.

#![expect(
    clippy::indexing_slicing,
    reason = "a test may stop where it fails; absent JSON members read as null"
)]

mod auth;
mod broker;
mod cli;
mod crash;
mod dedup;
mod events;
mod grpc;
mod grpc_python;
mod limits;
mod logs;
mod memory;
mod metrics;
mod processing;
mod rest;
mod roles;
mod shutdown;
mod telemetry;
mod trust;
mod tus;
mod work;

use anyhow::{Context, Result};
use serde_json::Value;
use usp_testkit::{Installation, Setup, Topology};

/// The binary under test with its defaults.
fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_usp"))
}

/// Proves a fact in one process, in four, and in four over a broker.
async fn everywhere(fact: impl AsyncFn(&mut Installation) -> Result<()>) -> Result<()> {
    everywhere_with(setup(), fact).await
}

async fn everywhere_with(setup: Setup, fact: impl AsyncFn(&mut Installation) -> Result<()>) -> Result<()> {
    for topology in Topology::ALL {
        let proven = prove(setup.clone().topology(topology), &fact).await;
        proven.with_context(|| format!("with the topology {topology:?}"))?;
    }
    Ok(())
}

/// Proves a fact in one process with the defaults.
async fn alone(fact: impl AsyncFn(&mut Installation) -> Result<()>) -> Result<()> {
    prove(setup(), fact).await
}

async fn prove(setup: Setup, fact: impl AsyncFn(&mut Installation) -> Result<()>) -> Result<()> {
    let mut usp = setup.start().await?;
    let proven = Box::pin(fact(&mut usp)).await;
    proven.with_context(|| format!("the end of the log:\n{}", usp.log_end()))
}

/// A member of a JSON object that must be text.
fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value[member].as_str().with_context(|| format!("no text in '{member}' of {value}"))
}

/// A measured figure, in the output of the test.
fn say(figure: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // Where nobody listens there is nothing to say.
    let _unheard = writeln!(std::io::stdout(), "figure: {figure}");
}
