//! Typed client of the public API, used by the command line.
