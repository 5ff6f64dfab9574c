//! A panic in a handler is a bug of ours, not the end of the client's connection.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use usp_model::{Error, ErrorKind};

use super::{Entrance, request_id};

pub(super) async fn catch(State(entrance): State<Entrance>, request: Request, next: Next) -> Response {
    let request_id = request_id::of(request.extensions());
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(payload) => {
            entrance.gateway.metrics.panicked();
            let error = Error::new(ErrorKind::Internal, "answer request").caused_by(message_of(&*payload));
            entrance.refuse(error, &request_id)
        }
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("no message"))
}
