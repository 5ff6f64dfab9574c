//! The gRPC messages, clients and servers of usp. Everything below comes from `proto/`; change it there and run
//! `cargo xtask gen`.
//!
//! Maps are `BTreeMap`, `bytes` fields are `Bytes`, and Google's well-known types are those of `prost-types`.

include!("gen/packages.rs");

pub use usp::gateway::v1 as gateway;
pub use usp::node::v1 as node;
pub use usp::processor::v1 as processor;
pub use usp::shared::v1 as shared;
pub use usp::storage::v1 as storage;

/// Every public `.proto` file with its comments, as an encoded `google.protobuf.FileDescriptorSet`, for server
/// reflection. The protocol between roles (`node`) is not in it.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptor.bin");
