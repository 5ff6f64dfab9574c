//! Connections that read, lent to one job at a time.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use usp_model::{Error, ErrorKind, Result};
use usp_rt::{Pool, PoolError};

use super::ask::Ask;
use super::fail::Outcome;

/// As many reads run at once as there are connections; the rest wait in line.
pub(super) struct Readers {
    pool: Pool,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let pool = Pool::new("catalog-read", connections.len());
        Self { pool, idle: Arc::new(Mutex::new(connections)) }
    }

    /// Runs `work` on one snapshot of the committed facts, which holds every write acknowledged before this call.
    ///
    /// Cancel: safe, nothing is written.
    pub(super) async fn read<T, F>(&self, action: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let idle = Arc::clone(&self.idle);
        let job = move || {
            let lent = Lent::take(&idle);
            lent.snapshot(work).map_err(|fail| fail.into_error(action))
        };
        match self.pool.run(job).await {
            Ok(outcome) => outcome,
            Err(PoolError::Panicked) => {
                Err(Error::new(ErrorKind::Internal, action).because("the job panicked"))
            }
            Err(PoolError::Stopped) => {
                Err(Error::new(ErrorKind::Unavailable, action).because("usp is stopping"))
            }
        }
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("idle", &self.idle.lock().len()).finish_non_exhaustive()
    }
}

/// A connection that goes back when the job is over, also when it panicked.
struct Lent {
    conn: Option<Connection>,
    home: Arc<Mutex<Vec<Connection>>>,
}

impl Lent {
    fn take(home: &Arc<Mutex<Vec<Connection>>>) -> Self {
        let conn = home.lock().pop();
        Self { conn, home: Arc::clone(home) }
    }

    fn snapshot<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        // The pool has as many slots as there are connections, so one is always there.
        let conn = self.conn.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "read catalogue").because("no connection is free")
        })?;
        conn.run("BEGIN", [])?;
        work(conn)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // Ending the snapshot cannot lose anything; a connection that fails at it is not lent again.
        if conn.is_autocommit() || conn.run("COMMIT", []).is_ok() {
            self.home.lock().push(conn);
        }
    }
}
