//! How work runs: bounded pools, byte permits, clock, backoff, shutdown.
