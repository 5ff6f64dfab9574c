//! S3 servers: Garage and s3s-fs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::contestant::{About, Contestant, Dialect, Places, Running, Wanted, version_line};
use crate::http::{Answer, Body, Connection, ignore};
use crate::process::{Process, free_address};
use crate::signature::Signer;

const BUCKET: &str = "bench";
const ACCESS_KEY: &str = "GK31c2f218a2e44f485b94239e";
/// A key of the benchmark's own throw-away servers.
const SECRET_KEY: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";
const RPC_SECRET: &str = "4425f5c26c5e11581d3223904324dcb5b5d5dfb14e5e7f35e38c595424f5f1e6";
const READY_TIME_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Garage {
    pub(crate) synced: bool,
}

impl Contestant for Garage {
    fn name(&self) -> &'static str {
        if self.synced { "garage-synced" } else { "garage" }
    }

    fn missing(&self, places: &Places) -> Option<String> {
        places.program("garage").is_none().then(|| "tools/bench-peers.sh garage".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: places
                .program("garage")
                .map_or_else(String::new, |program| version_line(&program, "--version")),
            durability: if self.synced {
                "metadata_fsync and data_fsync on"
            } else {
                "none by default: metadata_fsync and data_fsync off"
            },
            settings: "one node, LMDB, blocks of 1 MiB, zstd 1; S3 with unsigned payload",
        }
    }

    fn start(&self, places: &Places, dir: &Path) -> Result<Running> {
        let storage = dir.join("data");
        fs::create_dir_all(&storage)?;
        let (address, rpc) = (free_address()?, free_address()?);
        let config = dir.join("garage.toml");
        let (at, synced) = (storage.display(), self.synced);
        fs::write(
            &config,
            format!(
                "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/blocks\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\n\
                 metadata_fsync = {synced}\ndata_fsync = {synced}\n\
                 rpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{RPC_SECRET}\"\n\
                 [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"{address}\"\n"
            ),
        )?;
        let mut command = Command::new(places.program("garage").unwrap_or_else(|| "garage".into()));
        command.arg("-c").arg(&config).args(["server", "--single-node", "--default-bucket"]);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY).env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY);
        command.env("GARAGE_DEFAULT_BUCKET", BUCKET).env("RUST_LOG", "garage=warn");
        let mut process = Process::start(self.name(), &command, dir)?;
        process.wait_for_door(address)?;
        ready(Running {
            process,
            address,
            storage,
            dialect: Box::new(S3 { signer: Signer::new(ACCESS_KEY, SECRET_KEY, "garage")? }),
        })
    }
}

#[derive(Debug)]
pub(crate) struct S3sFs;

impl Contestant for S3sFs {
    fn name(&self) -> &'static str {
        "s3s-fs"
    }

    fn missing(&self, places: &Places) -> Option<String> {
        places.program("s3s-fs").is_none().then(|| "tools/bench-peers.sh s3s".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: places
                .program("s3s-fs")
                .map_or_else(String::new, |program| version_line(&program, "--version")),
            durability: "none: no sync before the answer",
            settings: "S3 with unsigned payload, no log",
        }
    }

    fn start(&self, places: &Places, dir: &Path) -> Result<Running> {
        let storage = dir.join("data");
        fs::create_dir_all(storage.join(BUCKET))?;
        let address = free_address()?;
        let mut command = Command::new(places.program("s3s-fs").unwrap_or_else(|| "s3s-fs".into()));
        command.args(["--host", "127.0.0.1", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
        command.arg("--port").arg(address.port().to_string()).arg(&storage).env("RUST_LOG", "error");
        let mut process = Process::start(self.name(), &command, dir)?;
        process.wait_for_door(address)?;
        ready(Running {
            process,
            address,
            storage,
            dialect: Box::new(S3 { signer: Signer::new(ACCESS_KEY, SECRET_KEY, "us-east-1")? }),
        })
    }
}

/// Waits until the bucket is there: the door opens before.
fn ready(running: Running) -> Result<Running> {
    let begun = Instant::now();
    let probe = || {
        let mut connection = Connection::open(running.address)?;
        running.dialect.put(&mut connection, "probe", Body::Bytes(b"probe"))
    };
    while let Err(error) = probe() {
        ensure!(begun.elapsed() < READY_TIME_MAX, "{error:#}\n{}", running.process.printed());
        sleep(Duration::from_millis(50));
    }
    Ok(running)
}

#[derive(Debug)]
struct S3 {
    signer: Signer,
}

impl Dialect for S3 {
    fn put(&self, connection: &mut Connection, key: &str, body: Body<'_>) -> Result<String> {
        let path = format!("/{BUCKET}/{key}");
        let lines = self.signer.lines("PUT", &path);
        connection.ask("PUT", &path, &[&lines], body, &mut ignore)?.expect_success("PUT")?;
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
        let lines = self.signer.lines("GET", path);
        connection.ask("GET", path, &[&lines, &range, &coding], Body::None, sink)?.expect_success("GET")
    }
}
