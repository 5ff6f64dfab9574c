//! The public gRPC door: three services over `StorageApi`, with health and reflection.
//!
//! `admission.rs` decides who may call what, before a message is read. `decode.rs` turns messages into queries and changes,
//! `encode.rs` turns answers into messages, `status.rs` failures into statuses.

mod admission;
mod allowed;
mod calls;
mod decode;
mod dialect;
mod encode;
mod gateway;
mod health;
mod processor;
mod read;
mod status;
mod storage;
mod upload;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tonic::service::Routes;
use usp_api::StorageApi;
use usp_model::{Error, ErrorKind, Result};
use usp_proto::gateway::api_gateway_service_server::ApiGatewayServiceServer;
use usp_proto::processor::file_processor_service_server::FileProcessorServiceServer;
use usp_proto::storage::file_storage_service_server::FileStorageServiceServer;

use crate::Gateway;
pub(crate) use dialect::GrpcDialect;
use health::Health;

/// The longest message, in and out. Content is sent in far smaller ones.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What every service of this door holds.
#[derive(Debug, Clone)]
struct Service {
    storage: Arc<dyn StorageApi>,
}

/// All services, each call admitted by `admission.rs`; and what keeps their health up to date.
pub(crate) async fn router(gateway: &Gateway) -> Result<(Router, Health)> {
    let service = Service { storage: Arc::clone(&gateway.storage) };
    let (health, health_service) = Health::new(Arc::clone(&gateway.storage)).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(usp_proto::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let undescribed = |source: tonic_reflection::server::Error| {
        Error::new(ErrorKind::Internal, "describe gRPC services").caused_by(source)
    };
    let routes = Routes::new(
        FileStorageServiceServer::new(service.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX),
    )
    .add_service(
        FileProcessorServiceServer::new(service.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX),
    )
    .add_service(
        ApiGatewayServiceServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX),
    )
    .add_service(health_service)
    .add_service(reflection().build_v1().map_err(undescribed)?)
    .add_service(reflection().build_v1alpha().map_err(undescribed)?);
    let admit = from_fn_with_state(gateway.clone(), admission::admit);
    Ok((routes.into_axum_router().layer(admit), health))
}
