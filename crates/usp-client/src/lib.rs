//! Typed client of the public API, used by the command line.
//!
//! A [`Client`] speaks REST to one installation. Each method is one call of the contract and answers with the shapes
//! in [`types`]; a failure is a [`ClientError`] whose [`kind`](ClientError::kind) is the same closed list that the
//! server works with. Calls that may be repeated are repeated on a lost connection, 429 and 503, a bounded number of
//! times. Before a client for `https` is made, the process must have chosen its TLS provider.

mod address;
mod body;
mod call;
mod client;
mod error;
mod events;
mod retry;
mod routes;
mod token;
pub mod types;

pub use body::{ProgressFn, PutBody};
pub use client::{Client, ClientConfig};
pub use error::{ClientError, Problem};
pub use events::{EventFilter, EventsStream};
pub use routes::{Content, ContentStream, ListFiles, ListRuns, PutFile};
pub use token::{FixedToken, Token, TokenSource};
