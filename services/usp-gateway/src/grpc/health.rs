//! `grpc.health.v1`: serving while storage is ready, not serving from the moment we are told to stop.

use std::sync::Arc;
use std::time::Duration;

use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};
use usp_api::StorageApi;
use usp_proto::gateway::api_gateway_service_server::ApiGatewayServiceServer;
use usp_proto::processor::file_processor_service_server::FileProcessorServiceServer;
use usp_proto::storage::file_storage_service_server::FileStorageServiceServer;
use usp_rt::Shutdown;

use super::Service;

const REFRESH_EVERY: Duration = Duration::from_secs(5);
const NOTICE_TIME: Duration = Duration::from_millis(200);
/// The empty name speaks for the whole server.
const NAMES: [&str; 4] = [
    "",
    <FileStorageServiceServer<Service> as NamedService>::NAME,
    <FileProcessorServiceServer<Service> as NamedService>::NAME,
    <ApiGatewayServiceServer<Service> as NamedService>::NAME,
];

/// Keeps the answers to health checks up to date.
#[derive(Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    storage: Arc<dyn StorageApi>,
}

impl Health {
    pub(super) async fn new(storage: Arc<dyn StorageApi>) -> (Self, HealthServer<impl HealthApi>) {
        let (reporter, service) = health_reporter();
        let health = Self { reporter, storage };
        health.refresh().await;
        (health, service)
    }

    /// Follows the readiness of storage until `shutdown`. Cancel: safe.
    pub(crate) async fn report(mut self, shutdown: Shutdown) {
        while shutdown.run_until_cancelled(tokio::time::sleep(REFRESH_EVERY)).await.is_some() {
            self.refresh().await;
        }
        self.set_status(ServingStatus::NotServing).await;
        // Watchers receive that, and then the end of their stream, which must not delay the stop.
        tokio::time::sleep(NOTICE_TIME).await;
        for name in NAMES {
            self.reporter.clear_service_status(name).await;
        }
    }

    async fn refresh(&self) {
        let is_ready = self.storage.readiness().await.is_ok_and(|readiness| readiness.ready);
        self.set_status(if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }

    async fn set_status(&self, status: ServingStatus) {
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
