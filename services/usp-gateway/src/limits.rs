//! What a stranger can take from us, and what every answer carries.
//!
//! The layers of a door, from the outside in. Each sees only what the ones before it let through:
//!
//! 1. [`request_id`]: a name for the request; on every answer, also on refusals.
//! 2. [`client`]: who the peer speaks for, if it is a trusted proxy.
//! 3. [`access_log`]: one line, one count and one [`span`] at the end of each request, whatever became of it.
//! 4. [`security_headers`]: what browsers must not do with our answers.
//! 5. [`cors`] (HTTP): which web pages may ask; preflights end here.
//! 6. [`panic`]: a handler's panic is a 500, and the connection goes on.
//! 7. [`rate`]: too many requests are refused before anything is read.
//! 8. [`slow_body`]: a body must keep coming.
//!
//! Connections are limited before all of these, in `accept.rs`; the size of bodies is limited per route.

pub(crate) mod access_log;
pub(crate) mod client;
mod cors;
mod panic;
pub(crate) mod rate;
pub(crate) mod request_id;
mod security_headers;
mod slow_body;
mod span;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use usp_model::Error;

use crate::Gateway;
use crate::accept::ConnectionPermits;
use crate::config::GatewayConfig;
use crate::metrics::Door;
use crate::problem::Failure;
use rate::Rates;
pub(crate) use request_id::RequestId;

/// Counters that limits need, shared by both doors.
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
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    pub(crate) door: Door,
    pub(crate) gateway: Gateway,
}

impl Entrance {
    /// Says no in the door's own dialect.
    pub(crate) fn refuse(&self, error: Error, request_id: &str) -> Response {
        match self.door {
            Door::Http => Failure::from(error).respond(request_id),
            Door::Grpc => crate::grpc::refuse(&error, request_id),
        }
    }
}

/// Puts every layer around `router`, in the order above.
pub(crate) fn surround(router: Router, entrance: &Entrance) -> Router {
    let state = || entrance.clone();
    // `Router::layer` puts each around those before it: read upwards.
    let router = router
        .layer(from_fn_with_state(state(), slow_body::guard))
        .layer(from_fn_with_state(state(), rate::admit))
        .layer(from_fn_with_state(state(), panic::catch));
    let router = match entrance.door {
        Door::Http => router.layer(from_fn_with_state(state(), cors::apply)),
        Door::Grpc => router,
    };
    router
        .layer(from_fn(security_headers::add))
        .layer(from_fn_with_state(state(), access_log::observe))
        .layer(from_fn_with_state(state(), client::identify))
        .layer(from_fn(request_id::assign))
}
