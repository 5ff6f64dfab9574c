//! `usp health`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;
use usp_model::{Error, ErrorKind};

use crate::cmd::serve::ConfigFlags;
use crate::session::Session;

/// Ask the server on this machine whether it can work; ends with 6 if it cannot
///
/// Reads the server's configuration to find it: probe.listen if that is set, else gateway.http. For container health checks.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp health --data-dir /var/lib/usp")]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    config: ConfigFlags,
}

pub(crate) async fn run(args: HealthArgs, session: &Session) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    // Which roles the server was started with does not matter here, so neither does whether they fit the rest.
    let config = args.config.sources().load_unchecked()?.config;
    let address = reachable(config.probe.listen.unwrap_or(config.gateway.http));
    let away = || Error::new(ErrorKind::Unavailable, "ask the server").about(address);
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer = client.get(format!("http://{address}/readyz")).send().await;
    let answer = answer.map_err(|source| away().because("nobody answers there").caused_by(source))?;
    let is_ready = answer.status().is_success();
    let told: Value = answer.json().await.context("failed to read the answer of the server")?;
    let sentences: Vec<&str> = told
        .get("waiting_for")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !is_ready {
        return Err(away().because(format!("it waits for {}", sentences.join("; "))).into());
    }
    session.output.outcome(&told, || match sentences.is_empty() {
        true => "ready".to_owned(),
        false => format!("ready, without {}", sentences.join("; ")),
    })
}

/// A server that listens everywhere is reached on the machine itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(host, listen.port())
}
