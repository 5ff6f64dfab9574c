//! What a stranger can take from us, and what every answer carries.
//!
//! The layers of a door, from the outside in. Each sees only what the ones before it let through:
//!
//! 1. [`request_id`]: a name for the request; on every answer, also on refusals.
//! 2. [`client`]: the address that the peer speaks for, if it is a trusted proxy.
//! 3. [`access_log`]: one line, one count and one [`span`] at the end of each request, however it ended.
//! 4. [`security_headers`]: what browsers must not do with our answers.
//! 5. [`cors`] (doors that browsers may use): which web pages may ask; preflights end here.
//! 6. [`panic`]: a handler's panic is an internal error, and the connection goes on.
//! 7. [`rate`]: too many requests are refused before anything is read.
//! 8. [`slow_body`]: a body must keep coming.
//!
//! No layer knows which dialects there are: what it must know of one, the door's [`Dialect`] says. Connections are
//! limited before all of these, in `accept.rs`; the size of bodies is limited per route.

mod access_log;
mod client;
mod cors;
mod panic;
mod rate;
mod request_id;
mod security_headers;
mod slow_body;
mod span;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};

use crate::accept::ConnectionPermits;
use crate::config::GatewayConfig;
use crate::dialect::Dialect;
use crate::metrics::Metrics;
use rate::Rates;

/// Counters that limits need, shared by all doors.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) rates: Rates,
    pub(crate) permits: ConnectionPermits,
}

impl Limits {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self { rates: Rates::new(config), permits: ConnectionPermits::new(config) }
    }
}

/// A door as its layers know it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) dialect: &'static dyn Dialect,
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: Arc<Limits>,
}

/// Puts every layer around `router`, in the order above.
pub(crate) fn with_layers(router: Router, door: &Arc<Door>) -> Router {
    let state = || Arc::clone(door);
    // `Router::layer` puts each around those before it: read upwards.
    let router = router
        .layer(from_fn_with_state(state(), slow_body::guard))
        .layer(from_fn_with_state(state(), rate::admit))
        .layer(from_fn_with_state(state(), panic::catch));
    let router = match door.dialect.cors() {
        Some(rules) => router.layer(from_fn_with_state((state(), rules), cors::apply)),
        None => router,
    };
    router
        .layer(from_fn_with_state(state(), security_headers::add))
        .layer(from_fn_with_state(state(), access_log::observe))
        .layer(from_fn_with_state(state(), client::identify))
        .layer(from_fn(request_id::assign))
}
