//! Tokens from friends and from attackers (T29 of the reliability plan): the good ones are accepted, of the bad ones
//! not a single one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it fails"
)]

mod accepted;
mod configured;
mod forge;
mod refused;
