//! Runs the real binary for tests and talks to it.
