//! A program that runs beside the benchmark, and surely ends with it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::proc;

/// A server that is not ready by then is broken.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// A server that was asked to end and still runs by then is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// A running server. Ended when dropped, with all that it started.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    /// When [`Self::wait_for`] had found what it looked for.
    ready: Option<Instant>,
}

impl Process {
    /// Starts `command`, with its output in a file of `dir`. The kernel ends it should this program die.
    pub(crate) fn start(name: &str, command: &Command, dir: &Path) -> Result<Self> {
        let output = dir.join(format!("{name}.output"));
        let file = File::create(&output)?;
        // The program replaces setpriv, so the process id is its own.
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "TERM"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(key, value),
                None => guarded.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            guarded.current_dir(dir);
        }
        guarded.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = guarded.spawn().with_context(|| format!("start {name} (with setpriv of util-linux)"))?;
        Ok(Self { name: name.to_owned(), child, output, ready: None })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks until `look` sees what it looks for in what the program printed.
    pub(crate) fn wait_for<T>(&mut self, look: impl Fn(&str) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(&self.printed()) {
                self.ready = Some(Instant::now());
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it was ready:\n{}", self.name, self.printed());
            }
            if begun.elapsed() > READY_TIME_MAX {
                bail!("{} was not ready after {READY_TIME_MAX:?}:\n{}", self.name, self.printed());
            }
            sleep(PAUSE);
        }
    }

    /// Waits until `address` takes connections.
    pub(crate) fn wait_for_door(&mut self, address: SocketAddr) -> Result<()> {
        self.wait_for(|_| TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok().map(|_| ()))
    }

    /// Seconds from `begun` until it was ready.
    pub(crate) fn ready_after(&self, begun: Instant) -> f64 {
        self.ready.map_or(0.0, |ready| ready.saturating_duration_since(begun).as_secs_f64())
    }

    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn end(&mut self) {
        let tree = proc::tree(self.pid());
        signal("TERM", &[self.pid()]);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > STOP_TIME_MAX {
                signal("KILL", &tree);
                let _ = self.child.wait();
                return;
            }
            sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// Who has ended already hears nothing; that is no fault.
fn signal(name: &str, pids: &[u32]) {
    let _ = Command::new("kill")
        .arg("-s")
        .arg(name)
        .args(pids.iter().map(u32::to_string))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// What a program that was run to its end did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) memory_peak_bytes: u64,
}

/// Runs `command` to its end, within `time_max`. Errors: it failed or took too long; with what it printed.
pub(crate) fn run(name: &str, command: &Command, dir: &Path, time_max: Duration) -> Result<Ran> {
    let ticks_before = proc::own_ticks()?;
    let begun = Instant::now();
    let mut process = Process::start(name, command, dir)?;
    let mut memory_peak_bytes = 0;
    let status = loop {
        memory_peak_bytes = memory_peak_bytes.max(proc::tree_memory_peak_bytes(process.pid()));
        if let Some(status) = process.child.try_wait()? {
            break status;
        }
        if begun.elapsed() > time_max {
            bail!("{name} still ran after {time_max:?}:\n{}", process.printed());
        }
        sleep(PAUSE);
    };
    let seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{name} ended with {status}:\n{}", process.printed());
    }
    #[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark are far below 2^52")]
    let ticks = proc::own_ticks()?.saturating_sub(ticks_before) as f64;
    let cpu_seconds = ticks / proc::ticks_per_second()?;
    Ok(Ran { seconds, cpu_seconds, memory_peak_bytes })
}
