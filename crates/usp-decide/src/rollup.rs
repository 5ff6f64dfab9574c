//! When a file is ready.
