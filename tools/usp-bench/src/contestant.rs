//! Who takes part, and what all of them can be asked to do.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::http::{Answer, Body, Connection};
use crate::process::Process;

/// Where programs are found.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The binary under test.
    pub(crate) usp: PathBuf,
    /// What `tools/bench-peers.sh` installs.
    pub(crate) peers: PathBuf,
    /// What `tools/setup-test.sh` installs.
    pub(crate) nats_server: PathBuf,
}

impl Places {
    /// A program of `tools/bench-peers.sh`, or else one on the search path.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let own = self.peers.join("bin").join(name);
        if own.is_file() {
            return Some(own);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
        dirs.into_iter().map(|dir| dir.join(name)).find(|program| program.is_file())
    }
}

/// What a reader must know to judge the figures.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) version: String,
    /// What an answer of success promises.
    pub(crate) durability: &'static str,
    pub(crate) settings: &'static str,
}

/// The first line that a program prints about its version.
pub(crate) fn version_line(program: &Path, arg: &str) -> String {
    let Ok(output) = Command::new(program).arg(arg).output() else { return "unknown".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").trim().to_owned()
}

/// A server that can be measured.
pub(crate) trait Contestant: fmt::Debug + Sync {
    fn name(&self) -> &'static str;
    /// The command that installs it, when it is not there.
    fn missing(&self, places: &Places) -> Option<String>;
    fn about(&self, places: &Places) -> About;
    /// Starts it with empty storage below `dir`, and waits until it takes requests.
    fn start(&self, places: &Places, dir: &Path) -> Result<Running>;
}

/// How files go in and come out.
pub(crate) trait Dialect: fmt::Debug + Send + Sync {
    /// Stores one file. Shape: the path under which [`Self::get`] finds it.
    fn put(&self, connection: &mut Connection, key: &str, body: Body<'_>) -> Result<String>;

    /// Reads a file, or the bytes from the first to the last of `range`; `coding` goes into `Accept-Encoding`.
    fn get(
        &self,
        connection: &mut Connection,
        path: &str,
        wanted: Wanted,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Answer>;
}

/// Which part of a file, and how it may be coded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) zstd: bool,
}

impl Wanted {
    /// Header lines that ask for it; empty lines where nothing is asked.
    pub(crate) fn lines(self) -> [String; 2] {
        let range = self.range.map(|(first, last)| format!("Range: bytes={first}-{last}\r\n"));
        let coding = self.zstd.then(|| "Accept-Encoding: zstd\r\n".to_owned());
        [range.unwrap_or_default(), coding.unwrap_or_default()]
    }
}

/// A contestant at work.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Where its bytes lie.
    pub(crate) storage: PathBuf,
    pub(crate) dialect: Box<dyn Dialect>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}
