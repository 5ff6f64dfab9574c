//! Dialects: REST, public gRPC, SSE, limits.
