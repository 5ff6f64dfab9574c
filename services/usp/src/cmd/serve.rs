//! `usp serve`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::config::Sources;
use crate::telemetry::Telemetry;
use crate::{logging, serve};

/// Start a server: storage, gateway and processor in one process, or some of them
#[derive(Debug, Args)]
#[command(after_help = "\
Prints `ready http=ADDR grpc=ADDR` once it accepts requests. SIGTERM and Ctrl-C end it in order, a second one at once; \
SIGHUP reads the rules again. Every key of `usp config print` can be set as USP__SECTION__KEY.

Example:
  usp serve --data-dir ./data
  usp serve --http 0.0.0.0:8080 --roles gateway,storage,processor")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFlags,
    /// What this process does: gateway, storage, processor, or several with commas
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Where REST listens; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Where gRPC listens; port 0 picks a free one
    #[arg(long, value_name = "ADDR")]
    grpc: Option<String>,
}

/// Which configuration is meant.
#[derive(Debug, Args)]
pub(crate) struct ConfigFlags {
    /// A configuration file in TOML, instead of USP_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl ConfigFlags {
    /// These flags, the environment and the files that they name.
    pub(crate) fn sources(&self) -> Sources {
        let data_dir = self.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        let sources = Sources { file: self.config.clone(), ..Sources::of_process() };
        sources.with_flag("data_dir", "--data-dir", data_dir)
    }
}

pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let loaded = args
        .config
        .sources()
        .with_flag("roles", "--roles", args.roles)
        .with_flag("gateway.http", "--http", args.http)
        .with_flag("gateway.grpc", "--grpc", args.grpc)
        .load()?;
    logging::install(loaded.config.log.format, &loaded.config.log.filter)?;
    let telemetry = Telemetry::start(&loaded.config)?;
    let served = serve::run(loaded.config).await;
    if let Some(telemetry) = telemetry {
        telemetry.close().await;
    }
    served
}
