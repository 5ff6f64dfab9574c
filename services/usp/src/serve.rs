//! `usp serve`: the roles of this process, opened bottom up and closed top down.
//!
//! 1. Storage: the data directory is locked, mended and opened, or another process's storage role is reached.
//! 2. The node listener, if other roles are to reach this one.
//! 3. The processor begins to take runs.
//! 4. The doors open, and the `ready` line is printed.
//!
//! SIGTERM or SIGINT: the doors drain, the processor ends its steps or hands them back, storage closes. A second
//! signal ends the process at once; nothing that was acknowledged is lost by that either.

mod announce;
mod local;
mod metrics;
mod node;
mod probe;
mod queue;
mod rules;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use usp_api::{GrpcStorage, GrpcStorageConfig, StorageApi};
use usp_gateway::{BoundGateway, Gateway};
use usp_processor::{Processor, ProcessorConfig, ProcessorMetrics};
use usp_queue::Queue;
use usp_rt::Shutdown;

use crate::config::{Config, Role};
use crate::paths;
use announce::{Ready, print_password};
use local::{Local, LocalConfig, reload_rules};
use metrics::MetricsDoor;
use node::NodeDoor;
use probe::{ProbeDoor, Watched};

/// Serves until a signal ends it.
pub(crate) async fn run(config: Config) -> Result<()> {
    let stopping = Shutdown::new();
    tokio::spawn(wait_for_signals(stopping.clone()));
    // From here on in every role: what nobody has set is the end of the process.
    let hang_ups = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
    let local = match config.has_role(Role::Storage) {
        true => Some(open_local(&config).await?),
        false => None,
    };
    let storage: Arc<dyn StorageApi> = match &local {
        Some(local) => Arc::new(local.storage.clone()),
        None => Arc::new(remote_storage(&config)?),
    };
    let mut ready = Ready::default();
    let below = Layer::default();
    if let Some(local) = &local {
        start_storage(&config, local, &below, hang_ups, &mut ready).await?;
    }
    let mut processor_metrics = None;
    let work = Layer::default();
    let offers = match config.has_role(Role::Processor) {
        true => {
            let metrics = processor_metrics.insert(ProcessorMetrics::default()).clone();
            start_processor(&config, local.as_ref(), &storage, &work, metrics).await?
        }
        false => None,
    };
    ready.worker = config.has_role(Role::Processor).then(|| config.processor.worker.clone());
    if let Some(address) = config.probe.listen {
        let door = ProbeDoor::bind(address).await?;
        ready.probe = Some(door.address);
        let watched = Watched { storage: Arc::clone(&storage), queue: offers };
        let stop = below.stop.clone();
        below.spawn(async move { door.serve(watched, stop).await });
    }
    let register = |registry: &mut Registry| {
        if let Some(local) = &local {
            local.register_metrics(registry);
        }
        if let Some(metrics) = &processor_metrics {
            metrics.register(registry);
        }
    };
    let doors = Layer::default();
    if config.has_role(Role::Gateway) {
        let gateway = Gateway::new(config.gateway_config(), storage);
        gateway.register_metrics(register);
        let bound = gateway.bind().await?;
        (ready.http, ready.grpc) = (Some(bound.http_addr()), Some(bound.grpc_addr()));
        doors.spawn(open_doors(bound, doors.stop.clone()));
    }
    if let Some(address) = config.metrics.listen {
        let mut registry = Registry::default();
        register(&mut registry);
        ready.metrics = Some(open_metrics(address, registry, &below).await?);
    }
    ready.print(local.as_ref().is_some_and(|local| local.admin_password.is_some()))?;
    tokio::select! {
        () = stopping.cancelled() => {}
        () = doors.ended() => {}
        () = work.ended() => {}
        () = below.ended() => {}
    }
    tracing::info!("stopping");
    // Top down: nobody may still ask a layer that is gone.
    let closed = [doors.close().await, work.close().await, below.close().await];
    if let Some(local) = local {
        local.close().await;
    }
    tracing::info!("stopped");
    closed.into_iter().collect()
}

/// Tasks that stop together, before those of the layer below.
#[derive(Default)]
struct Layer {
    stop: Shutdown,
    /// Cancelled when a task ended by itself, which none should.
    broken: Shutdown,
    tasks: parking_lot::Mutex<Vec<JoinHandle<Result<()>>>>,
}

impl Layer {
    fn spawn(&self, task: impl Future<Output = Result<()>> + Send + 'static) {
        let broken = self.broken.clone();
        self.tasks.lock().push(tokio::spawn(async move {
            let ended = task.await;
            broken.cancel();
            ended
        }));
    }

    async fn ended(&self) {
        self.broken.cancelled().await;
    }

    async fn close(&self) -> Result<()> {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let mut closed = Ok(());
        for task in tasks {
            let ended = task.await.context("a task of the server panicked").and_then(|ended| ended);
            closed = closed.and(ended);
        }
        closed
    }
}

/// A door for what is counted here, besides that of a gateway.
async fn open_metrics(address: SocketAddr, registry: Registry, below: &Layer) -> Result<SocketAddr> {
    let door = MetricsDoor::bind(address).await?;
    let address = door.address;
    below.spawn(door.serve(registry, below.stop.clone()));
    Ok(address)
}

/// What the storage role does by itself, and the door for other roles.
async fn start_storage(
    config: &Config,
    local: &Local,
    below: &Layer,
    hang_ups: Signal,
    ready: &mut Ready,
) -> Result<()> {
    let (service, stop) = (local.storage.clone(), below.stop.clone());
    below.spawn(async move {
        service.run(stop).await;
        Ok(())
    });
    let (service, stop) = (local.storage.clone(), below.stop.clone());
    let rules_dir = config.rules_dir();
    below.spawn(async move {
        reload_rules(service, rules_dir, hang_ups, stop).await;
        Ok(())
    });
    if let Some(nats) = &local.nats {
        let (service, log, stop) = (local.storage.clone(), Arc::new(nats.events()), below.stop.clone());
        below.spawn(async move {
            service.announce(log, stop).await;
            Ok(())
        });
    }
    if let Some(door) = node_door(config).await? {
        ready.node = Some(door.address);
        let secret = config.node_secret()?.unwrap_or_else(|| local.keys.node_credential());
        node::write_secret(&paths::node_secret(&config.data_dir), &secret)?;
        let (storage, stop) = (Arc::new(local.storage.clone()), below.stop.clone());
        below.spawn(async move { door.serve(storage, &secret, stop).await });
    }
    Ok(())
}

/// Begins to take runs; gives the broker's queue if that is where they are told of.
async fn start_processor(
    config: &Config,
    local: Option<&Local>,
    storage: &Arc<dyn StorageApi>,
    work: &Layer,
    metrics: ProcessorMetrics,
) -> Result<Option<Arc<dyn Queue>>> {
    let processor_config = ProcessorConfig { metrics, ..config.processor_config() };
    let mut processor = Processor::new(processor_config, Arc::clone(storage))?;
    let offers = queue::of_processor(config, local).await?;
    if let Some(queue) = &offers {
        processor = processor.with_queue(Arc::clone(queue));
    }
    let (asked, stop) = (Arc::clone(storage), work.stop.clone());
    let must_match = offers.is_some() && local.is_none();
    work.spawn(async move {
        if must_match {
            queue::must_match(asked.as_ref(), &stop).await?;
        }
        processor.run(stop).await;
        Ok(())
    });
    Ok(offers)
}

async fn open_doors(bound: BoundGateway, stop: Shutdown) -> Result<()> {
    Ok(bound.serve(stop).await?)
}

async fn open_local(config: &Config) -> Result<Local> {
    let local = Local::open(LocalConfig {
        data_dir: &config.data_dir,
        rules_dir: config.rules_dir(),
        content: config.content_config()?,
        storage: config.storage_config(),
        tokens: config.token_config(),
        memory_budget_bytes: config.storage.memory_budget.0,
        nats: config.nats_config()?,
        ballast_bytes: config.storage.ballast_size.0,
    })
    .await?;
    if let Some(password) = &local.admin_password {
        print_password(password)?;
    }
    Ok(local)
}

fn remote_storage(config: &Config) -> Result<GrpcStorage> {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    const CALL_TIMEOUT: Duration = Duration::from_secs(30);
    let secret = config.node_secret()?.context("the node secret of the storage role is not configured")?;
    let url = config.storage.url.clone().context("the URL of the storage role is not configured")?;
    Ok(GrpcStorage::new(&GrpcStorageConfig {
        url,
        secret,
        connect_timeout: CONNECT_TIMEOUT,
        call_timeout: CALL_TIMEOUT,
    })?)
}

async fn node_door(config: &Config) -> Result<Option<NodeDoor>> {
    match config.storage.node_listen {
        Some(address) => NodeDoor::bind(address).await.map(Some),
        None => Ok(None),
    }
}

/// The first signal asks for an orderly end, the second for an immediate one.
async fn wait_for_signals(stopping: Shutdown) {
    const INTERRUPTED: i32 = 130;
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; the process only ends when it is killed");
        return;
    };
    for is_first in [true, false] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if is_first {
            stopping.cancel();
        }
    }
    std::process::exit(INTERRUPTED);
}
