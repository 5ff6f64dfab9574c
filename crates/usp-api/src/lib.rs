//! The contract between roles: StorageApi with its gRPC client and server.
