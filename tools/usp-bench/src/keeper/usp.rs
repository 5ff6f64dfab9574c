//! usp as a store of versions: each file of a tree under a key, over HTTP, with this program as the client.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::{Keeper, STEP_TIME_MAX, Step, Store};
use crate::contestant::{About, Contestant, Places, Running, Wanted};
use crate::contestants;
use crate::http::Body;
use crate::load::{Load, Work};
use crate::meter::Meter;
use crate::proc;

/// Enough for the commits of small files to share their syncs.
const CLIENTS: usize = 32;
/// Larger files go from the page cache to the socket.
const READ_SIZE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Usp;

impl Keeper for Usp {
    fn name(&self) -> &'static str {
        "usp"
    }

    fn missing(&self, places: &Places) -> Option<String> {
        contestants::usp::Usp.missing(places)
    }

    fn about(&self, places: &Places) -> About {
        contestants::usp::Usp.about(places)
    }

    fn open(&self, places: &Places, dir: &Path) -> Result<Box<dyn Store>> {
        Ok(Box::new(Server { running: contestants::usp::Usp.start(places, dir)?, versions: Vec::new() }))
    }
}

#[derive(Debug)]
struct Server {
    running: Running,
    /// Paths of each version's files, relative to its root.
    versions: Vec<(String, Vec<PathBuf>)>,
}

impl Server {
    fn measured(&self, requests: usize, work: &Work<'_>) -> Result<Step> {
        let meter = Meter::start(Some(self.running.pid()))?;
        let load = Load { clients: CLIENTS.min(requests), requests, time_max: STEP_TIME_MAX };
        let done = load.run(self.running.address, work)?;
        let cost = meter.stop()?;
        anyhow::ensure!(
            done.requests == requests,
            "{} of {requests} files after {STEP_TIME_MAX:?}",
            done.requests
        );
        let memory_peak_bytes = proc::tree_memory_peak_bytes(self.running.pid());
        Ok(Step { seconds: cost.seconds, cpu_seconds: cost.server_cpu + cost.client_cpu, memory_peak_bytes })
    }
}

impl Store for Server {
    fn ingest(&mut self, source: &Path, name: &str) -> Result<Step> {
        let root = if source.is_dir() { source } else { source.parent().context("a file has a parent")? };
        let walk = WalkDir::new(source).sort_by_file_name();
        let mut paths = Vec::new();
        for entry in walk {
            let entry = entry?;
            if entry.file_type().is_file() {
                paths.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
        let step = self.measured(paths.len(), &|connection, index| {
            let path = paths.get(index).context("a file of the tree")?;
            let mut file = File::open(root.join(path))?;
            let size = file.metadata()?.len();
            let key = key(name, path);
            if size > READ_SIZE_BYTES_MAX {
                let body = Body::File { file: &file, offset: 0, size };
                self.running.dialect.put(connection, &key, body)?;
            } else {
                let mut bytes = Vec::with_capacity(usize::try_from(size)?);
                file.read_to_end(&mut bytes)?;
                self.running.dialect.put(connection, &key, Body::Bytes(&bytes))?;
            }
            Ok(())
        })?;
        self.versions.push((name.to_owned(), paths));
        Ok(step)
    }

    fn restore(&mut self, name: &str, target: &Path) -> Result<Step> {
        let found = self.versions.iter().find(|(version, _)| version == name);
        let (_, paths) = found.context("a version that was taken in")?;
        self.measured(paths.len(), &|connection, index| {
            let path = paths.get(index).context("a file of the tree")?;
            let at = target.join(path);
            fs::create_dir_all(at.parent().context("a file has a parent")?)?;
            let mut file = File::create(at)?;
            let from = contestants::usp::path_of(&key(name, path));
            self.running
                .dialect
                .get(connection, &from, Wanted::default(), &mut |piece| Ok(file.write_all(piece)?))?;
            Ok(())
        })
    }

    fn place(&self) -> &Path {
        &self.running.storage
    }
}

/// `v1/fs/ext4/inode.c`, percent-encoded where a path needs it.
fn key(version: &str, path: &Path) -> String {
    let mut key = format!("{version}/");
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+".contains(&byte) {
            key.push(char::from(byte));
        } else {
            key.push_str(&format!("%{byte:02X}"));
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_key_that_a_url_may_hold() {
        assert_eq!(key("v1", Path::new("fs/a b,c.h")), "v1/fs/a%20b%2Cc.h");
    }
}
