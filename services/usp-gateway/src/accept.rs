//! Accepting connections: one loop for every door, with a limit on everything a stranger can hold.
//!
//! 1. A permit of the whole gateway is taken, then a connection is accepted. Without a permit peers wait in the
//!    kernel's backlog. An accept that fails (no file descriptor left) is tried again after a pause; it never ends
//!    the loop.
//! 2. A peer with too many connections is closed before it is read. Trusted proxies speak for many and are not counted.
//! 3. The connection speaks HTTP/1.1 or HTTP/2. An [`Activity`] notes when requests begin and end, and closes the
//!    connection when headers take too long, when no request is open for too long, or when the peer does not
//!    read what it asked for.
//! 4. On shutdown the loop ends, every connection is told to finish, and after the drain time the rest is cut.

mod activity;
mod body;
mod head;
mod io;
mod permits;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};
use usp_model::{Error, ErrorKind};
use usp_rt::Shutdown;

use crate::config::GatewayConfig;
use crate::metrics::Metrics;
use crate::problem::Failure;
use activity::Activity;
use body::{IncomingBody, OutgoingBody};
use io::DoorIo;
pub(crate) use permits::{AddressKey, ConnectionPermits};

/// Streams of one HTTP/2 connection at once.
const STREAM_COUNT_MAX: u32 = 128;
/// Names and values of one request's headers together, on HTTP/2 decoded: as many as on HTTP/1.
const HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;
/// Header lines of one HTTP/1 request.
const HEADER_COUNT_MAX: usize = 100;
/// Streams that a peer opened and reset before they were looked at; more is an attack (CVE-2023-44487).
const PENDING_RESET_COUNT_MAX: usize = 20;
/// Streams that we had to reset for a peer's mistakes; more is an attack (CVE-2025-8671).
const LOCAL_RESET_COUNT_MAX: usize = 256;
/// A ping finds HTTP/2 peers that vanished.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses after an accept that failed, doubling from the first to the last.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// One listener and the router that answers its requests.
#[derive(Debug)]
pub(crate) struct DoorService {
    /// The word of the door in metrics.
    pub(crate) door: &'static str,
    pub(crate) router: Router,
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) permits: ConnectionPermits,
}

impl DoorService {
    /// Serves until `shutdown`, then drains. Returns when every connection has ended.
    pub(crate) async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        let tasks = TaskTracker::new();
        let cut = Shutdown::new();
        let this = Arc::new(self);
        let mut pause = ACCEPT_PAUSE_MIN;
        while let Some(permit) = shutdown.run_until_cancelled(this.permits.acquire()).await {
            match shutdown.run_until_cancelled(listener.accept()).await {
                None => break,
                Some(Ok((stream, peer))) => {
                    pause = ACCEPT_PAUSE_MIN;
                    let Some(permit) = permit.admit(peer) else {
                        debug!(%peer, "connection refused: this address holds too many");
                        this.metrics.refused_connection(this.door);
                        continue;
                    };
                    let (this, shutdown, cut) = (Arc::clone(&this), shutdown.clone(), cut.clone());
                    tasks.spawn(async move {
                        let _open = this.metrics.open_connection(this.door);
                        this.serve_connection(stream, peer, shutdown, cut).await;
                        drop(permit);
                    });
                }
                Some(Err(error)) if concerns_one_peer(&error) => {}
                Some(Err(error)) => {
                    warn!(%error, "accept failed; trying again");
                    let _ = shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(this.config.drain_timeout, tasks.wait()).await.is_err() {
            warn!(connections = tasks.len(), "drain time is over; the rest is cut");
            cut.cancel();
            tasks.wait().await;
        }
    }

    /// Serves one connection from its first byte to its end.
    async fn serve_connection(&self, stream: TcpStream, peer: SocketAddr, shutdown: Shutdown, cut: Shutdown) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "connection gone before it began");
            return;
        }
        let activity = Arc::new(Activity::new(self.config.header_timeout, self.config.idle_timeout));
        let service = {
            let (router, activity) = (self.router.clone(), Arc::clone(&activity));
            service_fn(move |request| answer(router.clone(), Arc::clone(&activity), peer, request))
        };
        let io = TokioIo::new(DoorIo::new(stream, Arc::clone(&activity)));
        let builder = protocol();
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut is_draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(%peer, error = %error, "connection broke");
                    }
                    return;
                }
                () = cut.cancelled() => return,
                () = shutdown.cancelled(), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = activity.overdue() => {
                    debug!(%peer, "connection closed: its time is used up");
                    return;
                }
            }
        }
    }
}

async fn answer(
    router: Router,
    activity: Arc<Activity>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<OutgoingBody>, Infallible> {
    let active = activity.begin(request.version());
    let fault = active.fault().or_else(|| head::fault_of(request.version(), request.headers()));
    let response = if let Some(fault) = fault {
        refused(fault)
    } else {
        let version = request.version();
        let incoming = |body| Body::new(IncomingBody::new(version, Body::new(body), Arc::clone(&activity)));
        let mut request = request.map(incoming);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.oneshot(request).await?
    };
    Ok(response.map(|body| OutgoingBody::new(body, active)))
}

/// Closes the connection: after a malformed head nothing that follows on it can be trusted. No dialect is spoken yet, so
/// the answer is plain HTTP at every door.
fn refused(fault: &'static str) -> Response<Body> {
    let error = Error::new(ErrorKind::InvalidInput, "read request head").because(fault);
    let mut response = Failure::from(error).respond("-");
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// HTTP/1.1 and HTTP/2 with prior knowledge, within our limits. Time is kept by [`Activity`], not by hyper: its header
/// timer also runs between two requests.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(HEADER_COUNT_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAM_COUNT_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESET_COUNT_MAX)
        .max_local_error_reset_streams(LOCAL_RESET_COUNT_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Errors of the connection that was to be accepted, not of the listener.
fn concerns_one_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
