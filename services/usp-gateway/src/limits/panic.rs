//! Turns a panic of a handler into an internal error; the client's connection goes on.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use usp_model::{Error, ErrorKind};

use super::Door;
use crate::request;

pub(super) async fn catch(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let request_id = request::id::of(request.extensions());
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(payload) => {
            door.metrics.panicked();
            let error = Error::new(ErrorKind::Internal, "answer request").caused_by(message_of(&*payload));
            door.dialect.refuse(error, &request_id)
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
