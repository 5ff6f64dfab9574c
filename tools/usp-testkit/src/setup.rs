//! What a test wants to be installed.

use std::path::PathBuf;

use anyhow::Result;

use crate::Installation;

/// How the roles are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Gateway, storage and processor in one.
    OneProcess,
    /// A gateway, a storage and two processors, which speak gRPC with each other; the queue is within storage.
    FourProcesses,
    /// The same with a NATS broker between storage and processors.
    FourProcessesOverNats,
}

impl Topology {
    pub const ALL: [Self; 3] = [Self::OneProcess, Self::FourProcesses, Self::FourProcessesOverNats];
}

/// Describes an installation; [`Self::start`] makes it.
#[derive(Debug, Clone)]
pub struct Setup {
    pub(crate) program: PathBuf,
    pub(crate) topology: Topology,
    pub(crate) roles: Option<String>,
    pub(crate) config: String,
    pub(crate) rules: Vec<(String, String)>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) storage_last: bool,
    pub(crate) data_dir: Option<PathBuf>,
}

impl Setup {
    /// One process with all defaults. `program` is `env!("CARGO_BIN_EXE_usp")` of the calling test.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            topology: Topology::OneProcess,
            roles: None,
            config: String::new(),
            rules: Vec::new(),
            env: Vec::new(),
            storage_last: false,
            data_dir: None,
        }
    }

    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// The roles of the one process, such as `gateway,storage`.
    #[must_use]
    pub fn roles(mut self, roles: &str) -> Self {
        self.roles = Some(roles.to_owned());
        self
    }

    /// The configuration file of every process, as TOML.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.config);
        self
    }

    /// A rule file in the data directory.
    #[must_use]
    pub fn rule(mut self, name: &str, yaml: &str) -> Self {
        self.rules.push((name.to_owned(), yaml.to_owned()));
        self
    }

    /// An environment variable of every server.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With roles apart: starts those that ask before the one that answers.
    #[must_use]
    pub fn storage_last(mut self) -> Self {
        self.storage_last = true;
        self
    }

    /// Where the process that stores keeps its data, instead of a directory of its own.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Starts it and waits until every process serves.
    pub async fn start(self) -> Result<Installation> {
        Installation::start(self).await
    }
}
