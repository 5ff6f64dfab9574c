//! Runs the real binary for tests, and talks to it as clients do.
//!
//! A test builds an [`Installation`] through [`Setup`]: one process or four, a data directory of its own, free ports.
//! [`Http`] speaks to it over REST, [`Cli`] through the command line; [`generate`] makes contents that are the same on
//! every machine. Everything waits for facts, never for time to pass, and everything ends when the test does.

#![expect(clippy::indexing_slicing, reason = "JSON is indexed by name: what is absent reads as null")]

mod broker;
mod cable;
mod cli;
pub mod generate;
mod guard;
mod http;
mod installation;
mod multipart;
mod names;
mod nats;
mod raw;
mod server;
mod server_sent;
mod setup;
mod wait;

pub use broker::Broker;
pub use cable::Cable;
pub use cli::{Cli, Outcome};
pub use guard::{NatsCertificates, NatsUser};
pub use http::{Answer, Http, file_path};
pub use installation::{Installation, Stopped};
pub use multipart::{Part, multipart};
pub use nats::NatsServer;
pub use raw::{RawAnswer, RawConnection, raw_request};
pub use server::Server;
pub use server_sent::{Events, ServerEvent};
pub use setup::{Setup, Topology};
pub use wait::{PATIENCE, until};
