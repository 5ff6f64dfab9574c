//! A broker of one's own: a real nats-server on a free port with its own directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::wait::{PATIENCE, until};

/// Names the program; without it `target/venv` and the path are looked at.
const PROGRAM_VARIABLE: &str = "USP_TEST_NATS_SERVER";

/// A running nats-server. Killed when dropped.
#[derive(Debug)]
pub struct NatsServer {
    child: Option<Child>,
    root: TempDir,
    port: u16,
    /// Lines of its configuration besides those that every test needs.
    settings: String,
}

impl NatsServer {
    /// Starts one that lets everybody in.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// Starts one with more lines in its configuration, such as `authorization { token: t }`.
    pub async fn start_with(settings: &str) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("usp-nats-").tempdir().context("create a directory")?;
        let mut server = Self { child: None, root, port: 0, settings: settings.to_owned() };
        server.launch().await?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `SIGKILL`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts again at the same port, after [`Self::kill`].
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the broker still runs");
        self.launch().await
    }

    /// Forgets everything that it stored, after [`Self::kill`].
    pub fn wipe(&self) -> Result<()> {
        ensure!(self.child.is_none(), "the broker still runs");
        fs::remove_dir_all(self.root.path().join("store")).context("wipe the broker's store")
    }

    /// `SIGSTOP`: it holds its connections and answers nobody.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// `SIGCONT`.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.as_ref().context("the broker does not run")?.id();
        // The shell's own `kill` is there on every machine.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -s {name} {pid}")).status()?;
        ensure!(sent.success(), "no signal reached the broker");
        Ok(())
    }

    async fn launch(&mut self) -> Result<()> {
        let root = self.root.path();
        let config = root.join("nats.conf");
        // -1 asks for a free port; after the first start it is known.
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nports_file_dir: \"{}\"\n\
             jetstream {{ store_dir: \"{}\", sync_interval: always }}\n{}\n",
            root.display(),
            root.join("store").display(),
            self.settings
        );
        fs::write(&config, text)?;
        let log = root.join("log");
        let program = program();
        let child = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("start {}: run tools/setup-test.sh first", program.display()))?;
        let ports = root.join(format!("nats-server_{}.ports", child.id()));
        self.child = Some(child);
        let child = &mut self.child;
        let waited = until("the broker to listen", PATIENCE, async || {
            if let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                anyhow::bail!("nats-server ended with {status}");
            }
            port_in(&ports)
        })
        .await;
        self.port = waited.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.kill();
    }
}

fn program() -> PathBuf {
    if let Some(named) = std::env::var_os(PROGRAM_VARIABLE) {
        return PathBuf::from(named);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let installed = workspace.join("target/venv/bin/nats-server");
    if installed.exists() { installed } else { PathBuf::from("nats-server") }
}

/// `{"nats": ["nats://127.0.0.1:4222"]}`; `None` while it is not written whole.
fn port_in(path: &Path) -> Result<Option<u16>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(None) };
    let port = ports["nats"][0].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok());
    Ok(port)
}
