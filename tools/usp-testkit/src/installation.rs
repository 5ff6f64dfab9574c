//! A running installation: its processes, its directories, its credentials.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::names::{
    ADMIN_PASSWORD, ANY_PORT, NODE_LISTEN, NODE_SECRET, NODE_SECRET_FILE, NODE_SECRET_TEXT, QUEUE_KIND,
    QUEUE_URL, RULES_DIR, STORAGE_URL,
};
use crate::{Cli, Http, Outcome, Server, Setup, Topology};

/// The real binary at work below one temporary directory. All of it goes when this is dropped.
#[derive(Debug)]
pub struct Installation {
    // Processes end before their directories go.
    servers: Vec<Server>,
    broker: Option<Broker>,
    setup: Setup,
    root: TempDir,
    /// How often it was started, so that the output of each start has files of its own.
    starts: u32,
}

/// The processes that work, when roles are apart.
const PROCESSORS: [&str; 2] = ["processor-1", "processor-2"];

/// How a process ended that was asked to.
#[derive(Debug)]
pub struct Stopped {
    pub name: String,
    pub status: ExitStatus,
    pub took: Duration,
}

impl Installation {
    pub(crate) async fn start(setup: Setup) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("usp-e2e-").tempdir().context("create a directory")?;
        let broker = match setup.topology {
            Topology::FourProcessesOverNats => Some(Broker::start().await?),
            Topology::OneProcess | Topology::FourProcesses => None,
        };
        let mut installation = Self { servers: Vec::new(), broker, setup, root, starts: 0 };
        for dir in ["data", "logs", "home", "cwd"] {
            fs::create_dir(installation.root.path().join(dir))?;
        }
        installation.write_settings()?;
        installation.start_servers().await?;
        Ok(installation)
    }

    fn write_settings(&self) -> Result<()> {
        fs::write(self.config_file(), &self.setup.config)?;
        if !self.setup.rules.is_empty() {
            let rules = self.data_dir().join(RULES_DIR);
            fs::create_dir(&rules)?;
            for (name, yaml) in &self.setup.rules {
                fs::write(rules.join(format!("{name}.yaml")), yaml)?;
            }
        }
        Ok(())
    }

    async fn start_servers(&mut self) -> Result<()> {
        self.starts += 1;
        match self.setup.topology {
            Topology::OneProcess => {
                let mut command = self.serve(&self.data_dir());
                command.args(["--http", ANY_PORT, "--grpc", ANY_PORT]);
                if let Some(roles) = &self.setup.roles {
                    command.args(["--roles", roles]);
                }
                self.launch("usp", command).await
            }
            Topology::FourProcesses | Topology::FourProcessesOverNats => self.start_apart().await,
        }
    }

    async fn start_apart(&mut self) -> Result<()> {
        if self.setup.storage_last {
            return self.start_backwards().await;
        }
        self.start_storage(ANY_PORT).await?;
        let url = self.storage_url()?;
        self.start_gateway(&url, [ANY_PORT, ANY_PORT]).await?;
        for name in PROCESSORS {
            self.start_processor(name, &url).await?;
        }
        Ok(())
    }

    /// Processors, gateway, storage. The address of storage and its secret are settled before it exists.
    async fn start_backwards(&mut self) -> Result<()> {
        let free = std::net::TcpListener::bind(ANY_PORT)?.local_addr()?.to_string();
        let url = format!("http://{free}");
        self.setup.env.push((NODE_SECRET_TEXT.to_owned(), "uspn_settled-before-the-first-start".to_owned()));
        for name in PROCESSORS {
            self.start_processor(name, &url).await?;
        }
        self.start_gateway(&url, [ANY_PORT, ANY_PORT]).await?;
        self.start_storage(&free).await
    }

    fn storage_url(&self) -> Result<String> {
        Ok(format!("http://{}", self.server("storage")?.address("node")?))
    }

    async fn start_gateway(&mut self, url: &str, [http, grpc]: [&str; 2]) -> Result<()> {
        let mut gateway = self.serve(&self.root.path().join("gateway"));
        gateway.args(["--roles", "gateway", "--http", http, "--grpc", grpc]);
        self.point_to_storage(&mut gateway, url);
        self.launch("gateway", gateway).await
    }

    async fn start_processor(&mut self, name: &str, url: &str) -> Result<()> {
        let mut processor = self.serve(&self.root.path().join(name));
        processor.args(["--roles", "processor"]);
        self.point_to_storage(&mut processor, url);
        self.point_to_broker(&mut processor);
        self.launch(name, processor).await
    }

    async fn start_storage(&mut self, listen: &str) -> Result<()> {
        let mut storage = self.serve(&self.data_dir());
        storage.args(["--roles", "storage"]).env(NODE_LISTEN, listen);
        self.point_to_broker(&mut storage);
        self.launch("storage", storage).await
    }

    fn point_to_storage(&self, command: &mut Command, url: &str) {
        command.env(STORAGE_URL, url);
        if !self.setup.storage_last {
            command.env(NODE_SECRET_FILE, self.data_dir().join(NODE_SECRET));
        }
    }

    fn point_to_broker(&self, command: &mut Command) {
        if let Some(broker) = &self.broker {
            command.env(QUEUE_KIND, "nats").env(QUEUE_URL, broker.url());
        }
    }

    async fn launch(&mut self, name: &str, command: Command) -> Result<()> {
        let logs = self.root.path().join("logs").join(self.starts.to_string());
        fs::create_dir_all(&logs)?;
        self.servers.push(Server::start(name, command, &logs).await?);
        Ok(())
    }

    fn serve(&self, data_dir: &Path) -> Command {
        let mut command = self.command();
        command.arg("serve").arg("--config").arg(self.config_file()).arg("--data-dir").arg(data_dir);
        command
    }

    /// The binary in an environment where nothing of the machine's own settings counts.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.setup.program);
        let home = self.root.path().join("home");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &home).env("XDG_CONFIG_HOME", home.join("config"));
        command.env("RUST_BACKTRACE", "1").current_dir(self.root.path().join("cwd"));
        command.envs(self.setup.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn config_file(&self) -> PathBuf {
        self.root.path().join("usp.toml")
    }

    /// Holds everything of this installation: `data`, `logs`, `home`, `cwd`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Of the process that stores.
    pub fn data_dir(&self) -> PathBuf {
        self.setup.data_dir.clone().unwrap_or_else(|| self.root.path().join("data"))
    }

    /// Runs a verb that asks no server, whether one runs or not.
    pub async fn offline(&self, args: &[&str]) -> Result<Outcome> {
        let mut command = self.command();
        command.args(args);
        Cli::run(command, b"").await
    }

    /// Starts it and waits for its end, which is expected to come before it serves. Gives the code and what it printed.
    pub async fn start_refused(&self) -> Result<Outcome> {
        let mut command = self.serve(&self.data_dir());
        command.args(["--http", ANY_PORT, "--grpc", ANY_PORT]);
        Cli::run(command, b"").await
    }

    /// `usp` when one process does it all; else `storage`, `gateway`, `processor-1`, `processor-2`.
    pub fn server(&self, name: &str) -> Result<&Server> {
        let found = self.servers.iter().find(|server| server.name() == name);
        found.with_context(|| format!("no process is called {name}"))
    }

    pub fn servers_mut(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// The process that clients talk to.
    pub fn door(&self) -> Result<&Server> {
        let name = if self.setup.topology == Topology::OneProcess { "usp" } else { "gateway" };
        self.server(name)
    }

    pub fn http_address(&self) -> Result<SocketAddr> {
        Ok(self.door()?.address("http")?.parse()?)
    }

    pub fn grpc_address(&self) -> Result<SocketAddr> {
        Ok(self.door()?.address("grpc")?.parse()?)
    }

    /// A caller without a credential.
    pub fn anonymous(&self) -> Result<Http> {
        Ok(Http::new(self.http_address()?))
    }

    /// A caller with a fresh token of `usp token`, such as `["--user", "ada", "--role", "writer", "--bucket", "b"]`.
    pub async fn caller(&self, args: &[&str]) -> Result<Http> {
        Ok(self.anonymous()?.with_token(self.token(args).await?))
    }

    pub async fn admin(&self) -> Result<Http> {
        self.caller(&["--role", "admin"]).await
    }

    /// What `usp token` mints with the key of the data directory.
    pub async fn token(&self, args: &[&str]) -> Result<String> {
        let data_dir = self.data_dir();
        let mut command = self.command();
        command.arg("token").arg("--data-dir").arg(data_dir).args(args);
        let outcome = Cli::run(command, b"").await?;
        ensure!(outcome.code == 0, "usp token ended with {}: {}", outcome.code, outcome.stderr);
        let token = outcome.stdout.trim().to_owned();
        ensure!(!token.is_empty() && !token.contains(char::is_whitespace), "usp token printed {token:?}");
        Ok(token)
    }

    /// The command line of an admin of this installation.
    pub async fn cli(&self) -> Result<Cli<'_>> {
        let token = self.token(&["--role", "admin"]).await?;
        self.cli_with(Some(token))
    }

    /// The command line with another credential, or with none.
    pub fn cli_with(&self, token: Option<String>) -> Result<Cli<'_>> {
        let url = format!("http://{}", self.http_address()?);
        Ok(Cli::new(self, url, token))
    }

    /// The password that the first start printed for the user `admin`.
    pub fn admin_password(&self) -> Result<String> {
        let output = self.logs()?;
        let line = output.lines().find_map(|line| line.trim().strip_prefix(ADMIN_PASSWORD));
        Ok(line.context("the first start printed no admin password")?.trim().to_owned())
    }

    /// Everything that every process of every start printed.
    pub fn logs(&self) -> Result<String> {
        let mut text = String::new();
        for entry in walkdir::WalkDir::new(self.root.path().join("logs")).sort_by_file_name() {
            let entry = entry?;
            if entry.file_type().is_file() {
                text.push_str(&String::from_utf8_lossy(&fs::read(entry.path())?));
            }
        }
        Ok(text)
    }

    /// What was printed last, for the message of a failed test.
    pub fn log_end(&self) -> String {
        const LINE_COUNT_MAX: usize = 60;
        let text = self.logs().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(LINE_COUNT_MAX)..).unwrap_or_default().join("\n")
    }

    /// `SIGKILL` for every process.
    pub fn kill(&mut self) -> Result<()> {
        self.servers.drain(..).try_for_each(|mut server| server.kill())
    }

    /// `SIGKILL` for one process; the others go on.
    pub fn kill_server(&mut self, name: &str) -> Result<()> {
        let place = self.servers.iter().position(|server| server.name() == name);
        self.servers.remove(place.with_context(|| format!("no process is called {name}"))?).kill()
    }

    /// Kills the storage process and starts it anew at the same address, while the others go on.
    pub async fn restart_storage(&mut self) -> Result<()> {
        self.restart("storage", false).await
    }

    /// Ends one of several processes, by `SIGTERM` if `gently` and else by `SIGKILL`, and starts it anew at the same
    /// addresses, while the others go on.
    pub async fn restart(&mut self, name: &str, gently: bool) -> Result<()> {
        let place = self.servers.iter().position(|server| server.name() == name);
        let mut server = self.servers.remove(place.with_context(|| format!("no process is called {name}"))?);
        if gently {
            server.terminate()?;
            server.ended().await?;
        } else {
            server.kill()?;
        }
        self.starts += 1;
        let address = |what: &str| server.address(what).map(str::to_owned);
        match name {
            "storage" => self.start_storage(&address("node")?).await,
            "gateway" => {
                let (url, http, grpc) = (self.storage_url()?, address("http")?, address("grpc")?);
                self.start_gateway(&url, [&http, &grpc]).await
            }
            _ => {
                let url = self.storage_url()?;
                self.start_processor(name, &url).await
            }
        }
    }

    /// The broker between storage and processors. Errors: there is none in this topology.
    pub fn broker_mut(&mut self) -> Result<&mut Broker> {
        self.broker.as_mut().context("this installation has no broker")
    }

    /// `SIGTERM` for every process in turn, those that were started last first, and waits for the end of each.
    pub async fn stop(&mut self) -> Result<Vec<Stopped>> {
        let mut stopped = Vec::new();
        for mut server in self.servers.drain(..).rev() {
            let begun = Instant::now();
            server.terminate()?;
            let status = server.ended().await?;
            stopped.push(Stopped { name: server.name().to_owned(), status, took: begun.elapsed() });
        }
        Ok(stopped)
    }

    /// Starts again on the same directories, after [`Self::kill`] or [`Self::stop`]. Ports change.
    ///
    /// Shape: the longest time that a process took to get ready.
    pub async fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.servers.is_empty(), "the installation still runs");
        self.start_servers().await?;
        Ok(self.servers.iter().map(Server::start_time).max().unwrap_or_default())
    }

    /// Starts one process with other roles next time.
    pub fn set_roles(&mut self, roles: Option<&str>) {
        self.setup.roles = roles.map(str::to_owned);
    }

    /// Fails if anything lies below the root but where it belongs.
    pub fn check_nothing_escaped(&self) -> Result<()> {
        let known =
            ["data", "logs", "home", "cwd", "usp.toml", "gateway", "processor-1", "processor-2", "work"];
        for entry in fs::read_dir(self.root.path())? {
            let name = entry?.file_name();
            ensure!(known.iter().any(|known| name == *known), "{name:?} lies outside the data directory");
        }
        let strays = fs::read_dir(self.root.path().join("cwd"))?.count();
        ensure!(strays == 0, "{strays} files lie in the working directory");
        Ok(())
    }
}
