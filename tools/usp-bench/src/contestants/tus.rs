//! Servers of resumable uploads: rustus and @tus/server.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::contestant::{About, Contestant, Dialect, Places, Running, Wanted, version_line};
use crate::http::{Answer, Body, Connection, ignore};
use crate::process::{Process, free_address};

const VERSION: &str = "Tus-Resumable: 1.0.0\r\n";
const CONTENT: &str = "Content-Type: application/offset+octet-stream\r\n";
/// Up to here a file goes with the request that creates it.
const SINGLE_SIZE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Rustus {
    pub(crate) synced: bool,
}

impl Contestant for Rustus {
    fn name(&self) -> &'static str {
        if self.synced { "rustus-synced" } else { "rustus" }
    }

    fn missing(&self, places: &Places) -> Option<String> {
        places.program("rustus").is_none().then(|| "tools/bench-peers.sh rustus".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: places
                .program("rustus")
                .map_or_else(String::new, |program| version_line(&program, "--version")),
            durability: if self.synced {
                "--force-fsync: the file, not its .info"
            } else {
                "none: no sync before the answer"
            },
            settings: "PATCHes of 64 MiB (it holds each in memory); small files with the creating POST",
        }
    }

    fn start(&self, places: &Places, dir: &Path) -> Result<Running> {
        let storage = dir.join("data");
        fs::create_dir_all(&storage)?;
        let address = free_address()?;
        let mut command = Command::new(places.program("rustus").unwrap_or_else(|| "rustus".into()));
        command.args(["--host", "127.0.0.1", "--log-level", "ERROR", "--max-body-size", "2000000000"]);
        command.arg("--port").arg(address.port().to_string());
        command.arg("--data-dir").arg(&storage).arg("--info-dir").arg(&storage);
        if self.synced {
            command.args(["--force-fsync", "true"]);
        }
        let mut process = Process::start(self.name(), &command, dir)?;
        process.wait_for_door(address)?;
        let dialect = Tus { endpoint: "/files", part_size_bytes: 64 << 20 };
        Ok(Running { process, address, storage, dialect: Box::new(dialect) })
    }
}

/// Runs below Node.js.
#[derive(Debug)]
pub(crate) struct TusServer;

/// Reads `tus-server.mjs PORT DIR`; it must lie beside `node_modules`.
const TUS_SERVER: &str = include_str!("../../peers/tus-server.mjs");

impl Contestant for TusServer {
    fn name(&self) -> &'static str {
        "tus-node"
    }

    fn missing(&self, places: &Places) -> Option<String> {
        let is_there = places.program("node").is_some()
            && ["server", "file-store"]
                .iter()
                .all(|name| places.peers.join("node/node_modules/@tus").join(name).is_dir());
        (!is_there).then(|| "tools/bench-peers.sh tus (with Node.js: apt-get install nodejs npm)".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        let package = places.peers.join("node/node_modules/@tus/server/package.json");
        let package: Option<serde_json::Value> =
            fs::read(package).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let version = package.and_then(|package| package.get("version")?.as_str().map(str::to_owned));
        let node = places.program("node").map_or_else(String::new, |node| version_line(&node, "--version"));
        About {
            version: format!("@tus/server {} on Node {node}", version.unwrap_or_default()),
            durability: "none: no sync before the answer",
            settings: "file store; one PATCH; small files with the creating POST",
        }
    }

    fn start(&self, places: &Places, dir: &Path) -> Result<Running> {
        let storage = dir.join("data");
        fs::create_dir_all(&storage)?;
        let script = places.peers.join("node/tus-server.mjs");
        fs::write(&script, TUS_SERVER)?;
        let address = free_address()?;
        let mut command = Command::new(places.program("node").unwrap_or_else(|| "node".into()));
        command.arg(&script).arg(address.port().to_string()).arg(&storage);
        let mut process = Process::start(self.name(), &command, dir)?;
        process.wait_for_door(address)?;
        let dialect = Tus { endpoint: "/files", part_size_bytes: u64::MAX };
        Ok(Running { process, address, storage, dialect: Box::new(dialect) })
    }
}

#[derive(Debug)]
struct Tus {
    endpoint: &'static str,
    /// Larger files take several PATCHes.
    part_size_bytes: u64,
}

impl Dialect for Tus {
    fn put(&self, connection: &mut Connection, _key: &str, body: Body<'_>) -> Result<String> {
        let size = body.size_bytes();
        let length = format!("Upload-Length: {size}\r\n");
        let is_single = size <= SINGLE_SIZE_BYTES_MAX;
        let (first, lines) = if is_single {
            (body, vec![VERSION, &length, CONTENT])
        } else {
            (Body::None, vec![VERSION, &length])
        };
        let answer =
            connection.ask("POST", self.endpoint, &lines, first, &mut ignore)?.expect_success("POST")?;
        let location = answer.header("location").context("the server names no location")?;
        let path = path_of(location).to_owned();
        if let Body::File { file, offset: start, .. } = body
            && !is_single
        {
            let mut offset = 0;
            while offset < size {
                let part = self.part_size_bytes.min(size - offset);
                let at = format!("Upload-Offset: {offset}\r\n");
                let body = Body::File { file, offset: start + offset, size: part };
                let lines = [VERSION, CONTENT, &at];
                connection.ask("PATCH", &path, &lines, body, &mut ignore)?.expect_success("PATCH")?;
                offset += part;
            }
        }
        Ok(path)
    }

    fn get(
        &self,
        connection: &mut Connection,
        path: &str,
        wanted: Wanted,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Answer> {
        let [range, coding] = wanted.lines();
        connection.ask("GET", path, &[VERSION, &range, &coding], Body::None, sink)?.expect_success("GET")
    }
}

/// The path of an address, whole or not.
fn path_of(location: &str) -> &str {
    let Some((_, rest)) = location.split_once("://").or_else(|| location.split_once("//")) else {
        return location;
    };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn a_location_becomes_a_path() {
        assert_eq!(path_of("http://localhost:1081/files/a"), "/files/a");
        assert_eq!(path_of("//localhost/files/a"), "/files/a");
        assert_eq!(path_of("/files/a"), "/files/a");
    }
}
