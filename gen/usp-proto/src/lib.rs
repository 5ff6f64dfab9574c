//! Generated gRPC code; nothing here is written by hand.
