//! How work runs: bounded pools for blocking work, byte permits, the clock, backoff.
//!
//! Everything that crosses from async to blocking code crosses here, so that there is one place that bounds it.

pub mod backoff;
pub mod budget;
pub mod clock;
pub mod planted;
pub mod pool;

pub use backoff::{jitter, jittered};
pub use budget::{ByteBudget, BytePermit};
pub use clock::{Clock, ManualClock, SystemClock};
pub use planted::{is_planted, plant};
pub use pool::{Begun, Pool, PoolError};
pub use tokio_util::sync::CancellationToken as Shutdown;
