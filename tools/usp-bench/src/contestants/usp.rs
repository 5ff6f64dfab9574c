//! usp itself, as a release binary with limits of requests lifted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::contestant::{About, Contestant, Dialect, Places, Running, Wanted, version_line};
use crate::http::{Answer, Body, Connection, ignore};
use crate::process::Process;

/// One client asks faster than any caller should; the limits would be what is measured.
const CONFIG: &str = r#"
[gateway]
rate_per_principal = { per_second = 100000000, burst = 100000000 }
rate_per_address = { per_second = 100000000, burst = 100000000 }

[log]
filter = "warn"
"#;

const FILES: &str = "/api/v1/buckets/default/files/";

#[derive(Debug)]
pub(crate) struct Usp;

impl Contestant for Usp {
    fn name(&self) -> &'static str {
        "usp"
    }

    fn missing(&self, places: &Places) -> Option<String> {
        (!places.usp.is_file()).then(|| "make build".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: version_line(&places.usp, "--version"),
            durability: "acknowledged = on disk: fdatasync and catalogue commit before the answer",
            settings: "defaults, but: rate limits lifted, log at warn, no rules for the bucket",
        }
    }

    fn start(&self, places: &Places, dir: &Path) -> Result<Running> {
        start_with(places, dir, "")
    }
}

/// Starts usp on `dir/data`, which may hold files already; `more` is added to the configuration.
pub(crate) fn start_with(places: &Places, dir: &Path, more: &str) -> Result<Running> {
    Ok(start_rest(places, dir, more)?.0)
}

/// As [`start_with`], with what more of its API can be asked with.
pub(crate) fn start_rest(places: &Places, dir: &Path, more: &str) -> Result<(Running, Rest)> {
    let (running, rest) = launch(places, dir, "", more)?;
    let mut connection = Connection::open(running.address)?;
    // Binary content meets no built-in rule, but sources would be profiled, which nobody else here does.
    rest.patch(&mut connection, "/api/v1/buckets/default", &json!({"policy": {"rules": []}}))?;
    Ok((running, rest))
}

/// Starts usp with the default rules; `first` and `more` are added to the configuration before its sections and after.
pub(crate) fn launch(places: &Places, dir: &Path, first: &str, more: &str) -> Result<(Running, Rest)> {
    let storage = dir.join("data");
    let config = dir.join("usp.toml");
    fs::write(&config, format!("{first}{CONFIG}\n{more}"))?;
    let mut command = Command::new(&places.usp);
    command.arg("serve").arg("--config").arg(&config).arg("--data-dir").arg(&storage);
    command.args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]);
    let mut process = Process::start("usp", &command, dir)?;
    let address = process.wait_for(|printed| {
        // A line counts once it is whole.
        let whole = printed.rsplit_once('\n')?.0;
        let line = whole.lines().find(|line| line.starts_with("ready "))?;
        line.split_whitespace().find_map(|word| word.strip_prefix("http="))?.parse().ok()
    })?;
    let token = token(places, &storage)?;
    let rest = Rest { authorization: format!("Authorization: Bearer {token}\r\n") };
    Ok((Running { process, address, storage, dialect: Box::new(rest.clone()) }, rest))
}

/// What `usp token` mints for an admin.
pub(crate) fn token(places: &Places, storage: &Path) -> Result<String> {
    let mut command = Command::new(&places.usp);
    command.args(["token", "--role", "admin", "--ttl", "12h", "--data-dir"]).arg(storage);
    let output = command.output().context("start usp token")?;
    ensure!(output.status.success(), "usp token failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where a file of this key is read.
pub(crate) fn path_of(key: &str) -> String {
    format!("{FILES}{key}")
}

/// The REST API with an admin's token.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    authorization: String,
}

impl Rest {
    /// What a GET answers, as JSON.
    pub(crate) fn document(&self, connection: &mut Connection, path: &str) -> Result<Value> {
        self.exchange(connection, "GET", path, &[&self.authorization], Body::None)
    }

    /// What a POST of `body` answers.
    pub(crate) fn post(&self, connection: &mut Connection, path: &str, body: &Value) -> Result<Value> {
        self.json(connection, "POST", path, body)
    }

    /// What a PATCH with `body` answers.
    pub(crate) fn patch(&self, connection: &mut Connection, path: &str, body: &Value) -> Result<Value> {
        self.json(connection, "PATCH", path, body)
    }

    /// What a PUT of a file answers; usp finds out by itself what kind of content it is.
    pub(crate) fn put_file(&self, connection: &mut Connection, path: &str, content: &[u8]) -> Result<Value> {
        self.exchange(connection, "PUT", path, &[&self.authorization], Body::Bytes(content))
    }

    fn json(&self, connection: &mut Connection, method: &str, path: &str, body: &Value) -> Result<Value> {
        let lines = [self.authorization.as_str(), "Content-Type: application/json\r\n"];
        self.exchange(connection, method, path, &lines, Body::Bytes(body.to_string().as_bytes()))
    }

    fn exchange(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        lines: &[&str],
        body: Body<'_>,
    ) -> Result<Value> {
        let mut received = Vec::new();
        let answer = connection.ask(method, path, lines, body, &mut |piece| {
            received.extend_from_slice(piece);
            Ok(())
        })?;
        answer.expect_success(path)?;
        serde_json::from_slice(&received).with_context(|| format!("read the answer to {method} {path}"))
    }
}

impl Dialect for Rest {
    fn put(&self, connection: &mut Connection, key: &str, body: Body<'_>) -> Result<String> {
        let path = path_of(key);
        let lines = [self.authorization.as_str(), "Content-Type: application/octet-stream\r\n"];
        connection.ask("PUT", &path, &lines, body, &mut ignore)?.expect_success("PUT")?;
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
        let lines = [self.authorization.as_str(), &range, &coding];
        connection.ask("GET", path, &lines, Body::None, sink)?.expect_success("GET")
    }
}
