//! One running process of the binary.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::names::READY;
use crate::wait::{PATIENCE, until};

/// A process that serves, with what it printed. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    /// `http`, `grpc`, `node` → address.
    addresses: BTreeMap<String, String>,
    start_time: Duration,
}

impl Server {
    /// Starts `command` and waits until it serves. Its output goes to files below `logs`.
    ///
    /// Errors: what it printed, when it ended or did not get ready.
    pub(crate) async fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        let begun = Instant::now();
        let stdout = logs.join(format!("{name}.stdout"));
        let stderr = logs.join(format!("{name}.stderr"));
        command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).context("create the file for standard output")?)
            .stderr(File::create(&stderr).context("create the file for standard error")?);
        let child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        let mut server = Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
            addresses: BTreeMap::new(),
            start_time: Duration::ZERO,
        };
        let waited = until(&format!("{name} to get ready"), PATIENCE, async || server.ready_line()).await;
        let line = waited.map_err(|error| anyhow::anyhow!("{error:#}\n{}", server.output()))?;
        server.start_time = begun.elapsed();
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        server.addresses = pairs.map(|(name, address)| (name.to_owned(), address.to_owned())).collect();
        Ok(server)
    }

    fn ready_line(&mut self) -> Result<Option<String>> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status} before it got ready", self.name);
        }
        let text = fs::read_to_string(&self.stdout)?;
        // A line counts once it is whole.
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let is_ready = |line: &&str| line.split_whitespace().next() == Some(READY);
        Ok(whole.lines().find(is_ready).map(str::to_owned))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From the start of the process to its `ready` line.
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// What the `ready` line says for `http`, `grpc` or `node`.
    pub fn address(&self, what: &str) -> Result<&str> {
        let address = self.addresses.get(what).map(String::as_str);
        address.with_context(|| format!("the ready line of {} names no {what}\n{}", self.name, self.output()))
    }

    /// The most memory that the process held so far, in bytes (`VmHWM`).
    pub fn memory_peak_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// `SIGKILL`, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// `SIGTERM`: asks it to finish what runs and to end.
    pub fn terminate(&self) -> Result<()> {
        // The shell's own `kill` is there on every machine.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -s TERM {}", self.pid())).status()?;
        ensure!(sent.success(), "no signal reached {}", self.name);
        Ok(())
    }

    /// Waits until the process ended by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        let child = &mut self.child;
        let waited = until(&what, PATIENCE, async || Ok(child.try_wait()?)).await;
        waited.map_err(|error| anyhow::anyhow!("{error:#}\n{}", self.output()))
    }

    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Both outputs so far, for the message of a failed test.
    pub fn output(&self) -> String {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let name = &self.name;
        format!("--- {name}: stdout\n{}--- {name}: stderr\n{}", read(&self.stdout), read(&self.stderr))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.kill();
    }
}
