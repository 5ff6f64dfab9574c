//! Events as they happen, as server-sent events.
//!
//! 1. Without `Last-Event-ID` and `after` a stream begins with what happens next; with one of them, with what was
//!    kept since.
//! 2. Kept events carry an `id:`; progress does not, so that a client comes back to the last event that was kept.
//! 3. A comment goes out every 15 s of silence.
//! 4. A stream ends when the gateway stops.
//! 5. Every 5 s the credential is verified again. If it is not valid any more, or grants something else, the stream
//!    ends; a client that reconnects is authenticated anew.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::{debug, warn};
use usp_api::{Caller, EventStream};
use usp_model::{ErrorKind, Event, EventQuery, EventSeq, Result};

use super::headers::{refused, single};
use super::input::caller::Signed;
use super::input::path::{At, file_id};
use super::input::query::Parameters;
use super::json::event::EventJson;
use super::parameters::{FollowFileParameters, FollowParameters};
use crate::Gateway;
use crate::metrics::GaugeGuard;
use crate::presented::Presented;
use crate::problem::Failure;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Keeps proxies that buffer by default from holding the stream back.
const NOT_BUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");
const COMMENT_EVERY: Duration = Duration::from_secs(15);
const CREDENTIAL_CHECKED_EVERY: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_secs(2);

/// Follow what happens to a file
///
/// Server-sent events without `event:` field; `data` is a CloudEvent in JSON.
#[utoipa::path(
    get,
    path = "/files/{file_id}/events",
    tag = "events",
    params(
        ("file_id" = String, Path),
        FollowFileParameters,
        ("Last-Event-ID" = Option<String>, Header, description = "Events after this one first.", example = "4711"),
    ),
    responses(
        (status = 200, body = EventJson, content_type = "text/event-stream"),
        (status = 404, description = "Absent, or not the caller's to see."),
    )
)]
pub(crate) async fn follow_file(
    State(gateway): State<Gateway>,
    signed: Signed,
    At(id): At<String>,
    Parameters(asked): Parameters<FollowFileParameters>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = EventQuery { file: Some(file_id(&id)?), ..EventQuery::default() };
    open(gateway, signed, &headers, asked.after, query).await
}

/// Follow what happens
///
/// As for one file, over all files of a bucket or of all buckets that the caller may read.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(
        FollowParameters,
        ("Last-Event-ID" = Option<String>, Header, description = "Events after this one first.", example = "4711"),
    ),
    responses(
        (status = 200, body = EventJson, content_type = "text/event-stream"),
        (status = 404, description = "No such bucket, or not the caller's to see."),
    )
)]
pub(crate) async fn follow(
    State(gateway): State<Gateway>,
    signed: Signed,
    Parameters(asked): Parameters<FollowParameters>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = EventQuery { bucket: asked.bucket, ..EventQuery::default() };
    open(gateway, signed, &headers, asked.after, query).await
}

async fn open(
    gateway: Gateway,
    Signed { caller, presented }: Signed,
    headers: &HeaderMap,
    asked_after: Option<EventSeq>,
    query: EventQuery,
) -> Result<Response, Failure> {
    let after = match last_event_id(headers)?.or(asked_after.map(|after| after.max(0))) {
        Some(after) => after,
        None => gateway.storage.last_event(&caller).await?,
    };
    let events = gateway.storage.watch(&caller, EventQuery { after, ..query }).await?;
    let counted = gateway.metrics.open_event_stream();
    let stream = Follow {
        gateway,
        caller,
        presented,
        events,
        check: check_interval(),
        live_count: 0,
        _counted: counted,
    };
    // Sent at once, so that the client knows that the stream is open.
    let opening = Message::default().comment("open").retry(RECONNECT_AFTER);
    let messages =
        stream::once(async move { opening }).chain(stream::unfold(stream, next)).map(Ok::<_, Infallible>);
    let sse = Sse::new(messages).keep_alive(KeepAlive::new().interval(COMMENT_EVERY));
    Ok(([NOT_BUFFERED, (CACHE_CONTROL, "no-store")], sse).into_response())
}

/// An open stream.
struct Follow {
    gateway: Gateway,
    caller: Caller,
    presented: Presented,
    events: EventStream,
    check: Interval,
    /// Events without a number that were sent.
    live_count: u64,
    /// Counts the stream while it lasts.
    _counted: GaugeGuard,
}

async fn next(mut follow: Follow) -> Option<(Message, Follow)> {
    loop {
        tokio::select! {
            event = follow.events.next() => match event? {
                Ok(event) => {
                    let message = follow.message(event)?;
                    return Some((message, follow));
                }
                Err(error) => {
                    let request_id = &follow.caller.request_id;
                    warn!(request_id, error = %error.chain().escape_debug(), "event stream broke off");
                    return None;
                }
            },
            () = follow.gateway.stopping.cancelled() => return None,
            _ = follow.check.tick() => if !follow.still_holds().await {
                debug!(request_id = follow.caller.request_id, "event stream ends with its credential");
                return None;
            },
        }
    }
}

impl Follow {
    fn message(&mut self, event: Event) -> Option<Message> {
        let kept = event.kind().is_kept() && event.seq > 0;
        let id = if kept {
            event.seq.to_string()
        } else {
            self.live_count += 1;
            format!("{}.{}", self.caller.request_id, self.live_count)
        };
        let message = if kept { Message::default().id(&id) } else { Message::default() };
        message.json_data(EventJson::new(event, id)).ok()
    }

    /// Whether the caller may follow on. An unreachable storage takes no permission away.
    async fn still_holds(&mut self) -> bool {
        match self.gateway.authenticator.verify(&self.presented).await {
            Ok(principal) => principal == self.caller.principal,
            Err(error) => error.kind() != ErrorKind::Unauthenticated,
        }
    }
}

fn check_interval() -> Interval {
    let mut check = interval_at(Instant::now() + CREDENTIAL_CHECKED_EVERY, CREDENTIAL_CHECKED_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    check
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<EventSeq>> {
    let Some(text) = single(headers, &LAST_EVENT_ID)? else { return Ok(None) };
    match text.parse::<EventSeq>() {
        Ok(seq) if seq >= 0 => Ok(Some(seq)),
        _ => Err(refused(&LAST_EVENT_ID, "is not the number of an event")),
    }
}
