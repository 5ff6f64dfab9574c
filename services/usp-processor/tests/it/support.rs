//! A storage that a processor works for, and what can be asked of it.

mod calls;
mod doom;
mod tampered;
mod workshop;

pub(crate) use doom::Point;
pub(crate) use tampered::Tampered;
pub(crate) use workshop::{Workshop, admin, rival};

use usp_testkit::{PATIENCE, until};

/// Asks again and again until there is an answer; a minute of silence fails the test.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    until(what, PATIENCE, async || Ok(ask().await)).await.unwrap()
}
